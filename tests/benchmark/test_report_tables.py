"""Tables say what the records say: figures, counts, what is best and what is odd, published figures guarded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from bench_records import made, published_result, write_records

from graphfew.benchmark import BenchmarkRecord, PublishedResult
from graphfew.benchmark.report import (
    ResultTable,
    aggregate_results,
    fill_markers,
    make_tables,
    render_markdown,
)
from graphfew.benchmark.report.formatting import format_accuracy, format_seeds, format_signed
from graphfew.benchmark.report.published_tables import match_published

FIGURE = published_result(value=78.8, tasks=None)


def of(
    folder: Path, *records: BenchmarkRecord, figures: tuple[PublishedResult, ...] = ()
) -> tuple[ResultTable, ...]:
    return make_tables(aggregate_results(write_records(folder, *records))[0], figures)


def test_one_table_for_each_family_inductive_first(tmp_path: Path) -> None:
    records = made(mode="transductive"), made(), made(mode="transductive", assumes="balanced")
    assert [table.family for table in of(tmp_path, *records)] == [
        "inductive",
        "transductive",
        "transductive, assuming balanced queries",
    ]


def test_columns_go_by_way_shot_and_draw_with_their_counts(tmp_path: Path) -> None:
    draws: list[dict[str, Any]] = [
        {"way": 20},
        {"shot": 5, "labeled_ratio": 0.2, "unlabeled": 3},
        {},
        {"query": "dirichlet(2.0, 75)"},
    ]
    (table,) = of(tmp_path, *(made(tasks=draw) for draw in draws))
    assert [column.head for column in table.columns] == [
        ("5-way 1-shot", "15 queries per class"),
        ("5-way 1-shot", "75 queries, Dirichlet(2)"),
        (
            "5-way 5-shot",
            "15 queries per class",
            "labels on 0.2 of the shots",
            "3 unlabeled per class",
        ),
        ("20-way 1-shot", "15 queries per class"),
    ]
    assert {(column.n_tasks, column.queries) for column in table.columns} == {(40, "75")}


def test_places_stand_in_the_heading_where_they_differ(tmp_path: Path) -> None:
    (table,) = of(tmp_path, made(), made(tasks={"data": "digits", "split": "all"}))
    assert [column.head[-1] for column in table.columns] == ["digits/all", "omniglot/test"]


def test_the_best_and_all_not_significantly_below_are_marked(tmp_path: Path) -> None:
    records = made("low", 0.7), made("near", 0.799, noise=1), made("best", 0.8, noise=2)
    (table,) = of(tmp_path, *records)
    assert {line.name: line.cells[0].best for line in table.rows} == {
        "near": True,
        "best": True,
        "low": False,
    }
    assert table.rows[-1].name == "low"


def test_a_result_of_other_tasks_is_marked_and_never_best(tmp_path: Path) -> None:
    records = (
        made("a"),
        made("b"),
        made("few", 0.99, count=10),
        made("other", 0.99, tasks={"seed": 3}),
    )
    (table,) = of(tmp_path, *records)
    marks = {line.name: (line.cells[0].deviation, line.cells[0].best) for line in table.rows}
    assert marks == {
        "a": ("", True),
        "b": ("", True),
        "few": ("10 tasks", False),
        "other": ("other tasks (another seed)", False),
    }
    assert table.columns[0].n_tasks == 40


def test_a_figure_of_the_same_protocol_has_a_difference(tmp_path: Path) -> None:
    (table,) = of(tmp_path, made(), figures=(FIGURE,))
    cell = table.rows[0].cells[0].result
    (pair,) = table.rows[0].cells[0].published
    assert cell is not None
    assert pair.major == ()
    assert pair.gap == pytest.approx(100 * cell.average.result.mean - 78.8)


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "resnet12"},
        {"mode": "transductive"},
        {"batch_norm": "test batch"},
        {"split": "another"},
        {"assumes": "balanced"},
        {"selected_on": "test"},
        {"unlike": ("a leak",)},
    ],
)
def test_a_figure_of_another_protocol_has_none(tmp_path: Path, changes: dict[str, Any]) -> None:
    (table,) = of(tmp_path, made(), figures=(published_result(value=78.8, **changes),))
    (pair,) = table.rows[0].cells[0].published
    assert pair.gap is None
    assert pair.major
    assert "⚠" in render_markdown([table])


@pytest.mark.parametrize(
    "changes",
    [
        {"shot": 5},
        {"way": 20},
        {"method": "egnn"},
        {"benchmark": "cub"},
        {"labeled_ratio": 0.2},
        {"unlabeled": 5},
        {"query": "dirichlet:75:2.0"},
    ],
)
def test_a_figure_of_other_tasks_does_not_stand_beside(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    (cell,) = aggregate_results(write_records(tmp_path, made()))[0].results
    assert match_published(cell, [published_result(value=78.8, **changes)]) == ()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"method": "prototypical", "training_tasks": {"source": "umtra"}}, "umtra"),
        ({"method": "prototypical", "training_tasks": {"source": "chaml"}}, "prototypical"),
        ({"method": "maml", "update": "reptile", "arguments": {"first_order": True}}, "reptile"),
        ({"method": "maml", "arguments": {"first_order": True}}, "fomaml"),
        ({"method": "maml", "arguments": {"first_order": False}}, "maml"),
    ],
)
def test_a_training_is_compared_with_results_of_its_own_name(
    tmp_path: Path, model: dict[str, Any], name: str
) -> None:
    (cell,) = aggregate_results(write_records(tmp_path, made(model=model)))[0].results
    others = ("prototypical", "maml", "fomaml", "reptile", "umtra")
    figures = [published_result(method=other, value=78.8) for other in others]
    assert [match.published.method for match in match_published(cell, figures)] == [name]


def test_the_most_comparable_figure_comes_first(tmp_path: Path) -> None:
    (cell,) = aggregate_results(write_records(tmp_path, made()))[0].results
    others = [
        published_result(label=label, value=78.8, **changes)
        for label, changes in (
            ("mode", {"mode": "transductive"}),
            ("net", {"backbone": "resnet12"}),
            ("split", {"split": "x"}),
            ("same", {}),
        )
    ]
    assert [pair.published.label for pair in match_published(cell, others)] == [
        "same",
        "split",
        "net",
        "mode",
    ]


def test_markdown_equals_the_records(tmp_path: Path) -> None:
    records = [
        made(name, mean, noise=i, tasks={"shot": shot}, seed=seed, count=count)
        for i, (name, mean, shot, seed, count) in enumerate(
            [
                ("a", 0.8, 1, 0, 40),
                ("a", 0.82, 1, 1, 40),
                ("a", 0.9, 5, 0, 40),
                ("b|<b>", 0.6, 1, None, 40),
                ("c", 0.7, 1, None, 12),
            ]
        )
    ]
    (benchmark,) = aggregate_results(write_records(tmp_path, *records))
    (table,) = make_tables(benchmark)
    text = render_markdown([table])
    rows = [
        line.strip("| ").split(" | ")
        for line in text.splitlines()
        if line.startswith("| ") and "---" not in line
    ]
    assert rows[0][-2:] == [
        "5-way 1-shot<br>15 queries per class<br>40 tasks of 75 queries",
        "5-way 5-shot<br>15 queries per class<br>40 tasks of 75 queries",
    ]
    shown = {(row[0], i): row[i] for row in rows[1:] for i in (1, 2)}
    cells = {(cell.key.row, cell.task_settings["shot"]): cell for cell in benchmark.results}
    for (name, shot), column in {("a", 1): 1, ("a", 5): 2, ("c", 1): 1}.items():
        assert format_accuracy(cells[name, shot]) in shown[name, column]
    assert format_accuracy(cells["b|<b>", 1]) in shown[r"b\|\<b\>", 1]
    assert shown["a", 1].startswith("**")
    assert "2 seeds, sd" in shown["a", 1]
    assert "‡ 12 tasks" in shown["c", 1]
    assert shown["c", 2] == "–"


def test_encoders_that_stand_together_are_counted(tmp_path: Path) -> None:
    origins = [{"checkpoint": f"proto-seed{seed}/best.safetensors"} for seed in range(3)]
    records = (
        made("a", model={"init_encoder": origins}),
        made("b", model={"init_encoder": origins[0]}),
    )
    (benchmark,) = aggregate_results(write_records(tmp_path, *records))
    assert {cell.key.row: format_seeds(cell) for cell in benchmark.results} == {
        "a": "3 encoders combined",
        "b": "",
    }


def test_markers_are_filled_and_the_rest_stays() -> None:
    text = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n<!-- bench:y -->\n<!-- /bench:y -->\n"
    new = fill_markers(text, {"x": r"new \1 |", "other": "not there"})
    assert (
        new
        == "a\n<!-- bench:x -->\nnew \\1 |\n<!-- /bench:x -->\nb\n<!-- bench:y -->\n<!-- /bench:y -->\n"
    )
    assert fill_markers(new, {"x": r"new \1 |"}) == new


def test_markers_that_are_missing_are_an_error() -> None:
    with pytest.raises(ValueError, match=re.escape("<!-- bench:x -->")):
        fill_markers("nothing", {"x": "new"})
    with pytest.raises(ValueError, match="not followed by <!-- /bench:x -->"):
        fill_markers("<!-- bench:x -->\nold", {"x": "new"})


@pytest.mark.parametrize(
    ("gap", "text"), [(0.04, "0.0"), (-0.04, "0.0"), (1.25, "+1.2"), (-3.0, "−3.0")]
)
def test_signs_are_said_where_there_is_one(gap: float, text: str) -> None:
    assert format_signed(gap) == text
