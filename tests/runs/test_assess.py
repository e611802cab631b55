"""Checkpoints on the same tasks: every row is what `evaluate` says, every difference is paired with the first."""

import json

import pytest

import graphfew as gf
from graphfew.runs import evaluation


def test_the_other_mode_is_told_in_the_recipe_and_the_trained_one_in_the_provenance(whole):
    model = evaluation.in_mode(gf.load(whole / "best"), False)
    assert not model.transductive
    assert model.spec.arguments["transductive"] is False
    assert model.provenance["trained_mode"] == "transductive"
    assert (
        evaluation.in_mode(gf.load(whole / "best"), True).provenance
        == gf.load(whole / "best").provenance
    )


@pytest.fixture(scope="module")
def models(whole):
    return [("best", gf.load(whole / "best")), ("last", gf.load(whole / "last"))]


@pytest.fixture(scope="module")
def draws():
    digits = gf.data.digits()
    return [
        gf.Tasks(digits, way=3, query=query, seed=9) for query in (gf.data.multinomial((1, 7)), 2)
    ]


def test_rows_are_results_of_the_same_tasks_and_differences_to_the_first(models, draws):
    rows = list(evaluation.evaluate_model(models, draws, 6, 2))
    assert [(row.name, row.result.tasks["query"]) for row in rows] == [
        (name, query) for query in ("multinomial(1-7)", "balanced(2)") for name in ("best", "last")
    ]
    for row, (tasks, model) in zip(rows, [(t, m) for t in draws for _, m in models], strict=True):
        again = gf.evaluate(model, tasks, 6)
        assert row.result == again
        assert row.result.calibration_error == pytest.approx(again.calibration_error, abs=1e-6)
        assert row.decisions == sum(len(tasks[i][1]) for i in range(6))
    assert [row.comparison for row in rows[::2]] == [None, None]
    for first, second in (rows[:2], rows[2:]):
        assert second.comparison == gf.compare_results(second.result, first.result)


def test_progress_counts_every_task_of_every_row(models, draws):
    seen = []
    list(
        evaluation.evaluate_model(models, draws, 4, 2, lambda what, done: seen.append((what, done)))
    )
    assert [done for _, done in seen] == list(range(2, 17, 2))
    assert [what for what, _ in seen[:4]] == ["best", "best", "last", "last"]


def test_a_model_that_refuses_the_tasks_is_found_before_any_evaluation(models, draws):
    fixed = gf.create("gnn", encoder=gf.backbones.conv4(width=4), way=5)
    seen = []
    with pytest.raises(ValueError, match="built for 5-way"):
        list(
            evaluation.evaluate_model(
                [*models, ("gnn", fixed)], draws, 4, 2, lambda what, done: seen.append(done)
            )
        )
    assert seen == []


def test_the_report_is_json_and_holds_every_task(models, draws):
    rows = list(evaluation.evaluate_model(models, draws, 6, 2))
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
def test_the_command_is_told_without_absolute_paths(arguments, expected):
    assert evaluation.column_widths(arguments) == expected
