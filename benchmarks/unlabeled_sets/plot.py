"""Plot the distance of every method to the best in each setting: `python -m benchmarks.unlabeled_sets.plot`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from benchmarks.unlabeled_sets import aggregate
from benchmarks.unlabeled_sets.aggregate import SettingResult
from benchmarks.unlabeled_sets.records import RESULTS, read_records, records_path
from benchmarks.unlabeled_sets.spec import SPEC, SuiteSpec, read_spec
from benchmarks.unlabeled_sets.suite_tables import GROUPS


def main() -> None:
    """Write the plot next to the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, default=SPEC)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    spec = read_spec(given.spec)
    path = records_path(spec, given.results)
    records = read_records(path)
    results = aggregate.setting_results(records, aggregate.measured_methods(spec, records))
    if not results:
        raise SystemExit(f"{path} has no results; run python -m benchmarks.unlabeled_sets.run")
    figure = plot_distances(results, spec)
    figure.savefig(path.with_suffix(".png"), dpi=110, metadata={"Software": None})
    plt.close(figure)


def plot_distances(results: Sequence[SettingResult], spec: SuiteSpec) -> Figure:
    """Return a figure with one row per method and one point per setting.

    Methods are sorted by their mean distance; points of a group of settings have one color and one
    height in the row.
    """
    distances = {}
    best = [aggregate.oracle(result, spec) for result in results]
    for name in results[0].measures:
        accuracy = [result.accuracy(name) for result in results]
        distances[name] = 100 * (np.array(best) - np.array(accuracy))
    names = sorted(distances, key=lambda name: -float(distances[name].mean()))
    groups = np.array([aggregate.group_of(result.setting) for result in results])
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.42 * len(names)), layout="constrained")
    rows = np.arange(len(names))
    for i, group in enumerate(GROUPS):
        in_group = groups == group
        height = 0.6 * ((i + 0.5) / len(GROUPS) - 0.5)
        values = np.stack([distances[name][in_group] for name in names])
        heights = np.broadcast_to(rows[:, None] - height, values.shape)
        axes.plot(values.ravel(), heights.ravel(), ".", markersize=4, alpha=0.6, label=group)
    means = [distances[name].mean() for name in names]
    axes.plot(means, rows, "k|", markersize=14, markeredgewidth=2, label="mean")
    axes.set_yticks(rows, names)
    axes.set_xscale("symlog", linthresh=1)
    ticks = [-10, -1, 0, 1, 3, 10, 30, 100]
    axes.set_xticks(ticks, [str(tick).replace("-", "\N{MINUS SIGN}") for tick in ticks])
    axes.set_xlabel("points below the best single method of the setting")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return figure


if __name__ == "__main__":
    main()
