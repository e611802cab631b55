"""All published results of a benchmark, and what makes each incomparable with ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from graphfew.benchmark.protocol import query_name, query_phrase
from graphfew.benchmark.published import PublishedResult
from graphfew.benchmark.report.aggregation import AggregatedResult
from graphfew.benchmark.report.formatting import format_accuracy, format_signed
from graphfew.benchmark.report.published_comparison import PublishedMatch, match_published


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """Published results of one source that differ in their tasks only.

    Attributes:
        published: any of them, without the settings in which they differ.
        ours: our corresponding row; empty if we have no such result.
        major, minor: differences that affect the accuracy, and others.
    """

    published: PublishedResult
    ours: str = ""
    major: tuple[str, ...] = ()
    minor: tuple[str, ...] = ()

    @property
    def protocol(self) -> str:
        """The protocol in words."""
        published = self.published
        tasks = f"{published.tasks:,} tasks" if published.tasks else "tasks not known"
        queries = query_phrase(query_name(published.query))
        return f"{published.backbone}, {published.mode}, {tasks}, {queries}"

    @property
    def notes(self) -> str:
        """Caveats that the differences do not already contain."""
        notes = [] if self.ours else list(self.published.unlike)
        if self.published.caveat:
            notes.append(self.published.caveat)
        return "; ".join(notes) or "–"


@dataclasses.dataclass(frozen=True)
class PublishedTables:
    """Rows with their accuracies in words: those that correspond to ours, and the others."""

    n_results: int
    matched: dict[PublishedRow, list[str]]
    others: dict[PublishedRow, list[str]]

    @property
    def n_others(self) -> int:
        """Number of published results without a corresponding row."""
        return sum(len(lines) for lines in self.others.values())


def make_published_tables(
    results: Sequence[AggregatedResult], published: Sequence[PublishedResult], name: str
) -> PublishedTables | None:
    """Return all published results of a benchmark, or None without any."""
    relevant = [result for result in published if result.benchmark == name]
    if not relevant:
        return None
    matches: dict[PublishedResult, list[tuple[AggregatedResult, PublishedMatch]]] = {}
    for result in results:
        for match in match_published(result, relevant):
            matches.setdefault(match.published, []).append((result, match))
    tables = PublishedTables(len(relevant), {}, {})
    for other in relevant:
        # Results that differ in these fields only come from one row of a paper and share one
        # line.
        shared = other.model_copy(
            update={"way": 0, "shot": 0, "value": 0.0, "interval": None, "labeled_ratio": 1.0}
        )
        for result, match in matches.get(other, []):
            minor = tuple(text for text in match.differences if text not in match.major)
            row = PublishedRow(shared, str(result.key), match.major, minor)
            tables.matched.setdefault(row, []).append(_comparison(result, match))
        if other not in matches:
            line = f"{_tasks(other)}: {other}"
            tables.others.setdefault(PublishedRow(shared), []).append(line)
    return tables


def _comparison(result: AggregatedResult, match: PublishedMatch) -> str:
    gap = "" if match.gap is None else f", {format_signed(match.gap, 2)} points"
    published = match.published
    return f"{_tasks(published)}: {published}, ours {format_accuracy(result)}{gap}"


def _tasks(published: PublishedResult) -> str:
    text = f"{published.way}-way {published.shot}-shot"
    if published.labeled_ratio != 1:
        text += f", {100 * published.labeled_ratio:g} % labeled"
    return text
