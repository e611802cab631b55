"""Records become cells: the last of a key counts, seeds are averaged, corrupt lines are kept apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench_records import made

from graphfew.benchmark import Record, append
from graphfew.benchmark.report import gather


def written(folder: Path, *records: Record, name: str = "omniglot") -> Path:
    for record in records:
        append(folder / f"{name}.jsonl", record)
    return folder


def test_training_seeds_make_one_cell(tmp_path: Path) -> None:
    seeds = [made(seed=seed, noise=seed, mean=0.7 + 0.1 * seed) for seed in (1, 0, 2)]
    (benchmark,) = gather(written(tmp_path, *seeds))
    (cell,) = benchmark.cells
    means = [record.result.mean for record in seeds]
    assert [record.seed for record in cell.records] == [0, 1, 2]
    assert cell.over.result.mean == pytest.approx(np.mean(means))
    assert cell.over.spread == pytest.approx(np.std(means, ddof=1))
    assert (cell.tasks, cell.queries, benchmark.superseded, cell.left_out) == (40, 75.0, 0, 0)


def test_the_last_record_of_a_cell_counts(tmp_path: Path) -> None:
    (benchmark,) = gather(written(tmp_path, made(mean=0.5), made(mean=0.9)))
    (cell,) = benchmark.cells
    assert cell.over.result == made(mean=0.9).result
    assert benchmark.superseded == 1


def test_a_newer_spec_replaces_an_older_one_also_with_fewer_tasks(tmp_path: Path) -> None:
    records = made(mean=0.5, count=80), made(mean=0.9, count=40, spec_hash="new")
    (benchmark,) = gather(written(tmp_path, *records))
    assert [cell.tasks for cell in benchmark.cells] == [40]
    assert benchmark.superseded == 1


def test_a_try_with_fewer_tasks_does_not_hide_the_full_result(tmp_path: Path) -> None:
    (benchmark,) = gather(written(tmp_path, made(count=80), made(count=5)))
    assert [cell.tasks for cell in benchmark.cells] == [80]
    assert benchmark.superseded == 1


def test_another_task_seed_is_the_same_cell_and_other_modes_are_not(tmp_path: Path) -> None:
    records = (
        made(),
        made(tasks={"seed": 1}),
        made(mode="transductive"),
        made(assumes="even"),
        made(tasks={"shot": 5}),
    )
    (benchmark,) = gather(written(tmp_path, *records))
    assert len(benchmark.cells) == 4
    assert benchmark.superseded == 1


def test_seeds_of_other_tasks_are_left_out_and_counted(tmp_path: Path) -> None:
    records = made(seed=0), made(seed=1), made(seed=2, count=20)
    (cell,) = gather(written(tmp_path, *records))[0].cells
    assert ([record.seed for record in cell.records], cell.left_out) == ([0, 1], 1)


def test_corrupt_lines_are_kept_and_the_rest_is_read(tmp_path: Path) -> None:
    written(tmp_path, made("first"))
    with (tmp_path / "omniglot.jsonl").open("a") as file:
        file.write('{"format": 1, "ro\n')
    (benchmark,) = gather(written(tmp_path, made("last")))
    assert [cell.who.row for cell in benchmark.cells] == ["first", "last"]
    assert [fault.line for fault in benchmark.faults] == [2]


def test_families_name_mode_and_assumption(tmp_path: Path) -> None:
    (benchmark,) = gather(written(tmp_path, made(), made(assumes="even", mode="transductive")))
    first, second = (cell.who for cell in benchmark.cells)
    assert (first.family, str(first)) == ("inductive", "Prototypes (inductive)")
    assert second.family == "transductive, told that queries are divided evenly"
    assert str(second) == "Prototypes, even (transductive)"


def test_no_results_are_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no results"):
        gather(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        gather(tmp_path / "none")
