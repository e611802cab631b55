"""Plot accuracy by number of labels: `python -m benchmarks.active_learning.plot`."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.active_learning.plan import DATASETS, RANDOM, RECOMMENDED
from benchmarks.active_learning.records import RESULTS, read_curves
from benchmarks.active_learning.summary import (
    FIGURE,
    RUN,
    StrategySummary,
    summarize,
)
from benchmarks.unlabeled_sets.datasets import Array

STYLES = {RANDOM: "k--", RECOMMENDED: "C0-", "mc-vopt": "C2-"}


def main() -> None:
    """Write the plot next to the records."""
    summaries = summarize(read_curves(RESULTS))
    if not summaries:
        raise SystemExit(f"{RESULTS} has no results; run {RUN}")
    figure = plot_curves(summaries)
    figure.savefig(FIGURE, dpi=90, metadata={"Software": None})
    plt.close(figure)


def plot_curves(summaries: list[StrategySummary]) -> Figure:
    """Return a figure with one panel per data set, and their mean."""
    shown = [summary for summary in summaries if summary.name in STYLES]
    shown += [summary for summary in summaries if summary.name.startswith("scikit-activeml")]
    figure, axes = plt.subplots(3, 4, figsize=(13, 8.5), sharex=True, layout="constrained")
    panels = [*axes.flat]
    for row, dataset in enumerate(DATASETS):
        for number, summary in enumerate(shown):
            _curve(panels[row], summary.name, summary.accuracy[row], number)
        panels[row].set_title(dataset.replace("_", " "), fontsize=10)
    for number, summary in enumerate(shown):
        _curve(panels[len(DATASETS)], summary.name, summary.accuracy.mean(0), number)
    panels[len(DATASETS)].set_title("mean", fontsize=10)
    panels[-1].axis("off")
    handles, labels = panels[len(DATASETS)].get_legend_handles_labels()
    panels[-1].legend(handles, labels, loc="center", fontsize=9)
    figure.supxlabel("labels per class")
    figure.supylabel("accuracy on the unlabeled rest, %")
    return figure


def _curve(axes: Axes, name: str, accuracy: Array, number: int) -> None:
    shots = np.arange(1, len(accuracy) + 1)
    style = STYLES.get(name, f"C{number}:")
    axes.plot(shots, 100 * accuracy, style, label=name, linewidth=1.5)
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
