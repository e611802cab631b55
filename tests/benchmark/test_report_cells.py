"""Records become cells: the last of a key counts, seeds are averaged, corrupt lines are kept apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench_records import made, write_records

from graphfew.benchmark.report import aggregate_results


def test_training_seeds_make_one_cell(tmp_path: Path) -> None:
    seeds = [made(seed=seed, noise=seed, mean=0.7 + 0.1 * seed) for seed in (1, 0, 2)]
    (benchmark,) = aggregate_results(write_records(tmp_path, *seeds))
    (cell,) = benchmark.results
    means = [record.result.mean for record in seeds]
    assert [record.seed for record in cell.records] == [0, 1, 2]
    assert cell.average.result.mean == pytest.approx(np.mean(means))
    assert cell.average.seed_std == pytest.approx(np.std(means, ddof=1))
    assert (cell.n_tasks, cell.queries_per_task, benchmark.n_superseded, cell.n_excluded) == (
        40,
        75.0,
        0,
        0,
    )


def test_the_last_record_of_a_cell_counts(tmp_path: Path) -> None:
    (benchmark,) = aggregate_results(write_records(tmp_path, made(mean=0.5), made(mean=0.9)))
    (cell,) = benchmark.results
    assert cell.average.result == made(mean=0.9).result
    assert benchmark.n_superseded == 1


def test_a_newer_spec_replaces_an_older_one_also_with_fewer_tasks(tmp_path: Path) -> None:
    records = made(mean=0.5, count=80), made(mean=0.9, count=40, spec_hash="new")
    (benchmark,) = aggregate_results(write_records(tmp_path, *records))
    assert [cell.n_tasks for cell in benchmark.results] == [40]
    assert benchmark.n_superseded == 1


def test_a_try_with_fewer_tasks_does_not_hide_the_full_result(tmp_path: Path) -> None:
    (benchmark,) = aggregate_results(write_records(tmp_path, made(count=80), made(count=5)))
    assert [cell.n_tasks for cell in benchmark.results] == [80]
    assert benchmark.n_superseded == 1


def test_another_task_seed_is_the_same_cell_and_other_modes_are_not(tmp_path: Path) -> None:
    records = (
        made(),
        made(tasks={"seed": 1}),
        made(mode="transductive"),
        made(assumes="balanced"),
        made(tasks={"shot": 5}),
    )
    (benchmark,) = aggregate_results(write_records(tmp_path, *records))
    assert len(benchmark.results) == 4
    assert benchmark.n_superseded == 1


def test_seeds_of_other_tasks_are_left_out_and_counted(tmp_path: Path) -> None:
    records = made(seed=0), made(seed=1), made(seed=2, count=20)
    (cell,) = aggregate_results(write_records(tmp_path, *records))[0].results
    assert ([record.seed for record in cell.records], cell.n_excluded) == ([0, 1], 1)


def test_corrupt_lines_are_kept_and_the_rest_is_read(tmp_path: Path) -> None:
    write_records(tmp_path, made("first"))
    with (tmp_path / "omniglot.jsonl").open("a") as file:
        file.write('{"format": 1, "ro\n')
    (benchmark,) = aggregate_results(write_records(tmp_path, made("last")))
    assert [cell.key.row for cell in benchmark.results] == ["first", "last"]
    assert [fault.line for fault in benchmark.unreadable] == [2]


def test_families_name_mode_and_assumption(tmp_path: Path) -> None:
    (benchmark,) = aggregate_results(
        write_records(tmp_path, made(), made(assumes="balanced", mode="transductive"))
    )
    first, second = (cell.key for cell in benchmark.results)
    assert (first.family, str(first)) == ("inductive", "Prototypes (inductive)")
    assert second.family == "transductive, assuming balanced queries"
    assert str(second) == "Prototypes, balanced (transductive)"


def test_no_results_are_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contains no results"):
        aggregate_results(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        aggregate_results(tmp_path / "none")
