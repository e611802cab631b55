"""Evaluation of checkpoints on the same tasks: rows equal `evaluate`, differences are paired with the first."""

import json

import pytest

import graphfew as gf
from graphfew.errors import ConfigurationError
from graphfew.runs import evaluation


def test_set_mode_changes_the_spec_and_records_the_trained_mode(complete_run):
    model = evaluation.set_mode(gf.load(complete_run / "best"), False)
    assert not model.transductive
    assert model.spec.arguments["transductive"] is False
    assert model.provenance["trained_mode"] == "transductive"
    assert (
        evaluation.set_mode(gf.load(complete_run / "best"), True).provenance
        == gf.load(complete_run / "best").provenance
    )


@pytest.fixture(scope="module")
def models(complete_run):
    return [("best", gf.load(complete_run / "best")), ("last", gf.load(complete_run / "last"))]


@pytest.fixture(scope="module")
def task_sets():
    digits = gf.data.digits()
    return [
        gf.Tasks(digits, way=3, query=query, seed=9) for query in (gf.data.multinomial((1, 7)), 2)
    ]


def test_rows_have_results_and_differences_to_the_first(models, task_sets):
    rows = list(evaluation.evaluate_checkpoints(models, task_sets, 6, 2, allow_seen_classes=True))
    assert [(row.name, row.result.tasks["query"]) for row in rows] == [
        (name, query) for query in ("multinomial(1-7)", "balanced(2)") for name in ("best", "last")
    ]
    for row, (tasks, model) in zip(
        rows, [(t, m) for t in task_sets for _, m in models], strict=True
    ):
        again = gf.evaluate(model, tasks, 6)
        assert row.result == again
        assert row.result.calibration_error == pytest.approx(again.calibration_error, abs=1e-6)
        assert row.n_queries == sum(len(tasks[i][1]) for i in range(6))
    assert [row.comparison for row in rows[::2]] == [None, None]
    for first, second in (rows[:2], rows[2:]):
        assert second.comparison == gf.compare_results(second.result, first.result)


def test_progress_counts_all_tasks(models, task_sets):
    seen = []
    list(
        evaluation.evaluate_checkpoints(
            models,
            task_sets,
            4,
            2,
            lambda name, completed: seen.append((name, completed)),
            allow_seen_classes=True,
        )
    )
    assert [done for _, done in seen] == list(range(2, 17, 2))
    assert [what for what, _ in seen[:4]] == ["best", "best", "last", "last"]


def test_model_that_rejects_the_tasks_raises_before_evaluation(models, task_sets):
    fixed = gf.create("gnn", encoder=gf.backbones.conv4(width=4), way=5)
    seen = []
    with pytest.raises(ValueError, match="built for 5-way"):
        list(
            evaluation.evaluate_checkpoints(
                [*models, ("gnn", fixed)],
                task_sets,
                4,
                2,
                lambda name, completed: seen.append(completed),
                allow_seen_classes=True,
            )
        )
    assert seen == []


def test_report_is_json_with_every_task(models, task_sets):
    rows = list(evaluation.evaluate_checkpoints(models, task_sets, 6, 2, allow_seen_classes=True))
    report = json.loads(json.dumps(evaluation.report("graphfew evaluate a b", rows)))
    assert [len(result["per_task"]) for result in report["results"]] == [6] * 4
    assert [(c["a"], c["b"], c["tasks"]["query"]) for c in report["comparisons"]] == [
        ("last", "best", "multinomial(1-7)"),
        ("last", "best", "balanced(2)"),
    ]
    assert report["results"][0]["model"]["training_seed"] == 0
    assert set(report["versions"]) >= {"graphfew", "torch", "numpy"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["evaluate", "runs/a", "--data", "digits"], "graphfew evaluate runs/a --data digits"),
        (
            ["evaluate", "/home/me/runs/a", "--out=/tmp/x/y/r.json"],
            "graphfew evaluate runs/a --out=y/r.json",
        ),
        (["--out", "a b"], "graphfew --out 'a b'"),
        (
            ["bench", "--root=omniglot=/home/me/data/omniglot"],
            "graphfew bench --root=omniglot=data/omniglot",
        ),
        (["--root", "cub=/home/me/cub", "/home/a=b/c"], "graphfew --root cub=me/cub a=b/c"),
    ],
)
def test_portable_command_has_no_absolute_paths(arguments, expected):
    assert evaluation.portable_command(arguments) == expected


def test_seen_classes_raise_by_default(models, task_sets):
    with pytest.raises(ConfigurationError, match="best was trained on digits/all"):
        list(evaluation.evaluate_checkpoints(models, task_sets, 4, 2))


class NamedTasks:
    """Tasks that have a data set and a split, and no items."""

    def __init__(self, name):
        self.data, self.split = name.split("/")

    def describe(self):
        return {"data": self.data, "split": self.split}


@pytest.mark.parametrize(
    "init_encoder",
    [
        {"trained_on": "omniglot/trainval"},
        {"trained_on": "glyphs/train", "init_encoder": {"trained_on": "omniglot/trainval"}},
        [{"trained_on": "glyphs/train"}, {"trained_on": "omniglot/trainval"}],
    ],
    ids=["encoder", "encoder of the encoder", "several encoders"],
)
@pytest.mark.parametrize(("split", "seen"), [("val", True), ("test", False)])
def test_training_splits_of_encoders_count(init_encoder, split, seen, unchecked):
    """The method itself was trained on other data."""
    model = gf.create("prototypical", encoder=gf.backbones.identity(4))
    model.provenance = {"trained_on": "glyphs/train", "init_encoder": init_encoder}
    tasks = NamedTasks(f"omniglot/{split}")
    if seen:
        with pytest.raises(ConfigurationError, match="shares classes with omniglot/val"):
            evaluation.check_unseen_classes("m", model, tasks)
    else:
        evaluation.check_unseen_classes("m", model, tasks)
