"""Runs of the suite: measures, records, interruption, and a run on iris."""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest

from benchmarks.unlabeled_sets import baselines, code_version, datasets, measures, records, run
from benchmarks.unlabeled_sets.datasets import FeatureSet
from benchmarks.unlabeled_sets.settings import LabeledSet, Setting
from benchmarks.unlabeled_sets.spec import MethodRow, read_spec

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = """
name = "small"
title = "Small"
about = "Small."
seed = 0
draws = 2
cap = 60
datasets = ["iris", "mnist"]
shots = [3]
balances = ["natural", "99:1"]
outlier_kinds = ["compact"]
outlier_share = 0.3
[[method]]
name = "auto"
features = "default"
single = false
[[method]]
name = "label_spreading"
method = "label_spreading"
features = "length 1"
[[method]]
name = "future"
method = "not_registered"
features = "none"
[[method]]
name = "simpleshot"
method = "simpleshot"
unlabeled = false
features = "length 1"
[[method]]
name = "nearest mean"
baseline = "nearest_mean"
features = "raw"
reference = true
"""


@pytest.fixture
def arguments(tmp_path):
    spec = tmp_path / "small.toml"
    spec.write_text(SMALL)
    return ["--spec", str(spec), "--out", str(tmp_path), "--root", str(tmp_path)]


def lines(tmp_path):
    content = (tmp_path / "small.jsonl").read_text().splitlines()
    return [json.loads(line) for line in content]


def test_run_on_iris_records_every_method_and_resumes(arguments, tmp_path, capsys):
    assert run.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "skipped mnist: " in shown
    assert "skipped future: not_registered is not a registered method" in shown
    assert "skipped iris, 3 labels, 99:1: the data set has too few items" in shown
    assert "about 0 s left" in shown
    header, *results = lines(tmp_path)
    assert header["command"].startswith("python -m benchmarks.unlabeled_sets.run --spec")
    assert [(r["setting"]["outliers"], r["draw"]) for r in results] == [
        ("none", 0),
        ("compact", 0),
        ("none", 1),
        ("compact", 1),
    ]
    names = ["auto", "label_spreading", "simpleshot", "nearest mean"]
    for result in results:
        assert list(result["methods"]) == list(result["keys"]) == names
        has_outliers = result["setting"]["outliers"] == "compact"
        for measured in result["methods"].values():
            assert ("auroc" in measured) == has_outliers
            assert measured["accuracy"] > 0.5

    assert run.main(arguments) == 0
    assert lines(tmp_path) == [header, *results]


def test_interrupted_run_continues_with_the_same_results(arguments, tmp_path):
    run.main(arguments)
    complete = records.read_records(tmp_path / "small.jsonl")
    text = (tmp_path / "small.jsonl").read_text()
    (tmp_path / "small.jsonl").write_text(text[: len(text) * 2 // 3])
    assert len(records.read_records(tmp_path / "small.jsonl").results) < len(complete.results)
    run.main(arguments)
    continued = records.read_records(tmp_path / "small.jsonl")
    assert without_time(continued.results) == without_time(complete.results)
    assert continued.keys == complete.keys


def without_time(results):
    return {
        (sample, name): {key: value for key, value in measured.items() if key != "seconds"}
        for sample, methods in results.items()
        for name, measured in methods.items()
    }


def test_only_affected_methods_run_again_after_a_change_of_the_code(
    arguments, tmp_path, monkeypatch
):
    run.main(arguments)
    n_before = len(lines(tmp_path))
    monkeypatch.setattr(code_version, "classifier_version", lambda: "changed")
    assert run.main([*arguments, "--any-code"]) == 0
    assert len(lines(tmp_path)) == n_before
    assert run.main([*arguments, "--methods", "auto", "nearest mean", "--draws", "1"]) == 0
    _, *new = lines(tmp_path)[n_before:]
    assert [list(result["methods"]) for result in new] == [["auto"], ["auto"]]
    # The last result counts.
    merged = records.read_records(tmp_path / "small.jsonl")
    sample = records.Sample(Setting(**new[0]["setting"]), 0)
    assert merged.keys[sample]["auto"] == new[0]["keys"]["auto"]
    assert set(merged.results[sample]) == {"auto", "label_spreading", "simpleshot", "nearest mean"}


def test_several_processes_give_the_same_results(arguments, tmp_path):
    run.main(arguments)
    alone = records.read_records(tmp_path / "small.jsonl")
    (tmp_path / "small.jsonl").unlink()
    run.main([*arguments, "--processes", "2"])
    together = records.read_records(tmp_path / "small.jsonl")
    assert without_time(together.results) == without_time(alone.results)


def test_method_that_fails_is_reported_and_not_recorded(arguments, tmp_path, monkeypatch, capsys):
    def fail(x, y):
        raise RuntimeError("no solution")

    monkeypatch.setitem(baselines.BASELINES, "nearest_mean", fail)
    assert run.main([*arguments, "--draws", "1"]) == 1
    assert "failed: nearest mean on iris, 3 labels, natural: RuntimeError: no solution" in (
        capsys.readouterr().out
    )
    results = lines(tmp_path)[1:]
    assert all("nearest mean" not in result["methods"] for result in results)
    monkeypatch.undo()
    assert run.main([*arguments, "--draws", "1"]) == 0
    assert [list(result["methods"]) for result in lines(tmp_path)[4:]] == [["nearest mean"]] * 2


def test_unknown_names_are_refused_before_any_work(arguments, tmp_path):
    with pytest.raises(ValueError, match="no data set iris2; expected some of iris, mnist"):
        run.main([*arguments, "--only", "iris2"])
    with pytest.raises(ValueError, match="no method poison; expected some of auto"):
        run.main([*arguments, "--methods", "poison"])
    with pytest.raises(ValueError, match="unknown baseline 'x'; expected one of nearest_mean"):
        measures.missing_reason(MethodRow("x", "none", baseline="x"))
    assert not (tmp_path / "small.jsonl").exists()


def test_member_measures_by_hand():
    probs = np.array([[0.95, 0.05], [0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    measured = measures.member_measures(probs, np.array([0, 1, 1, 0]))
    assert measured == pytest.approx(
        {
            "accuracy": 0.5,
            "confidence": (0.95 + 0.9 + 0.6 + 0.7) / 4,
            # Each item is alone in its bin.
            "calibration_error": (0.05 + 0.9 + 0.4 + 0.7) / 4,
            "confident_share": 0.5,
            "confident_accuracy": 0.5,
        }
    )
    assert "confident_accuracy" not in measures.member_measures(probs[2:], np.array([1, 0]))


def test_accuracy_counts_unlabeled_members_and_auroc_separates_outliers():
    x = np.array([[0.0, 0], [0.1, 0], [4, 0], [4.1, 0], [1.9, 0], [90, 0], [80, 0]])
    y = np.array([0, -1, 1, -1, -1, -1, -1])
    target = np.array([0, 0, 1, 1, 1, -1, -1])
    row = MethodRow("nearest mean", "raw", baseline="nearest_mean")
    measured = measures.measure(row, LabeledSet(x, y, target), "iris")
    assert measured["accuracy"] == pytest.approx(2 / 3, abs=1e-5)
    assert measured["auroc"] == 1


@pytest.mark.parametrize("name", sorted(set(baselines.BASELINES) - set(baselines.OPTIONAL)))
def test_baselines_return_probabilities_and_scores(name):
    rng = np.random.default_rng(0)
    target = np.arange(60) % 3
    x = rng.normal(size=(60, 4)) + 5 * np.eye(3, 4)[target]
    # The second group is so far away that no label reaches it.
    x = np.concatenate([x, x + 1e4])
    y = np.where(np.arange(120) < 9, np.tile(target, 2), -1)
    probs, membership = baselines.BASELINES[name](x, y)
    assert probs.shape == (120, 3)
    assert probs.sum(1) == pytest.approx(np.ones(120))
    assert membership.shape == (120,)
    if name != "logistic_regression" and name != "self_training":
        assert (probs[:60].argmax(1) == target).mean() > 0.9


@pytest.mark.skipif(
    importlib.util.find_spec("graphlearning") is None, reason="graphlearning is not installed"
)
def test_graphlearning_separates_two_groups():
    # The groups touch: GraphLearning's solver diverges, with signs by chance, where the graph of
    # neighbors falls into parts.
    x = np.random.default_rng(0).normal(size=(80, 3)) + 2.5 * (np.arange(80)[:, None] % 2)
    y = np.where(np.arange(80) < 4, np.arange(80) % 2, -1)
    probs, _ = baselines.graphlearning_poisson(x, y)
    assert (probs.argmax(1) == np.arange(80) % 2).mean() > 0.95


def test_key_depends_on_the_spec_and_the_code_but_not_on_the_name():
    spec = read_spec()
    row = MethodRow("a", "raw", method="label_spreading")
    key = records.result_key(spec, row, "1")
    assert key == records.result_key(spec, dataclasses.replace(row, name="b", features="x"), "1")
    others = [
        records.result_key(spec, row, "2"),
        records.result_key(dataclasses.replace(spec, cap=100), row, "1"),
        records.result_key(spec, dataclasses.replace(row, arguments={"alpha": 0.5}), "1"),
    ]
    assert key not in others


def test_code_version_ignores_docstrings_and_comments():
    one = 'def f(x):\n    """One."""\n    # why\n    return x + 1\n'
    two = 'def f(x):\n    """Two,\n    longer."""\n    return (x + 1)\n'
    three = "def f(x):\n    pass\n    return x + 2\n"
    assert code_version.normalized_source(one) == code_version.normalized_source(two)
    assert code_version.normalized_source(one) != code_version.normalized_source(three)
    assert code_version.classifier_version() != code_version.baseline_version()


def test_data_sets_of_scikit_learn_and_of_files(tmp_path):
    iris = datasets.load_dataset("iris", tmp_path)
    assert iris.x.shape == (150, 4)
    assert np.bincount(iris.y).tolist() == [50, 50, 50]
    (tmp_path / "pools").mkdir()
    x = np.ones((3, 2), np.uint8)
    np.savez(tmp_path / "pools" / "mnist_pixels.npz", x=x, y=np.array([7, 3, 7]))
    mnist = datasets.load_dataset("mnist", tmp_path)
    assert isinstance(mnist, FeatureSet)
    assert mnist.x.dtype == np.float32
    assert mnist.y.tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="unknown data set 'x'; expected one of stackoverflow"):
        datasets.load_dataset("x", tmp_path)


@pytest.mark.parametrize(
    ("seconds", "text"), [(99, "99 s"), (600, "10 min"), (6000, "1 h 40 min"), (9000, "2 h 30 min")]
)
def test_durations(seconds, text):
    assert run.format_duration(seconds) == text
