"""FewRel: sentences that state a relation between two entities."""

from __future__ import annotations

import collections
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from graphfew.data.dataset import Dataset
from graphfew.data.io.paths import Root, require_folder
from graphfew.data.splits import Splits
from graphfew.errors import DatasetError, DatasetNotFoundError, InvalidInputError

FEWREL_SPLITS = Splits(("train", "val", "test", "all"))

# Word indices.
PADDING, UNKNOWN_WORD = 0, 1
_N_SPECIAL_WORDS = 2
# The first relations of a file, by name, are for training; the last sentences of each of these are
# for validation.
N_TRAINING_RELATIONS = 10
N_VALIDATION_SENTENCES = 100
_HINT = "pass root=, the folder of FewRel's JSON files, from github.com/thunlp/FewRel"

Sentence = Mapping[str, Any]


def fewrel(
    root: Root = None,
    split: str = "train",
    file: str = "val_wiki",
    words: int = 8000,
    length: int = 40,
) -> Dataset:
    """Load FewRel sentences as word indices with positions.

    The last dimension is the word index, its position relative to the head entity, and its position
    relative to the tail entity (`i - mention + length`). Word 0 is padding. Word 1 is any word that
    is not among the `words - 2` most frequent of the training sentences.

    Args:
        root: the JSON file or its folder; None takes `$GRAPHFEW_DATA/fewrel`.
        split: `train`, the first ten relations of the file without their last 100 sentences each;
            `val`, those sentences; `test`, the other relations; or `all`.
        file: name of the file in the folder, without `.json`.
        words: size of the vocabulary, including padding and the unknown word.
        length: words per sentence; longer ones are truncated.

    Returns:
        A data set with `x` `[n, length, 3]` int64, one class per relation.

    Raises:
        InvalidInputError: an unknown split, or a number that is too small.
        DatasetNotFoundError: the file or folder does not exist.
        DatasetError: the file is not FewRel's JSON, or has no relations for the split.

    Example:
        >>> fewrel("fewrel/", split="test")  # doctest: +SKIP
        Dataset('fewrel-val_wiki', split='test', 6 classes, 4200 items of shape [40, 3] int64)

    Source:
        Han, Zhu, Yu, Wang, Yao, Liu and Sun, 2018, "FewRel: a large-scale supervised few-shot
        relation classification dataset with state-of-the-art evaluation".
    """
    FEWREL_SPLITS.check("fewrel", split)
    if words <= _N_SPECIAL_WORDS or length < 1:
        raise InvalidInputError(
            f"words is {words} and length {length}; use at least 3 words and a length of 1"
        )
    path = _find_file(root, file)
    content = _read_json(path)
    relations = sorted(content)
    sentences_by_relation = {
        name: _select_sentences(content[name], split)
        for name in _select_relations(relations, split)
    }
    if not sentences_by_relation:
        raise DatasetError(
            f"{path} has {len(relations)} relations, the first {N_TRAINING_RELATIONS} of which are "
            f"for training; none is left for {split}"
        )
    # From the training sentences for every split: the splits have to agree on word indices, and
    # words that occur only in test sentences have to stay unknown.
    training_sentences: list[Sentence] = []
    for name in relations[:N_TRAINING_RELATIONS]:
        training_sentences += _select_sentences(content[name], "train")
    vocabulary = _build_vocabulary(training_sentences, words)
    encoded = [
        _encode_sentence(sentence, vocabulary, length)
        for sentences in sentences_by_relation.values()
        for sentence in sentences
    ]
    class_sizes = torch.tensor([len(sentences) for sentences in sentences_by_relation.values()])
    try:
        return Dataset(
            name=f"fewrel-{file}",
            split=split,
            x=torch.tensor(encoded),
            y=torch.repeat_interleave(class_sizes),
            classes=tuple(sentences_by_relation),
        )
    # `Dataset` refuses, for example, a relation that has no sentences left for the split.
    except ValueError as error:
        raise DatasetError(f"{path}, split {split}: {error}") from error


def _select_relations(relations: Sequence[str], split: str) -> Sequence[str]:
    if split == "all":
        return relations
    if split == "test":
        return relations[N_TRAINING_RELATIONS:]
    return relations[:N_TRAINING_RELATIONS]


def _select_sentences(sentences: Sequence[Sentence], split: str) -> Sequence[Sentence]:
    if split == "train":
        return sentences[:-N_VALIDATION_SENTENCES]
    if split == "val":
        return sentences[-N_VALIDATION_SENTENCES:]
    return sentences


def _find_file(root: Root, file: str) -> Path:
    if root is not None and Path(root).suffix == ".json":
        path = Path(root)
    else:
        path = require_folder(root, "fewrel", _HINT) / f"{file}.json"
    if not path.is_file():
        raise DatasetNotFoundError(f"there is no {path}; {_HINT}")
    return path


def _read_json(path: Path) -> Mapping[str, Sequence[Sentence]]:
    """Read the relations of a file, and check every field that is used later."""
    try:
        content: Mapping[str, Sequence[Sentence]] = json.loads(path.read_text(encoding="utf-8"))
        for sentences in content.values():
            for sentence in sentences:
                _mention_position(sentence, "h")
                _mention_position(sentence, "t")
                for token in sentence["tokens"]:
                    # Raises TypeError unless the token is text.
                    str.lower(token)
    except (
        # JSON allows infinite numbers (OverflowError in `int`) and any depth (RecursionError).
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        raise DatasetError(
            f"{path} is not FewRel's JSON: relations with lists of sentences, each with tokens, h "
            f"and t ({type(error).__name__}: {str(error)[:200]})"
        ) from error
    return content


def _mention_position(sentence: Sentence, entity: str) -> int:
    """Return the index of the first word of the first mention of the head `h` or tail `t`."""
    mentions = sentence[entity][2]
    position = int(mentions[0][0])
    if position < 0:
        raise DatasetError(f"a mention is at word {position}; the first word is 0")
    return position


def _build_vocabulary(sentences: Sequence[Sentence], words: int) -> dict[str, int]:
    """Return the index of each of the most frequent words."""
    counts = collections.Counter(
        token.lower() for sentence in sentences for token in sentence["tokens"]
    )
    # Ties are sorted by word, so that the vocabulary does not depend on the order of sentences.
    by_frequency = sorted(counts, key=lambda word: (-counts[word], word))
    frequent_words = by_frequency[: words - _N_SPECIAL_WORDS]
    return {word: index for index, word in enumerate(frequent_words, start=_N_SPECIAL_WORDS)}


def _encode_sentence(
    sentence: Sentence, vocabulary: Mapping[str, int], length: int
) -> list[list[int]]:
    """Return `[length, 3]` word index and positions relative to head and tail."""
    tokens = sentence["tokens"][:length]
    words = [vocabulary.get(token.lower(), UNKNOWN_WORD) for token in tokens]
    words += [PADDING] * (length - len(words))
    # A mention beyond the truncated sentence counts as its last word, so that positions stay in
    # 1 .. 2 * length - 1.
    head = min(_mention_position(sentence, "h"), length - 1)
    tail = min(_mention_position(sentence, "t"), length - 1)
    return [
        [word, position - head + length, position - tail + length]
        for position, word in enumerate(words)
    ]
