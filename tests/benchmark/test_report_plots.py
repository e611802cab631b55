"""What plots show, in numbers: which cells become a line, where labels stand, and who is ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench_records import made, write_records

from graphfew.benchmark.report import AggregatedResult, aggregate_results
from graphfew.benchmark.report.line_plots import (
    accuracy_over_balance,
    accuracy_over_queries,
    accuracy_over_shots,
    describe_line_plot,
    offset_positions,
    render_line_plot,
    spread_labels,
)
from graphfew.benchmark.report.ranks import rank_families
from graphfew.benchmark.report.training_plots import read_curves


def cells(
    folder: Path, *tasks: dict[str, Any], rows: tuple[str, ...] = ("a",), **changes: Any
) -> tuple[AggregatedResult, ...]:
    records = (
        made(row, 0.6 + i / 20, tasks=drawn, **changes)
        for row in rows
        for i, drawn in enumerate(tasks)
    )
    return aggregate_results(write_records(folder, *records))[0].results


def test_shots_make_a_panel_for_each_kind_of_tasks(tmp_path: Path) -> None:
    found = accuracy_over_shots(
        cells(tmp_path, {"shot": 1}, {"shot": 5}, {"shot": 1, "way": 20}, rows=("a", "b"))
    )
    (panel,) = found
    assert (panel.title, panel.ticks) == ("5-way, 15 queries per class", ((1.0, "1"), (5.0, "5")))
    assert [name for name, _ in panel.lines] == ["a (inductive)", "b (inductive)"]
    assert [point.x for point in panel.lines[0][1]] == [1.0, 5.0]
    assert panel.counts == "40 tasks of 75 queries each"


def test_numbers_of_queries_make_a_panel_and_one_per_class_belongs_to_it(tmp_path: Path) -> None:
    drawn = (
        {"query": query}
        for query in ("one-per-class", "balanced(5)", "balanced(15)", "dirichlet(2.0, 75)")
    )
    (panel,) = accuracy_over_queries(cells(tmp_path, *drawn))
    assert [label for _, label in panel.ticks] == ["1", "5", "15"]


def test_divisions_stand_from_even_to_one_class(tmp_path: Path) -> None:
    names = (
        "single-class(75)",
        "dirichlet(2.0, 75)",
        "balanced(15)",
        "multinomial(75)",
        "varied(1-75, 1-2)",
    )
    (panel,) = accuracy_over_balance(cells(tmp_path, *({"query": name} for name in names)))
    assert panel.ticks == (
        (0.0, "balanced"),
        (1.0, "multinomial"),
        (2.0, "Dirichlet(2)"),
        (3.0, "one class"),
    )
    assert "balanced 69.7, multinomial 74.7" in describe_line_plot(panel)
    assert 'role="img"' in str(render_line_plot(panel, "x"))


def test_divisions_of_other_numbers_of_queries_are_not_joined(tmp_path: Path) -> None:
    records = made(), made(tasks={"query": "dirichlet(2.0, 30)"}, n_queries=40 * 30)
    assert (
        accuracy_over_balance(aggregate_results(write_records(tmp_path, *records))[0].results) == ()
    )


def test_lines_of_other_tasks_are_told(tmp_path: Path) -> None:
    records = made(), made(tasks={"shot": 5}), made("b", count=20), made("b", tasks={"shot": 5})
    (panel,) = accuracy_over_shots(aggregate_results(write_records(tmp_path, *records))[0].results)
    assert panel.counts == "20 to 40 tasks of 75 queries each; not all lines are of the same tasks"


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [0.0, 10.0], [9.9, 10.0, 9.8], [3.0]])
def test_labels_are_apart_in_their_order_and_inside(values: list[float]) -> None:
    places = spread_labels(values, 1.0, 0.0, 10.0)
    assert all(abs(a - b) >= 1 - 1e-9 for i, a in enumerate(places) for b in places[:i])
    assert sorted(range(len(values)), key=lambda i: values[i]) == sorted(
        range(len(values)), key=lambda i: places[i]
    )
    assert max(places) <= 10.0


def test_methods_are_ranked_where_benchmarks_share_three(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        rows = (("a", 0.9), ("b", 0.8), ("c", 0.7)) if name != "three" else (("a", 0.9), ("z", 0.1))
        for row, mean in rows:
            for shot in (1, 5):
                write_records(
                    tmp_path, made(row, mean, tasks={"shot": shot}, benchmark=name), name=name
                )
    (standing,) = rank_families(aggregate_results(tmp_path))
    assert (standing.benchmarks, standing.names) == (("one", "two"), ("a", "b", "c"))
    assert standing.ranking.ranks == (1.0, 2.0, 3.0)


def test_too_few_benchmarks_or_methods_are_not_ranked(tmp_path: Path) -> None:
    for name, rows in (("one", "abc"), ("two", "ab")):
        write_records(tmp_path, *(made(row) for row in rows), name=name)
    assert rank_families(aggregate_results(tmp_path)) == ()


def test_ranks_need_the_same_tasks(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_records(tmp_path, made("a"), made("b"), made("c", count=10), name=name)
    assert rank_families(aggregate_results(tmp_path)) == ()


def test_curves_are_read_past_corrupt_lines(tmp_path: Path) -> None:
    run = tmp_path / "my-egnn-seed3"
    run.mkdir()
    line = '{"step": %d, "validation_accuracy": 0.5, "validation_half_width": 0.1, "loss": null}\n'
    endless = line.replace("%d", "1e999") + "[" * 100_000 + "\n"
    (run / "metrics.jsonl").write_text(line % 10 + "[3]\n" + line % 20 + endless + '{"step": 3')
    (curve,), faults = read_curves(tmp_path)
    assert (curve.name, curve.seed, curve.steps, curve.accuracy) == (
        "my-egnn",
        "3",
        (10, 20),
        (50.0, 50.0),
    )
    assert [fault.line for fault in faults] == [2, 4, 5, 6]
    assert read_curves(tmp_path / "none") == ((), ())


def test_long_names_leave_room_for_the_plot(tmp_path: Path) -> None:
    rows = tuple(letter * 300 for letter in "abc")
    (panel,) = accuracy_over_shots(cells(tmp_path, {"shot": 1}, {"shot": 5}, rows=rows))
    shown = str(render_line_plot(panel, "x"))
    assert "a" * 39 + "…" in shown
    assert "a" * 300 in describe_line_plot(panel)


def test_lines_stand_a_little_aside_of_one_another(tmp_path: Path) -> None:
    (near,) = accuracy_over_shots(cells(tmp_path / "a", {"shot": 1}, {"shot": 5}))
    (far,) = accuracy_over_shots(cells(tmp_path / "b", {"shot": 1}, {"shot": 20}))
    for panel, ends in ((near, [1.0, 5.0]), (far, [1.0, 20.0])):
        left, middle, right = (offset_positions(ends, panel, number, 3) for number in range(3))
        assert middle == ends
        assert all(a < b < c for a, b, c in zip(left, middle, right, strict=True))
        assert right[1] - left[1] < 0.05 * (ends[1] - ends[0]) * (1 if panel is near else 2)


def test_ranges_of_ways_are_written_as_ranges(tmp_path: Path) -> None:
    (panel,) = accuracy_over_shots(
        cells(tmp_path, {"shot": 1, "way": [5, 20]}, {"shot": 5, "way": [5, 20]})
    )
    assert panel.title == "5–20-way, 15 queries per class"
