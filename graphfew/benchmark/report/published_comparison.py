"""Published results that correspond to one of ours, and whether the difference is meaningful."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from graphfew.benchmark.protocol import EvaluationProtocol, major_differences, protocol_differences
from graphfew.benchmark.published import PublishedResult
from graphfew.benchmark.report.aggregation import AggregatedResult

# A published result on other tasks than these does not correspond to ours.
TASK_FIELDS = (
    *("way", "shot", "unlabeled", "labeled_ratio"),
    *("distractors", "label_noise", "within_groups"),
)
IMBALANCED = ("dirichlet", "single-class", "effective")


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


def match_published(
    result: AggregatedResult, published: Sequence[PublishedResult]
) -> tuple[PublishedMatch, ...]:
    """Return the published results of the same method and tasks, the most comparable first."""
    ours = EvaluationProtocol.from_record(result.records[0])
    matches: list[tuple[tuple[bool, bool, int], PublishedMatch]] = []
    for other in published:
        if other.benchmark != ours.data or other.method != result.method:
            continue
        theirs = EvaluationProtocol.from_published(other)
        # Other sizes of tasks are different results; other protocols are the same result,
        # measured in another way, and are shown with their differences.
        same_tasks = all(getattr(theirs, name) == getattr(ours, name) for name in TASK_FIELDS)
        if not same_tasks or _balance(theirs.query) != _balance(ours.query):
            continue
        major = major_differences(theirs, ours)
        # A number would be read as a result even with a warning next to it.
        gap = None if major else 100 * result.average.result.mean - other.value
        differences = protocol_differences(theirs, ours)
        # The first match is shown in tables of a single line.
        distance = (theirs.mode != ours.mode, theirs.backbone != ours.backbone, len(major))
        matches.append((distance, PublishedMatch(other, major, differences, gap)))
    matches.sort(key=lambda match: match[0])
    return tuple(match for _, match in matches)


def _balance(query: str) -> str:
    """The class balance of queries: results on imbalanced ones only match their own kind."""
    return next((kind for kind in IMBALANCED if query.startswith(kind)), "balanced")
