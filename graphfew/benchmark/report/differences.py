"""Differences between rows on the same tasks, with their significance."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from graphfew.benchmark.protocol import comparison_caveats
from graphfew.benchmark.report.aggregation import AggregatedResult, ResultKey, usual_tasks
from graphfew.benchmark.report.result_tables import TaskColumn, task_columns
from graphfew.evaluation import compare_pairwise

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class AccuracyDifference:
    """The difference of two results on the same tasks in points; "up" or "down" if significant."""

    label: str
    points: float
    half_width: float
    corrected_p: float
    direction: str
    caveats: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ReferenceTable:
    """Differences of all rows to one of them; None if they share no tasks."""

    reference: ResultKey
    columns: tuple[TaskColumn, ...]
    rows: dict[ResultKey, list[AccuracyDifference | None]]


@dataclasses.dataclass(frozen=True)
class DifferenceMatrix:
    """Differences of every two rows on one kind of tasks, by their indices, the best first."""

    column: TaskColumn
    results: list[AggregatedResult]
    differences: dict[Pair, AccuracyDifference]
    n_excluded: int


def differences_to_reference(
    results: Sequence[AggregatedResult], row: str | None = None
) -> ReferenceTable | None:
    """Compare every row with one of them on the same tasks.

    Args:
        results: of a benchmark.
        row: name of the reference; by default the first row. Its inductive mode is preferred.

    Returns:
        None if nothing can be compared.
    """
    rows = [result.key.row for result in results]
    row = row if row in rows else rows[0]
    candidates = {result.key for result in results if result.key.row == row}
    # Inductive results depend on nothing but the support set, so they are the neutral
    # reference.
    reference = min(candidates, key=lambda key: (key.family != "inductive", key))
    bases = {result.tasks_json: result for result in results if result.key == reference}
    columns = task_columns(list(bases.values()))
    by_column: list[dict[ResultKey, AccuracyDifference]] = []
    for column in columns:
        base = bases[column.tasks_json]
        same = [result for result in results if result.task_identity == base.task_identity]
        group = [base, *(result for result in same if result is not base)]
        # All comparisons of a column with the reference are one family for the correction.
        differences = _compare(group, [(other, 0) for other in range(1, len(group))])
        by_column.append({group[a].key: d for (a, _), d in differences.items() if a})
    compared = dict.fromkeys(r.key for r in results if any(r.key in found for found in by_column))
    if not compared:
        return None
    table = {key: [found.get(key) for found in by_column] for key in compared}
    return ReferenceTable(reference, columns, table)


def difference_matrices(results: Sequence[AggregatedResult]) -> tuple[DifferenceMatrix, ...]:
    """Compare every two rows, for each kind of tasks."""
    matrices: list[DifferenceMatrix] = []
    for column in task_columns(results):
        group = [result for result in results if result.tasks_json == column.tasks_json]
        # A paired test needs the same tasks, so results on others are counted but not compared.
        usual = usual_tasks(group)
        same = [result for result in group if result.task_identity == usual]
        same.sort(key=lambda result: -result.average.result.mean)
        # Corrected over all pairs of the column.
        pairs = list(itertools.combinations(range(len(same)), 2))
        matrix = DifferenceMatrix(column, same, _compare(same, pairs), len(group) - len(same))
        matrices.append(matrix)
    return tuple(matrices)


def _compare(
    group: Sequence[AggregatedResult], pairs: Sequence[Pair]
) -> dict[Pair, AccuracyDifference]:
    """The differences of pairs, in both directions."""
    # Paired over tasks, whose difficulty varies more than the methods do.
    tests = compare_pairwise([result.average.result for result in group], pairs)
    differences: dict[Pair, AccuracyDifference] = {}
    for test in tests:
        for a, b, sign in ((test.a, test.b, 1), (test.b, test.a, -1)):
            points = sign * 100 * test.comparison.difference
            direction = ""
            if test.significant:
                direction = "up" if points > 0 else "down"
            differences[a, b] = AccuracyDifference(
                f"{group[a].key} vs. {group[b].key}",
                *(points, 100 * test.comparison.half_width, test.corrected_p, direction),
                comparison_caveats(group[b].records[0], group[a].records[0]),
            )
    return differences
