"""FewRel: sentences that state a relation between two things they mention."""

from __future__ import annotations

import collections
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from graphfew.data.dataset import Dataset
from graphfew.data.io.paths import Root, check_split

PAD, UNKNOWN_WORD = 0, 1
# Of a file's relations, in the order of their names, the first ten are for training.
TRAINING, HELD_OUT = 10, 100
SPLITS = ("train", "val", "test", "all")
Sentence = Mapping[str, Any]


def fewrel(
    root: Root = None,
    split: str = "train",
    file: str = "val_wiki",
    words: int = 8000,
    length: int = 40,
) -> Dataset:
    """FewRel's sentences as word indices, `[n, length, 3]` int64: word, place relative to head, and to tail.

    Word 0 is padding and 1 a word that is not among the `words - 2` most frequent of the training sentences; places are
    `i - mention + length`. Splits: `train`, the first ten relations of the file without their last 100 sentences each;
    `val`, those; `test`, the other relations; `all`.

    Args:
        root: the JSON file, or the folder it lies in; None takes `$GRAPHFEW_DATA/fewrel`.
        split: train, val, test or all.
        file: the file's name in the folder, without `.json`.
        words: size of the vocabulary, padding and the unknown word included.
        length: words of a sentence; longer ones are cut.

    Raises:
        ValueError: an unknown split, a number too small, no root, a split without relations, or a file that is not
            FewRel's JSON.
        FileNotFoundError: the file is not there.

    Source: Han, Zhu, Yu, Wang, Yao, Liu, Sun, 2018, FewRel: A Large-Scale Supervised Few-Shot Relation Classification
    Dataset.
    """
    check_split("fewrel", split, SPLITS)
    if words < 3 or length < 1:
        raise ValueError(
            f"words is {words} and length {length}; give at least 3 words and a length of 1"
        )
    path = _place(root, file)
    content = _read(path)
    relations = sorted(content)
    own = {name: _part(content[name], split) for name in _relations(relations, split)}
    if not own:
        raise ValueError(
            f"{path} has {len(relations)} relations, the first {TRAINING} of which are for training; "
            f"none is left for {split}"
        )
    index = _vocabulary(
        [s for name in relations[:TRAINING] for s in _part(content[name], "train")], words
    )
    x = torch.tensor([_encoded(s, index, length) for sentences in own.values() for s in sentences])
    counts = torch.tensor([len(sentences) for sentences in own.values()])
    try:
        return Dataset(f"fewrel-{file}", split, x, torch.repeat_interleave(counts), tuple(own))
    except ValueError as error:
        raise ValueError(f"{path}, split {split}: {error}") from error


def _relations(names: Sequence[str], split: str) -> Sequence[str]:
    if split == "all":
        return names
    return names[TRAINING:] if split == "test" else names[:TRAINING]


def _part(sentences: Sequence[Sentence], split: str) -> Sequence[Sentence]:
    if split == "train":
        return sentences[:-HELD_OUT]
    return sentences[-HELD_OUT:] if split == "val" else sentences


def _place(root: Root, file: str) -> Path:
    folder = os.environ.get("GRAPHFEW_DATA")
    if root is None and not folder:
        raise ValueError(
            "fewrel is read from a folder of yours; give root= (or set GRAPHFEW_DATA to the folder above "
            "it)"
        )
    place = Path(root) if root is not None else Path(str(folder)) / "fewrel"
    return place if place.suffix == ".json" else place / f"{file}.json"


def _read(path: Path) -> Mapping[str, Sequence[Sentence]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}; FewRel's JSON files come from github.com/thunlp/FewRel"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for sentences in content.values():
            for sentence in sentences:
                (
                    _mention(sentence, "h"),
                    _mention(sentence, "t"),
                    list(map(str.lower, sentence["tokens"])),
                )
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ValueError(
            f"{path} is not FewRel's JSON: relations with lists of sentences, each with tokens, h and t "
            f"({type(error).__name__}: {str(error)[:200]})"
        ) from error
    checked: Mapping[str, Sequence[Sentence]] = content
    return checked


def _mention(sentence: Sentence, end: str) -> int:
    """The place of the first word of the first mention of head or tail."""
    place = int(sentence[end][2][0][0])
    if place < 0:
        raise ValueError(f"a mention is at word {place}; the first word is 0")
    return place


def _vocabulary(sentences: Sequence[Sentence], words: int) -> dict[str, int]:
    count = collections.Counter(token.lower() for s in sentences for token in s["tokens"])
    kept = sorted(count, key=lambda word: (-count[word], word))[: words - 2]
    return {word: index for index, word in enumerate(kept, start=2)}


def _encoded(sentence: Sentence, index: Mapping[str, int], length: int) -> list[list[int]]:
    tokens = [index.get(token.lower(), UNKNOWN_WORD) for token in sentence["tokens"][:length]]
    tokens += [PAD] * (length - len(tokens))
    head, tail = (min(_mention(sentence, end), length - 1) for end in ("h", "t"))
    return [
        [token, place - head + length, place - tail + length] for place, token in enumerate(tokens)
    ]
