"""Accuracy curves of active learning, their records, and the default that is chosen elsewhere."""

import numpy as np
import pytest

from benchmarks.active_learning import plan, records, run, summary
from benchmarks.active_learning.curves import Curve, measure_curve
from benchmarks.active_learning.records import CurveKey
from benchmarks.active_learning.summary import StrategySummary
from benchmarks.unlabeled_sets.datasets import FeatureSet, load_dataset

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    return load_dataset("iris", tmp_path_factory.mktemp("empty"))


def test_samples_depend_on_draw_and_name_only():
    data = FeatureSet(np.arange(40.0)[:, None], np.arange(40) % 20)
    x, y = plan.sample_items(data, "a", 0)
    again, _ = plan.sample_items(data, "a", 0)
    other, _ = plan.sample_items(data, "a", 1)
    assert x.tolist() == again.tolist() != other.tolist()
    assert sorted(set(y.tolist())) == list(range(plan.MAX_CLASSES))
    # Items of one class have one number.
    assert (
        len({(int(value) % 20, label) for (value,), label in zip(x, y.tolist(), strict=True)}) == 15
    )


def test_a_curve_labels_one_item_per_class_and_round(iris):
    n_labels, seen = [], []

    def strategy(state, n, rng):
        n_labels.append(state.n_labeled)
        seen.append(state.n_classes)
        # All items of class 0 first.
        return state.candidates[:n].numpy()

    order = np.argsort(iris.y, kind="stable")
    x, y = iris.x[order], iris.y[order]
    curve = measure_curve(x, y, "iris", 0, strategy)
    assert n_labels == list(range(0, 30, 3))
    assert seen[1:] == [1] * 9
    # Class 0 is predicted for all; 50 items have it, and those with a label do not count.
    expected = [(50 - n) / (150 - n) for n in range(3, 33, 3)]
    assert curve.accuracy == pytest.approx(expected, abs=1e-4)
    assert curve.classes_found == pytest.approx([1 / 3] * 10, abs=1e-4)


def test_a_strategy_that_repeats_labels_is_an_error(iris):
    with pytest.raises(ValueError, match="not 3 open items"):
        measure_curve(iris.x, iris.y, "iris", 0, lambda state, n, rng: np.zeros(n, dtype=int))


def test_a_run_measures_what_is_missing(tmp_path, capsys):
    out = tmp_path / "curves.jsonl"
    arguments = ["--out", str(out), "--root", str(tmp_path), "--only", "iris", "--draws", "1"]
    arguments += ["--strategies", "random", "typical"]
    assert run.main(arguments) == 0
    curves = records.read_curves(out)
    assert {*curves} == {CurveKey("random", "iris", 0), CurveKey("typical", "iris", 0)}
    found = curves[CurveKey("typical", "iris", 0)].classes_found[0]
    assert found == 1
    lines = out.read_text().splitlines()
    with out.open("a") as file:
        file.write('{"strategy": "cut o')
    capsys.readouterr()
    assert run.main(arguments) == 0
    assert out.read_text().splitlines() == lines
    assert capsys.readouterr().out == ""


def summary_of(name, means):
    difference = np.repeat(np.array(means)[:, None], 10, axis=1)
    return StrategySummary(name, difference + 0.5, difference, np.ones(len(means)), 1.0)


def test_the_default_of_a_data_set_is_chosen_on_the_others():
    # Without the first data set, b is best; without the others, a is.
    first, second = summary_of("a", [0.9, 0.1, 0.1]), summary_of("b", [0.0, 0.2, 0.2])
    chosen = summary.leave_one_out([first, second])
    assert chosen.difference.mean(1).tolist() == pytest.approx([0.0, 0.1, 0.1])


def test_strategies_are_compared_on_the_draws_of_both():
    curves = {}
    for dataset in plan.DATASETS:
        for draw, accuracy in enumerate([0.5, 0.9]):
            key = CurveKey("random", dataset, draw)
            curves[key] = Curve((accuracy,) * 10, (0.6,) * 10, 0.0)
        curves[CurveKey("typical", dataset, 0)] = Curve((0.75,) * 10, (1.0,) * 10, 2.0)
    by_name = {item.name: item for item in summary.summarize(curves)}
    assert {*by_name} == {"random", "typical"}
    assert by_name["typical"].mean_difference == pytest.approx(0.25)
    assert by_name["typical"].cold_wins == 1
    assert "| typical | +25.0 |" in summary.strategy_table([*by_name.values()])
    # A strategy without all data sets is left out.
    del curves[CurveKey("typical", plan.DATASETS[0], 0)]
    assert [item.name for item in summary.summarize(curves)] == ["random"]


def test_the_records_meet_the_targets():
    """At least 4 points above random choice, never more than 1 point below, a better start."""
    curves = records.read_curves(records.RESULTS)
    by_name = {item.name: item for item in summary.summarize(curves)}
    for name in (plan.RECOMMENDED, summary.CHOSEN_ELSEWHERE):
        assert by_name[name].mean_difference >= 0.04
        assert by_name[name].difference.min() >= -0.01
        assert by_name[name].cold_wins >= 0.8
