"""FewRel's JSON: made files, refusals, and the real one where it is."""

import json
import os
from pathlib import Path

import pytest

import graphfew as gf


def sentence(relation, number):
    tokens = ["The", f"head{relation}", "met", "tail", f"rare{relation}x{number}"]
    return {"tokens": tokens, "h": ["head", "Q1", [[1]]], "t": ["tail", "Q2", [[3]]]}


@pytest.fixture
def root(tmp_path):
    content = {f"P{r:02}": [sentence(r, n) for n in range(103)] for r in reversed(range(12))}
    (tmp_path / "made.json").write_text(json.dumps(content))
    return tmp_path


def test_splits_have_disjoint_relations_or_sentences(root):
    parts = {
        split: gf.data.fewrel(root, split, file="made") for split in ("train", "val", "test", "all")
    }
    assert {split: (len(d.classes), len(d)) for split, d in parts.items()} == {
        "train": (10, 30),
        "val": (10, 1000),
        "test": (2, 206),
        "all": (12, 1236),
    }
    assert parts["train"].classes == parts["val"].classes == tuple(f"P{r:02}" for r in range(10))
    assert parts["test"].classes == ("P10", "P11")
    assert gf.data.fewrel(root / "made.json", "test").x.equal(parts["test"].x)


def test_words_of_other_relations_are_unknown_and_positions_are_relative(root):
    train, test = (
        gf.data.fewrel(root, split, file="made", length=6) for split in ("train", "test")
    )
    assert (
        train.x[0, :, 0].tolist()[:4] == [4, 5, 2, 3] or len(set(train.x[0, :4, 0].tolist())) == 4
    )
    assert train.x[0, 5].tolist()[0] == 0
    assert train.x[0, :, 1].tolist() == [5, 6, 7, 8, 9, 10]
    assert train.x[0, :, 2].tolist() == [3, 4, 5, 6, 7, 8]
    # "the", "met" and "tail" are known; the head and the rare word of another relation are not.
    assert [word == 1 for word in test.x[0, :5, 0].tolist()] == [False, True, False, False, True]


def test_the_vocabulary_keeps_the_most_frequent_words(root):
    few = gf.data.fewrel(root, "train", file="made", words=5)
    assert int(few.x[..., 0].max()) == 4
    assert [word == 1 for word in few.x[0, :5, 0].tolist()] == [False, True, False, False, True]


def test_long_sentences_are_truncated_and_late_mentions_clipped(root):
    short = gf.data.fewrel(root, "all", file="made", length=2)
    assert short.x.shape[1:] == (2, 3)
    assert short.x[0, :, 2].tolist() == [1, 2]
    model = gf.create("prototypical", encoder=gf.backbones.conv_text(length=2)).eval()
    assert gf.evaluate(model, gf.Tasks(short, way=3, query=2), n=2).mean >= 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "dev"}, "no split 'dev'"),
        ({"words": 2}, "words is 2"),
        ({"length": 0}, "length 0"),
    ],
)
def test_invalid_arguments_are_rejected(root, options, words):
    with pytest.raises(ValueError, match=words):
        gf.data.fewrel(root, **{"file": "made", **options})


def test_missing_and_invalid_files_are_reported(root, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"there is no .*other\.json"):
        gf.data.fewrel(root, file="other")
    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="pass root="):
        gf.data.fewrel()
    no_words = '{"P1": [{"tokens": 3, "h": [0, 0, [[0]]], "t": [0, 0, [[0]]]}]}'
    for text in ("{", "[]", '{"P1": [{"tokens": ["a"]}]}', no_words):
        (root / "bad.json").write_text(text)
        with pytest.raises(ValueError, match="is not FewRel's JSON"):
            gf.data.fewrel(root, file="bad")
    (root / "few.json").write_text(json.dumps({"P1": [sentence(1, 1)]}))
    with pytest.raises(ValueError, match="none is left for test"):
        gf.data.fewrel(root, "test", file="few")


@pytest.mark.skipif(
    not (Path(os.environ.get("GRAPHFEW_DATA", "")) / "fewrel").is_dir(), reason="FewRel is not here"
)
def test_the_real_file():
    train, test = gf.data.fewrel(split="train"), gf.data.fewrel(split="test")
    assert (len(train), len(test)) == (6000, 4200)
    assert not set(train.classes) & set(test.classes)
    assert 0.1 < (test.x[..., 0] == 1).sum() / (test.x[..., 0] > 0).sum() < 0.3
