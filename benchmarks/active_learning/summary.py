"""Tables of active learning, in Markdown; `benchmarks.tables` and the documentation insert them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.active_learning.curves import Curve
from benchmarks.active_learning.plan import (
    CANDIDATES,
    CHOSEN,
    DATASETS,
    MAX_CLASSES,
    MAX_ITEMS,
    RANDOM,
    RECOMMENDED,
)
from benchmarks.active_learning.records import RESULTS, CurveKey, read_curves
from benchmarks.method_tables import markdown
from benchmarks.unlabeled_sets.datasets import Array

RUN = "python -m benchmarks.active_learning.run"
NOT_RUN = f"Not run yet: `{RUN}`."
CHOSEN_ELSEWHERE = "chosen without the data set"
SCALE = Path("benchmarks/active_learning/results/scale.json")
RUN_SCALE = "python -m benchmarks.active_learning.scale"
FIGURE = RESULTS.with_suffix(".png")
SHOWN_SHOTS = (1, 2, 3, 5, 10)


@dataclasses.dataclass(frozen=True, eq=False)
class StrategySummary:
    """A strategy compared with random choice, by data set.

    Attributes:
        name: of the strategy.
        accuracy: `[D, S]` by data set and number of labels per class, mean over draws.
        difference: `[D, S]` to random choice.
        classes_found: `[D]` share of the classes that have a label after the first round.
        seconds: mean time of all rounds.
    """

    name: str
    accuracy: Array
    difference: Array
    classes_found: Array
    seconds: float

    @property
    def mean_difference(self) -> float:
        """Mean difference over data sets and numbers of labels."""
        return float(self.difference.mean())

    @property
    def cold_wins(self) -> float:
        """Share of the data sets in which the first round is better than random choice."""
        return float((self.difference[:, 0] > 0).mean())


def summarize(curves: Mapping[CurveKey, Curve]) -> list[StrategySummary]:
    """Compare strategies with random choice, those that have all data sets.

    The default that is chosen on the other data sets is one of them.
    """
    by_name = {}
    for name in CHOSEN:
        summary = _summary(curves, name)
        if summary is not None:
            by_name[name] = summary
    if all(name in by_name for name in CANDIDATES):
        by_name[CHOSEN_ELSEWHERE] = leave_one_out([by_name[name] for name in CANDIDATES])
    return sorted(by_name.values(), key=lambda summary: -summary.mean_difference)


def leave_one_out(candidates: Sequence[StrategySummary]) -> StrategySummary:
    """For each data set, take the candidate with the best mean on all others.

    Args:
        candidates: strategies, each with all data sets.

    Returns:
        The results of these choices.
    """
    means = np.stack([summary.difference.mean(1) for summary in candidates])
    others = means.sum(1, keepdims=True) - means
    best = others.argmax(0)
    rows = range(means.shape[1])
    accuracy = np.stack([candidates[best[row]].accuracy[row] for row in rows])
    difference = np.stack([candidates[best[row]].difference[row] for row in rows])
    found = np.array([candidates[best[row]].classes_found[row] for row in rows])
    seconds = float(np.mean([candidates[best[row]].seconds for row in rows]))
    return StrategySummary(CHOSEN_ELSEWHERE, accuracy, difference, found, seconds)


def active_learning(root: Path) -> str:
    """Return the section of the results page."""
    curves = read_curves(root / RESULTS)
    summaries = summarize(curves)
    if not summaries:
        return NOT_RUN
    n_draws = 1 + max(key.draw for key in curves)
    candidates = ", ".join(f"*{name}*" for name in CANDIDATES)
    paragraphs = [
        f"Accuracy on the unlabeled rest after 1 to 10 labels per class, of items that a strategy chooses and a "
        f"simulated oracle labels: as many in each round as there are classes. {len(DATASETS)} data sets, up to "
        f"{MAX_ITEMS:,} items, {MAX_CLASSES} classes and {n_draws} draws; classifier: `FewShotClassifier()`, with "
        "weights that were fitted without the data set. Items of classes without a label count as errors. Strategies "
        f"of scikit-activeml have the same scaled features and a logistic regression. *{CHOSEN_ELSEWHERE}*: the best "
        f"of {candidates} on the nine other data sets. Command: `{RUN}`; file: `{RESULTS.as_posix()}`.",
        "Differences to random choice in points, mean over data sets. Lowest: the smallest difference of a data set at "
        "any number of labels. First round: data sets in which it is better than random choice, and the share of the "
        "classes that it finds. Seconds: of the strategy in all ten rounds, without measuring.",
        strategy_table(summaries),
        "Mean accuracy over 1 to 10 labels per class in %, by data set, over the draws that each strategy has:",
        dataset_table(summaries),
        scale(root),
        f"![Accuracy by number of labels]({FIGURE.relative_to('benchmarks').as_posix()})",
    ]
    return "\n\n".join(paragraphs)


def differences(root: Path) -> str:
    """Return the table of strategies."""
    summaries = summarize(read_curves(root / RESULTS))
    return strategy_table(summaries) if summaries else NOT_RUN


def scale(root: Path) -> str:
    """Return processor time and memory of suggestions for many items."""
    path = root / SCALE
    if not path.exists():
        return f"Not run yet: `{RUN_SCALE}`."
    content = json.loads(path.read_text(encoding="utf-8"))
    seconds = content["seconds"]
    peak, before = content["peak_bytes"] / 1e9, content["bytes_before"] / 1e9
    first = (
        f"{content['items']:,} items with {content['features']} features and {content['classes']} classes, synthetic "
        f"data, one thread. The cold start finds {content['classes_found']} classes with {content['classes']} items. "
        f"Peak memory: {peak:.2f} GB, {before:.2f} GB of it before (`{content['command']}`).\n\n"
    )
    names = {"graph": "graph, once"}
    rows = [[names.get(name, name), f"{value:.1f}"] for name, value in seconds.items()]
    return first + markdown(["step", "processor seconds"], rows)


def strategy_table(summaries: Sequence[StrategySummary]) -> str:
    """Return differences to random choice by number of labels, and the lowest one."""
    shots = [f"{shot} per class" for shot in SHOWN_SHOTS]
    rows = []
    for summary in summaries:
        by_shots = summary.difference.mean(0)
        rows.append(
            [
                summary.name,
                points(summary.mean_difference),
                *(points(by_shots[shot - 1]) for shot in SHOWN_SHOTS),
                points(float(summary.difference.min())),
                f"{100 * summary.cold_wins:.0f} %",
                f"{100 * summary.classes_found.mean():.0f} %",
                f"{summary.seconds:.1f}",
            ]
        )
    head = ["", "mean", *shots, "lowest", "first round better", "classes found", "seconds"]
    return markdown(head, rows)


def dataset_table(summaries: Sequence[StrategySummary]) -> str:
    """Return the mean accuracy of the main strategies by data set."""
    names = {summary.name: summary for summary in summaries}
    shown = [name for name in (RANDOM, RECOMMENDED, CHOSEN_ELSEWHERE) if name in names]
    shown += [name for name in names if name.startswith("scikit-activeml")]
    rows = []
    for row, dataset in enumerate(DATASETS):
        means = [names[name].accuracy[row].mean() for name in shown]
        rows.append([dataset, *(f"{100 * mean:.1f}" for mean in means)])
    return markdown(["", *shown], rows)


def points(difference: float) -> str:
    """Return a difference in points with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def _summary(curves: Mapping[CurveKey, Curve], name: str) -> StrategySummary | None:
    """A strategy on all data sets, over the draws that it and random choice have; or None."""
    accuracy, difference, found, seconds = [], [], [], []
    for dataset in DATASETS:
        pairs = []
        for key, curve in curves.items():
            random_curve = curves.get(CurveKey(RANDOM, dataset, key.draw))
            if key.strategy == name and key.dataset == dataset and random_curve is not None:
                pairs.append((curve, random_curve))
        if not pairs:
            return None
        mean = np.mean([curve.accuracy for curve, _ in pairs], axis=0)
        random_mean = np.mean([random_curve.accuracy for _, random_curve in pairs], axis=0)
        accuracy.append(mean)
        difference.append(mean - random_mean)
        found.append(np.mean([curve.classes_found[0] for curve, _ in pairs]))
        seconds.append(np.mean([curve.seconds for curve, _ in pairs]))
    return StrategySummary(
        name, np.array(accuracy), np.array(difference), np.array(found), float(np.mean(seconds))
    )
