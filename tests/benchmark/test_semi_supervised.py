"""Benchmarks of a few labels and a pile: what is fitted, what is asked, and that wrong ones give one line."""

import numpy as np
import pytest
import torch
from small_specs import RecordingDisplay, spec, timeless, written

import graphfew as gf
from graphfew import data
from graphfew.benchmark import (
    BenchmarkStopped,
    RunOptions,
    list_experiments,
    load_spec,
    read_records,
)
from graphfew.benchmark import run_benchmarks as run_benchmarks
from graphfew.benchmark.semi_supervised_run import load_semi_supervised_data, sample_items
from graphfew.data import DATASETS

HEAD = """name = "small"
kind = "semi_supervised"
[data]
name = "points"
[semi_supervised]
way = [4, 3]
shot = 2
unlabeled = 5
repeats = 3
out_of_scope = true
"""
ROWS = """
[[row]]
name = "labels only"
method = "prototypical"
unlabeled = false
[[row]]
method = "pool_prototypes"
arguments = { outlier_threshold = inf }
only = { way = 3 }
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


def run_spec(folder, text=SMALL, stop=lambda: False, display=None):
    display = display or RecordingDisplay()
    run_benchmarks(
        [spec(folder, text)], RunOptions(folder / "out"), display.progress_display(), stop
    )
    return display


def results(folder):
    found, faults = read_records(folder / "out" / "small.jsonl")
    assert faults == ()
    return found


def test_a_cell_is_a_row_on_a_pile(tmp_path):
    found = list_experiments(spec(tmp_path, SMALL))
    assert [str(cell) for cell in found] == [
        f"{name}: {known}-way 2-shot, 5 unlabeled items per class"
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
        ("repeats = 3", "repeats = 4", 0),
        ("repeats = 3", "seed = 7", 0),
        ("unlabeled = 5", "unlabeled = 4", 0),
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
    before, after = (
        {cell.key for cell in list_experiments(spec(tmp_path, text))} for text in texts
    )
    assert len(before & after) == kept


def test_a_draw_has_labels_of_known_classes_and_a_pile_of_all(tmp_path):
    cell = list_experiments(spec(tmp_path, SMALL))[1]
    train = made("train")
    x, y, known = sample_items(train, cell, 0)
    assert (len(known), (y >= 0).sum(), (y == -1).sum()) == (3, 6, 20)
    assert sorted(y[y >= 0].tolist()) == sorted([*known.tolist()] * 2)
    items = [int(np.flatnonzero((train.x.numpy() == one).all(1))[0]) for one in x]
    assert len(set(items)) == 26
    assert np.bincount(train.y.numpy()[items][y == -1]).tolist() == [5] * 4
    assert (train.y.numpy()[items][y >= 0] == y[y >= 0]).all()
    assert not np.array_equal(sample_items(train, cell, 1)[0], x)


def test_records_are_what_the_classifier_says(tmp_path):
    run_spec(tmp_path)
    found = results(tmp_path)
    assert [record.key for record in found] == [
        cell.key for cell in list_experiments(spec(tmp_path, SMALL))
    ]
    record, cell = found[-1], list_experiments(spec(tmp_path, SMALL))[-1]
    expected = []
    for seed in range(3):
        x, y, known = sample_items(made("train"), cell, seed)
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
    assert record.n_queries == 3 * 30
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
    assert 0.5 < record.metrics["auroc"] <= 1
    assert record.metrics["auroc_half_width"] >= 0


def test_without_items_out_of_scope_there_is_no_such_figure(tmp_path):
    run_spec(tmp_path, SMALL.replace("out_of_scope = true\n", ""))
    assert results(tmp_path)[0].metrics == {}


def test_what_is_stopped_goes_on_and_what_is_finished_is_skipped(tmp_path):
    display = RecordingDisplay()
    with pytest.raises(BenchmarkStopped, match="stopped after 2 of 5 experiments of small"):
        run_spec(tmp_path, display=display, stop=lambda: len(display.done()) >= 2)
    run_spec(tmp_path)
    run_spec(tmp_path / "whole")
    assert list(map(timeless, results(tmp_path))) == list(
        map(timeless, results(tmp_path / "whole"))
    )
    assert run_spec(tmp_path).messages == [
        "small: 0 trainings and 0 experiments to do, 5 experiments done"
    ]


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ('"semi_supervised"', '"pool"', "kind", ["'pool' is invalid", "episodes"]),
        ("shot = 2", "shots = 2", "semi_supervised.shots", ["unknown key", "mean 'shot'"]),
        ("shot = 2", "shot = 0", "semi_supervised.shot[0]", ["0 is invalid", "equal to 1"]),
        ("way = [4, 3]\n", "", "semi_supervised.way", ["required"]),
        ("unlabeled = 5", "unlabeled = true", "semi_supervised.unlabeled[0]", ["integer"]),
        ("repeats = 3", "repeats = 1", "semi_supervised.repeats", ["1 is invalid", "equal to 2"]),
        ("unlabeled = false\n", "", "row[0]", ["does not use unlabeled", "unlabeled = false"]),
        ('"prototypical"', '"siamese"', "row[0].method", ["'siamese'", "must be trained"]),
        (HEADED, 'head = "feat"\n', "row[2].head", ["'feat'", "must be trained"]),
        (
            "outlier_threshold = inf",
            "outlier_thresholds = 1",
            "row[1].arguments",
            ["'outlier_thresholds'"],
        ),
        ('head = "linear_head"\n', "", "row[2].head_arguments", ["unknown argument"]),
        ("{ way = 3 }", "{ way = 5 }", "row[1].only", ["no budget"]),
        ("{ way = 3 }", "{ weigh = 3 }", "row[1].only.weigh", ["unknown key"]),
        ('"then linear head"', '"labels only"', "row[2].name", ["an earlier row"]),
        ("[semi_supervised]", "[test]\n[semi_supervised]", "test", ["unknown key"]),
    ],
)
def test_an_error_names_the_key_the_value_and_what_is_allowed(tmp_path, old, new, key, words):
    assert old in SMALL
    path = written(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"small\.toml: ") as caught:
        load_spec(path)
    message = str(caught.value).removeprefix(f"{path}: ")
    assert message.startswith(f"{key}: "), message
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[4, 3]", "[5, 3]", "5-way .* points/train has 4 classes"),
        ("unlabeled = 5", "unlabeled = 9", "the smallest with 10 items; reduce the numbers"),
        ('"points"', '"points"\ntest = "tset"', "points/tset cannot be read"),
        (
            'name = "points"',
            'name = "glyphs"',
            "glyphs must have features, and the same classes",
        ),
    ],
)
def test_what_data_refuse_is_told_before_any_work(tmp_path, old, new, words):
    with pytest.raises(ValueError, match=words):
        run_spec(tmp_path, SMALL.replace(old, new, 1))
    assert results(tmp_path) == ()


def test_data_without_items_out_of_scope_are_told(tmp_path, monkeypatch):
    monkeypatch.delattr(data, "points_out_of_scope")
    with pytest.raises(
        ValueError, match=r"semi_supervised\.out_of_scope: points has no out-of-scope items"
    ):
        load_semi_supervised_data(spec(tmp_path, SMALL), {})
