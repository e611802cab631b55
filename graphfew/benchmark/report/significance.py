"""Differences between rows on the same tasks, with their significance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from graphfew.benchmark.protocol import comparison_caveats
from graphfew.benchmark.report.aggregation import AggregatedResult, ResultKey
from graphfew.benchmark.report.formatting import format_signed
from graphfew.benchmark.report.result_tables import TaskColumn, task_columns, usual_tasks
from graphfew.evaluation import compare_results
from graphfew.evaluation.significance import LEVEL, compare_pairwise, holm_correction


@dataclasses.dataclass(frozen=True)
class AccuracyDifference:
    """The difference of two results on the same tasks.

    Attributes:
        label: "a vs. b".
        points: the difference.
        half_width: half of its 95 % interval; None hides it.
        corrected_p: p-value after Holm's correction.
        caveats: differences in mode or assumptions.
    """

    label: str
    points: float
    half_width: float | None
    corrected_p: float
    caveats: tuple[str, ...]

    @property
    def direction(self) -> str:
        """ "up" or "down" for a significant difference, else empty."""
        if self.corrected_p >= LEVEL:
            return ""
        return "up" if self.points > 0 else "down"

    @property
    def text(self) -> str:
        """The difference, with an arrow if it is significant."""
        text = format_signed(self.points)
        if self.half_width is not None:
            text = f"{format_signed(self.points, 2)} ± {self.half_width:.2f}"
        arrow = {"up": "▲ ", "down": "▼ "}.get(self.direction, "")
        return arrow + text

    @property
    def title(self) -> str:
        """The comparison in words."""
        return "; ".join([f"{self.label}: p = {self.corrected_p:.2g}", *self.caveats])


@dataclasses.dataclass(frozen=True)
class ReferenceTable:
    """Differences of all rows to one of them; None if they share no tasks."""

    reference: ResultKey
    columns: tuple[TaskColumn, ...]
    rows: tuple[tuple[ResultKey, tuple[AccuracyDifference | None, ...]], ...]


@dataclasses.dataclass(frozen=True)
class DifferenceMatrix:
    """Differences of every two rows on one kind of tasks, the most accurate first.

    Attributes:
        rows: differences of each result to all; None on the diagonal.
        n_excluded: results on other tasks.
    """

    column: TaskColumn
    results: tuple[AggregatedResult, ...]
    rows: tuple[tuple[AccuracyDifference | None, ...], ...]
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
    columns = task_columns([result for result in results if result.key == reference])
    by_column: list[dict[ResultKey, AccuracyDifference]] = []
    for column in columns:
        group = [result for result in results if result.tasks_json == column.tasks_json]
        by_column.append(_compare_with(group, reference))
    keys = dict.fromkeys(r.key for r in results if any(r.key in found for found in by_column))
    if not keys:
        return None
    table = [(key, tuple(found.get(key) for found in by_column)) for key in keys]
    return ReferenceTable(reference, columns, tuple(table))


def difference_matrices(results: Sequence[AggregatedResult]) -> tuple[DifferenceMatrix, ...]:
    """Compare every two rows, for each kind of tasks."""
    matrices: list[DifferenceMatrix] = []
    for column in task_columns(results):
        group = [result for result in results if result.tasks_json == column.tasks_json]
        matrices.append(_difference_matrix(column, group))
    return tuple(matrices)


def _compare_with(
    results: Sequence[AggregatedResult], reference: ResultKey
) -> dict[ResultKey, AccuracyDifference]:
    base = next(result for result in results if result.key == reference)
    others = [
        result
        for result in results
        if result.key != reference and result.task_identity == base.task_identity
    ]
    # Paired over tasks, whose difficulty varies more than the methods do. All comparisons of a
    # column with the reference are one family for the correction.
    tests = [compare_results(other.average.result, base.average.result) for other in others]
    corrected = holm_correction([test.p_value for test in tests])
    differences: dict[ResultKey, AccuracyDifference] = {}
    for other, test, p_value in zip(others, tests, corrected, strict=True):
        differences[other.key] = AccuracyDifference(
            f"{other.key} vs. {reference}",
            100 * test.difference,
            100 * test.half_width,
            p_value,
            comparison_caveats(base.records[0], other.records[0]),
        )
    return differences


def _difference_matrix(column: TaskColumn, results: Sequence[AggregatedResult]) -> DifferenceMatrix:
    # A paired test needs the same tasks, so results on others are counted but not compared.
    usual = usual_tasks(results)
    group = [result for result in results if result.task_identity == usual]
    group.sort(key=lambda result: -result.average.result.mean)
    # Corrected over all pairs of the column; the lower half of the matrix has the negated
    # differences of the upper half.
    tests = {(test.a, test.b): test for test in compare_pairwise([r.average.result for r in group])}
    rows: list[tuple[AccuracyDifference | None, ...]] = []
    for a, first in enumerate(group):
        row: list[AccuracyDifference | None] = []
        for b, second in enumerate(group):
            if a == b:
                row.append(None)
                continue
            test = tests[min(a, b), max(a, b)]
            sign = 1 if a < b else -1
            row.append(
                AccuracyDifference(
                    f"{first.key} vs. {second.key}",
                    sign * 100 * test.comparison.difference,
                    None,
                    test.corrected_p,
                    comparison_caveats(first.records[0], second.records[0]),
                )
            )
        rows.append(tuple(row))
    return DifferenceMatrix(column, tuple(group), tuple(rows), len(results) - len(group))
