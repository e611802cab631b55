"""Benchmarks of a few labels and a pile: what is fitted, what is asked, and that wrong ones give one line."""

import numpy as np
import pytest
import torch
from small_specs import Told, spec, timeless, written

import graphfew as gf
from graphfew import data
from graphfew.benchmark import Options, Stopped, all_cells, read, read_spec, run
from graphfew.benchmark.semi_supervised_run import draw, heap
from graphfew.data import DATASETS

HEAD = """name = "small"
kind = "pile"
[data]
name = "points"
[pile]
known = [4, 3]
labels = 2
size = 5
draws = 3
out_of_scope = true
"""
ROWS = """
[[row]]
name = "labels only"
method = "prototypical"
pile = false
[[row]]
method = "pool_prototypes"
arguments = { outlier_threshold = inf }
only = { known = 3 }
[[row]]
name = "then linear head"
method = "pool_prototypes"
head = "linear_head"
head_arguments = { inv_regularization = 3.0 }
"""
SMALL = HEAD + ROWS
HEADED = 'head = "linear_head"\nhead_arguments = { inv_regularization = 3.0 }\n'
CELLS = 5
DIM = 6


def made(split):
    """Four classes apart from each other; the test split has other items of the same classes."""
    if split not in ("train", "test"):
        raise ValueError(f"there is no split {split!r}")
    generator = torch.Generator().manual_seed(len(split))
    y = torch.arange(4).repeat_interleave(10)
    return gf.Dataset(
        "points",
        split,
        2 * torch.eye(DIM)[y] + torch.randn(40, DIM, generator=generator),
        y,
        tuple("abcd"),
    )


def strange(root=None):
    del root
    return torch.randn(15, DIM, generator=torch.Generator().manual_seed(2))


@pytest.fixture(autouse=True)
def points(monkeypatch):
    monkeypatch.setitem(DATASETS, "points", made)
    monkeypatch.setattr(data, "points_out_of_scope", strange, raising=False)


def ran(folder, text=SMALL, stop=lambda: False, told=None):
    told = told or Told()
    run([spec(folder, text)], Options(folder / "out"), told.screen(), stop)
    return told


def results(folder):
    found, faults = read(folder / "out" / "small.jsonl")
    assert faults == ()
    return found


def test_a_cell_is_a_row_on_a_pile(tmp_path):
    found = all_cells(spec(tmp_path, SMALL))
    assert [str(cell) for cell in found] == [
        f"{name}: {known} classes known, 2 labels and 5 items of the pile per class"
        for name, known in (
            ("labels only", 4),
            ("labels only", 3),
            ("pool_prototypes", 3),
            ("then linear head", 4),
            ("then linear head", 3),
        )
    ]
    assert len({cell.key for cell in found}) == CELLS


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("draws = 3", "draws = 4", 0),
        ("draws = 3", "seed = 7", 0),
        ("size = 5", "size = 4", 0),
        ("out_of_scope = true", "", 0),
        ("inv_regularization = 3.0", "inv_regularization = 2.0", 3),
        ("outlier_threshold = inf", "outlier_threshold = 0.5", 4),
        ('"prototypical"', '"simpleshot"', 3),
        ("[4, 3]", "[3, 2]", 3),
        ('name = "small"', 'name = "large"\ntitle = "x"', 5),
        ("[[row]]\n", '[[row]]\nname = "more"\nmethod = "label_spreading"\n[[row]]\n', 5),
    ],
)
def test_keys_hang_on_what_figures_hang_on(tmp_path, old, new, kept):
    assert old in SMALL
    texts = (SMALL, SMALL.replace(old, new, 1))
    before, after = ({cell.key for cell in all_cells(spec(tmp_path, text))} for text in texts)
    assert len(before & after) == kept


def test_a_draw_has_labels_of_known_classes_and_a_pile_of_all(tmp_path):
    cell = all_cells(spec(tmp_path, SMALL))[1]
    train = made("train")
    x, y, known = draw(train, cell, 0)
    assert (len(known), (y >= 0).sum(), (y == -1).sum()) == (3, 6, 20)
    assert sorted(y[y >= 0].tolist()) == sorted([*known.tolist()] * 2)
    items = [int(np.flatnonzero((train.x.numpy() == one).all(1))[0]) for one in x]
    assert len(set(items)) == 26
    assert np.bincount(train.y.numpy()[items][y == -1]).tolist() == [5] * 4
    assert (train.y.numpy()[items][y >= 0] == y[y >= 0]).all()
    assert not np.array_equal(draw(train, cell, 1)[0], x)


def test_records_are_what_the_classifier_says(tmp_path):
    ran(tmp_path)
    found = results(tmp_path)
    assert [record.key for record in found] == [
        cell.key for cell in all_cells(spec(tmp_path, SMALL))
    ]
    record, cell = found[-1], all_cells(spec(tmp_path, SMALL))[-1]
    expected = []
    for seed in range(3):
        x, y, known = draw(made("train"), cell, seed)
        fitted = gf.FewShotClassifier(
            "pool_prototypes", head="linear_head", head_arguments={"inv_regularization": 3.0}
        ).fit(x, y)
        asked = np.isin(made("test").y.numpy(), known)
        expected.append(
            float(
                (
                    fitted.predict(made("test").x.numpy()[asked]) == made("test").y.numpy()[asked]
                ).mean()
            )
        )
    assert record.result.per_task == pytest.approx(expected, abs=1e-12)
    assert record.decisions == 3 * 30
    assert (record.seed, record.training, str(record.result.mode)) == (
        None,
        (),
        "semi-supervised, inductive",
    )
    assert str(found[0].result.mode) == "inductive"
    assert (
        record.result.tasks["way"],
        record.result.tasks["shot"],
        record.result.tasks["unlabeled"],
    ) == (3, 2, 5)
    assert found[2].result.model["arguments"] == {"outlier_threshold": "inf"}
    assert 0.5 < record.figures["auroc"] <= 1
    assert record.figures["auroc_half_width"] >= 0


def test_without_items_out_of_scope_there_is_no_such_figure(tmp_path):
    ran(tmp_path, SMALL.replace("out_of_scope = true\n", ""))
    assert results(tmp_path)[0].figures == {}


def test_what_is_stopped_goes_on_and_what_is_finished_is_skipped(tmp_path):
    told = Told()
    with pytest.raises(Stopped, match="stopped after 2 of 5 cells of small"):
        ran(tmp_path, told=told, stop=lambda: len(told.done()) >= 2)
    ran(tmp_path)
    ran(tmp_path / "whole")
    assert list(map(timeless, results(tmp_path))) == list(
        map(timeless, results(tmp_path / "whole"))
    )
    assert ran(tmp_path).said == ["small: 0 trainings and 0 cells to do, 5 cells done"]


def line(text, part):
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "at", "words"),
    [
        ('"pile"', '"pool"', "kind", ["kind in small.toml is 'pool'", "known: episodes, pile"]),
        (
            "labels = 2",
            "label = 2",
            "label = 2",
            ["[pile] has no key 'label'", "did you mean 'labels'"],
        ),
        ("labels = 2", "labels = 0", "labels", ["labels in [pile] is 0", "at least 1"]),
        ("known = [4, 3]\n", "", "[pile]", ["[pile] lacks the key 'known'"]),
        ("size = 5", "size = true", "size", ["size in [pile] is True", "a whole number"]),
        ("draws = 3", "draws = 1", "draws", ["draws in [pile] is 1", "at least 2"]),
        (
            "pile = false\n",
            "",
            'method = "prototypical"',
            ["no use of unlabeled items", "pile = false"],
        ),
        ('"prototypical"', '"siamese"', '"siamese"', ["siamese has weights of its own"]),
        (HEADED, 'head = "feat"\n', '"feat"', ["feat has weights of its own"]),
        (
            "outlier_threshold = inf",
            "limits = 1",
            "arguments",
            ["pool_prototypes has no argument 'limits'", "did you mean 'limit'"],
        ),
        (
            'head = "linear_head"\n',
            "",
            "head_arguments",
            ["a row without head has no argument 'strength'"],
        ),
        ("{ known = 3 }", "{ known = 5 }", "only = ", ["leaves nothing of [pile]"]),
        ("{ known = 3 }", "{ knows = 3 }", "only = ", ["no key 'knows'"]),
        (
            '"then linear head"',
            '"labels only"',
            'name = "labels only"\nmethod = "pool',
            ["two entries of [[row]]"],
        ),
        ("[pile]", "[test]\n[pile]", "[test]", ["has no key 'test'"]),
    ],
)
def test_a_wrong_spec_gives_one_line_with_its_place(tmp_path, old, new, at, words):
    assert old in SMALL
    text = SMALL.replace(old, new, 1)
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=r"small\.toml, line") as caught:
        read_spec(path)
    message = str(caught.value).removeprefix(f"{path}, ")
    assert message.startswith(f"line {line(text, at)}: "), message
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[4, 3]", "[5, 3]", "5 classes known, .* points/train has 4 classes"),
        ("size = 5", "size = 9", "the smallest of 10 items; ask for fewer"),
        ('"points"', '"points"\ntest = "tset"', "points/tset cannot be read"),
        (
            'name = "points"',
            'name = "glyphs"',
            "glyphs: a pile needs features, and the same classes",
        ),
    ],
)
def test_what_data_refuse_is_told_before_any_work(tmp_path, old, new, words):
    with pytest.raises(ValueError, match=words):
        ran(tmp_path, SMALL.replace(old, new, 1))
    assert results(tmp_path) == ()


def test_data_without_items_out_of_scope_are_told(tmp_path, monkeypatch):
    monkeypatch.delattr(data, "points_out_of_scope")
    with pytest.raises(
        ValueError, match=f"line {line(SMALL, 'out_of_scope')}: points has no items out of scope"
    ):
        heap(spec(tmp_path, SMALL), {})
