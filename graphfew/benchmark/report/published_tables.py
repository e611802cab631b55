"""Published results next to ours, and the differences in protocol between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from graphfew.benchmark.protocol import (
    TASK_DEFAULTS,
    EvaluationProtocol,
    major_differences,
    protocol_differences,
)
from graphfew.benchmark.published import PublishedResult
from graphfew.benchmark.report.aggregation import AggregatedResult, group_by
from graphfew.benchmark.report.formatting import format_accuracy, format_signed

IMBALANCED = ("dirichlet", "single-class")
# Results that differ in these fields only come from one row of a paper and are one row here.
ROW_FIELDS = {"way": 0, "shot": 0, "value": 0.0, "interval": None, "labeled_ratio": 1.0}


@dataclasses.dataclass(frozen=True)
class PublishedMatch:
    """A published result next to one of ours.

    Attributes:
        major: differences in protocol that affect the accuracy.
        differences: all differences in protocol.
        gap: ours minus theirs in points; None if there are major differences.
    """

    published: PublishedResult
    major: tuple[str, ...]
    differences: tuple[str, ...]
    gap: float | None


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """Published results of one source that differ in their tasks only; `ours` may be empty."""

    published: PublishedResult
    ours: str = ""
    major: tuple[str, ...] = ()
    minor: tuple[str, ...] = ()


def match_published(
    result: AggregatedResult, published: Sequence[PublishedResult]
) -> tuple[PublishedMatch, ...]:
    """Return the published results of the same method and tasks, the most comparable first."""
    ours = EvaluationProtocol.from_record(result.records[0])
    matches: list[tuple[tuple[bool, bool, int], PublishedMatch]] = []
    for other in published:
        if other.benchmark != ours.data or other.method != result.published_name:
            continue
        theirs = EvaluationProtocol.from_published(other)
        # Other sizes of tasks are different results; other protocols are the same result,
        # measured in another way, and are shown with their differences.
        same_tasks = all(getattr(theirs, name) == getattr(ours, name) for name in TASK_DEFAULTS)
        if not same_tasks or _balance(theirs.query) != _balance(ours.query):
            continue
        major = major_differences(theirs, ours)
        # A number would be read as a result even with a warning next to it.
        gap = None if major else 100 * result.average.result.mean - other.value
        # The first match is shown in tables of a single line.
        distance = (theirs.mode != ours.mode, theirs.backbone != ours.backbone, len(major))
        match = PublishedMatch(other, major, protocol_differences(theirs, ours), gap)
        matches.append((distance, match))
    matches.sort(key=lambda match: match[0])
    return tuple(match for _, match in matches)


def make_published_tables(
    results: Sequence[AggregatedResult], published: Sequence[PublishedResult], name: str
) -> dict[str, Any] | None:
    """Return the rows of a benchmark that correspond to ours, and the others, with accuracies."""
    relevant = [result for result in published if result.benchmark == name]
    if not relevant:
        return None
    pairs = [(result, m) for result in results for m in match_published(result, relevant)]
    by_published = group_by(pairs, lambda pair: pair[1].published)
    matched: dict[PublishedRow, list[str]] = {}
    others: dict[PublishedRow, list[str]] = {}
    for other in relevant:
        shared = other.model_copy(update=ROW_FIELDS)
        tasks = f"{other.way}-way {other.shot}-shot"
        if other.labeled_ratio != 1:
            tasks += f", {100 * other.labeled_ratio:g} % labeled"
        for result, match in by_published.get(other, []):
            minor = tuple(text for text in match.differences if text not in match.major)
            row = PublishedRow(shared, str(result.key), match.major, minor)
            gap = "" if match.gap is None else f", {format_signed(match.gap, 2)} points"
            line = f"{tasks}: {other}, ours {format_accuracy(result)}{gap}"
            matched.setdefault(row, []).append(line)
        if other not in by_published:
            others.setdefault(PublishedRow(shared), []).append(f"{tasks}: {other}")
    return {"n_results": len(relevant), "matched": matched, "others": others}


def _balance(query: str) -> str:
    """The class balance of queries: results on imbalanced ones only match their own kind."""
    return next((kind for kind in IMBALANCED if query.startswith(kind)), "balanced")
