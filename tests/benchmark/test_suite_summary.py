"""Numbers, tables and plot of the suite, from records worked out by hand."""

import dataclasses
import json
import math

import pytest

from benchmarks import tables
from benchmarks.unlabeled_sets import aggregate, plot, suite_tables
from benchmarks.unlabeled_sets.records import Records, Sample, records_path
from benchmarks.unlabeled_sets.settings import Setting
from benchmarks.unlabeled_sets.spec import SPEC, MethodRow, read_spec

EVEN = Setting("iris", 1, "natural")
RARE = Setting("iris", 3, "95:5")
OUTLIERS = Setting("wine", 1, "natural", "compact")


@pytest.fixture
def spec():
    methods = (
        MethodRow("auto", "default", single=False),
        MethodRow("graph", "length 1", method="label_spreading"),
        MethodRow("mean", "raw", baseline="nearest_mean", reference=True),
        MethodRow("logistic", "scaled", baseline="logistic_regression", reference=True),
        MethodRow("absent", "none", method="poisson"),
    )
    return dataclasses.replace(read_spec(), methods=methods)


def measured(accuracy, confidence=0.5, share=0.0, correct=None, auroc=None):
    found = {
        "accuracy": accuracy,
        "confidence": confidence,
        "calibration_error": abs(accuracy - confidence),
        "confident_share": share,
        "seconds": 1.0,
    }
    if correct is not None:
        found["confident_accuracy"] = correct
    if auroc is not None:
        found["auroc"] = auroc
    return found


@pytest.fixture
def records():
    results = {
        Sample(EVEN, 0): {
            "auto": measured(0.9, share=0.5, correct=1.0),
            "graph": measured(0.8),
            "mean": measured(0.6),
            "logistic": measured(0.7),
        },
        Sample(EVEN, 1): {
            "auto": measured(0.7, share=0.1, correct=0.0),
            "graph": measured(0.6),
            "mean": measured(0.4),
            "logistic": measured(0.5),
        },
        Sample(RARE, 0): {
            "auto": measured(0.9),
            "graph": measured(0.5),
            "mean": measured(0.96),
            "logistic": measured(0.8),
        },
        Sample(RARE, 1): {
            "auto": measured(0.9),
            "graph": measured(0.5),
            "mean": measured(0.94),
            "logistic": measured(0.8),
        },
        Sample(OUTLIERS, 0): {
            "auto": measured(0.5, auroc=0.75),
            "graph": measured(0.7, auroc=0.5),
            "mean": measured(0.5, auroc=1.0),
            "logistic": measured(0.6, auroc=0.25),
        },
        # Incomplete: not compared.
        Sample(OUTLIERS, 1): {"auto": measured(0.0, auroc=0.0)},
    }
    return Records(results, {}, ())


@pytest.fixture
def results(spec, records):
    return aggregate.setting_results(records, aggregate.measured_methods(spec, records))


def test_settings_have_the_draws_that_all_measured_methods_have(spec, records, results):
    assert aggregate.measured_methods(spec, records) == ["auto", "graph", "mean", "logistic"]
    assert {result.setting: result.n_draws for result in results} == {EVEN: 2, RARE: 2, OUTLIERS: 1}


def test_oracle_is_the_best_single_method_and_the_reference_the_best_baseline(spec, results):
    found = {result.setting: aggregate.oracle(result, spec) for result in results}
    assert found == pytest.approx({EVEN: 0.7, RARE: 0.95, OUTLIERS: 0.7})
    best = {result.setting: aggregate.best_reference(result, spec) for result in results}
    assert best == {EVEN: "logistic", RARE: "mean", OUTLIERS: "logistic"}


def test_summary_by_hand(spec, results):
    auto, graph, mean, _ = aggregate.summarize(results, spec)
    assert auto.by_group == pytest.approx({"natural": 0.8, "95:5": 0.9, "compact outliers": 0.5})
    assert auto.accuracy == pytest.approx((0.8 + 0.9 + 0.5) / 3)
    # Below the oracle: -0.1, 0.05 and 0.2.
    assert auto.distance == pytest.approx(0.05)
    assert (auto.worst_difference, auto.worst_setting) == (pytest.approx(-0.1), OUTLIERS)
    # At 95:5 auto is 6 and 4 points below: the interval reaches 0. The graph is 46 and 44 below.
    # With the natural balance, the nearest mean is 10 points below in both draws.
    assert (auto.n_below, graph.n_below, mean.n_below) == (0, 1, 1)
    assert (graph.worst_difference, graph.worst_setting) == (pytest.approx(-0.45), RARE)
    assert auto.calibration_error == pytest.approx((0.3 + 0.4 + 0.0) / 3)
    assert auto.confident_share == pytest.approx((0.3 + 0 + 0) / 3)
    # 0.5 of 0.6 confident items are right.
    assert auto.confident_accuracy == pytest.approx(5 / 6)
    assert math.isnan(graph.confident_accuracy)
    assert auto.auroc == {"compact": 0.75}
    assert auto.seconds == 1


def test_below_needs_more_than_a_point_beyond_the_interval():
    assert aggregate.is_below([-0.02, -0.02, -0.02])
    assert not aggregate.is_below([-0.009, -0.009, -0.009])
    assert not aggregate.is_below([-0.2, 0.1, -0.2])
    assert not aggregate.is_below([-0.5])


def test_best_of_groups_by_hand(spec, results):
    iris, wine = aggregate.best_by_group(results, spec, lambda setting: setting.dataset)
    assert (iris.group, iris.n_settings) == ("iris", 2)
    assert iris.best == ("graph", pytest.approx(0.6))
    assert iris.reference == ("mean", pytest.approx((0.5 + 0.95) / 2))
    assert iris.default == pytest.approx(0.85)
    assert wine.best == ("graph", pytest.approx(0.7))


def test_tables_have_one_row_per_method_and_dashes_for_what_is_not_measured(spec, results):
    summaries = aggregate.summarize(results, spec)
    accuracy = suite_tables.accuracy_table(summaries).splitlines()
    assert accuracy[0] == (
        "|  | natural | 95:5 | compact outliers | all | distance | below | worst setting |"
    )
    assert accuracy[2] == (
        "| auto | 80.0 | 90.0 | 50.0 | 73.3 | 5.0 | 0 | −10.0<br>wine, 1 label, natural, compact outliers |"
    )
    assert len(accuracy) == 6
    confidence = suite_tables.confidence_table(summaries)
    assert "| auto | 73.3 | 50.0 | 0.233 | 10.0 | 83.3 | – | 0.750 | 1.00 |" in confidence
    assert "| graph | 63.3 | 50.0 | 0.133 | 0.0 | – | – | 0.500 | 1.00 |" in confidence


def write_repository(folder, records):
    """A folder with the real spec, and records under the names of its methods."""
    (folder / SPEC).parent.mkdir(parents=True)
    (folder / SPEC).write_text((tables.ROOT / SPEC).read_text(encoding="utf-8"), encoding="utf-8")
    path = folder / records_path(read_spec())
    path.parent.mkdir(parents=True)
    names = {"auto": "auto", "graph": "label_spreading", "mean": "nearest mean"}
    names["logistic"] = "logistic regression"
    content = []
    for sample, methods in records.results.items():
        setting = dataclasses.asdict(sample.setting)
        renamed = {names[name]: values for name, values in methods.items()}
        line = {"setting": setting, "draw": sample.draw, "keys": {}, "methods": renamed}
        content.append(json.dumps(line))
    path.write_text("\n".join(content) + "\n")


def test_sections_come_from_the_records_of_a_repository(tmp_path, records):
    write_repository(tmp_path, records)
    section = suite_tables.unlabeled_sets(tmp_path)
    assert "3 settings, up to 2 draws" in section
    assert "| auto | 80.0 | 90.0 | 50.0 | 73.3 |" in section
    assert "](unlabeled_sets/results/unlabeled-pools.png)" in section
    situations = suite_tables.situations(tmp_path).splitlines()
    assert situations[2:] == [
        "| natural, 1 label per class | 1 | 80.0 | label_spreading, 70.0 | logistic regression, 60.0 |",
        "| 95:5, 3 labels per class | 1 | 90.0 | label_spreading, 50.0 | nearest mean, 95.0 |",
        "| compact outliers, 1 label per class | 1 | 50.0 | label_spreading, 70.0 "
        "| logistic regression, 60.0 |",
    ]
    datasets = suite_tables.kinds_of_data(tmp_path).splitlines()
    assert [line.split(" | ")[0] for line in datasets[2:]] == ["| iris", "| wine"]


def test_sections_without_records_name_the_command(tmp_path):
    (tmp_path / SPEC).parent.mkdir(parents=True)
    (tmp_path / SPEC).write_text((tables.ROOT / SPEC).read_text(encoding="utf-8"), encoding="utf-8")
    for section in (suite_tables.unlabeled_sets, suite_tables.situations):
        assert section(tmp_path) == "Not run yet: `python -m benchmarks.unlabeled_sets.run`."


def test_plot_has_one_row_per_method_from_the_worst_to_the_best(spec, results):
    figure = plot.plot_distances(results, spec)
    (axes,) = figure.axes
    # Mean distances: mean 16.7, logistic 15, graph 15, auto 5.
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(labels) == ["auto", "graph", "logistic", "mean"]
    assert labels[-1] == "auto"
    n_points = sum(len(line.get_xdata()) for line in axes.lines)
    assert n_points == 4 * 3 + 4
    plot.plt.close(figure)
