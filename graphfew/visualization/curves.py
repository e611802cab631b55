"""Accuracy and loss over the steps of training, from the log that `graphfew train` keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphfew.visualization.episode_graph import CLASS_COLORS

LOG = "metrics.jsonl"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
FIELDS = ("step", "loss", "accuracy", "validation_accuracy", "validation_half_width")

Line = Mapping[str, float]


def plot_training_curves(
    runs: str | Path | Sequence[str | Path] | Mapping[str, str | Path],
) -> Figure:
    """Accuracy and loss over steps: of each run its validation, the 95 % interval as a band, and thin its training.

    Args:
        runs: folders that `graphfew train --out` wrote, or their `metrics.jsonl`; with names, or named as the folders.

    Raises:
        FileNotFoundError: no log there.
        ValueError: no runs, or a log that is empty or cannot be read.
    """
    named = (
        dict(runs)
        if isinstance(runs, Mapping)
        else _named([runs] if isinstance(runs, str | Path) else list(runs))
    )
    if not named:
        raise ValueError("curves got no runs; give at least one folder of graphfew train")
    logs = {name: read(path) for name, path in named.items()}
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, log) in enumerate(logs.items()):
        style = {
            "color": CLASS_COLORS[number % len(CLASS_COLORS)],
            "linestyle": DASHES[number % len(DASHES)],
            "marker": MARKERS[number % len(MARKERS)],
            "markersize": 5,
            "markevery": max(1, len(log) // 12),
        }
        _accuracy(left, log, name, style)
        steps, losses = _known(log, "loss")
        right.plot(steps, losses, label=name, **style)
    for ax, title in ((left, "accuracy in %"), (right, "training loss")):
        ax.set(xlabel="step", title=title)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.3)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(3, len(logs)),
        frameon=False,
        fontsize=9,
    )
    return figure


def read(path: str | Path) -> list[dict[str, float]]:
    """The lines of a run's log, see `curves`; values that were not known are NaN."""
    file = Path(path)
    file = file if file.suffix == ".jsonl" else file / LOG
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no {file}; give the folder that graphfew train --out wrote"
        )
    try:
        lines = [
            json.loads(line)
            for line in file.read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
        found = [
            {name: math.nan if line.get(name) is None else float(line[name]) for name in FIELDS}
            for line in lines
        ]
    except (json.JSONDecodeError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{file} cannot be read ({error}); give the log of graphfew train"
        ) from error
    if not found or any(math.isnan(line["step"]) for line in found):
        raise ValueError(
            f"{file} has no validation yet"
            if not found
            else f"{file} has a line without step; give the log of graphfew train"
        )
    return found


def _named(paths: Sequence[str | Path]) -> dict[str, str | Path]:
    """Each under the last part of its path, or the whole of it where two have the same."""
    folders = [Path(path).parent if Path(path).suffix == ".jsonl" else Path(path) for path in paths]
    names = [folder.resolve().name for folder in folders]
    return {
        name if names.count(name) == 1 else str(folder): path
        for name, folder, path in zip(names, folders, paths, strict=True)
    }


def _accuracy(ax: Axes, log: Sequence[Line], name: str, style: dict[str, Any]) -> None:
    steps, mean = _known(log, "validation_accuracy")
    half = [
        100 * line["validation_half_width"]
        for line in log
        if not math.isnan(line["validation_accuracy"])
    ]
    percent = [100 * value for value in mean]
    ax.plot(steps, percent, label=f"{name}, validation (band: 95 % interval)", **style)
    low, high = (
        [value + sign * h for value, h in zip(percent, half, strict=True)] for sign in (-1, 1)
    )
    ax.fill_between(steps, low, high, color=style["color"], alpha=0.2, linewidth=0)
    steps, own = _known(log, "accuracy")
    thin = {**style, "linewidth": 0.8, "marker": "none", "alpha": 0.9}
    ax.plot(steps, [100 * value for value in own], label=f"{name}, training", **thin)


def _known(log: Sequence[Line], field: str) -> tuple[list[float], list[float]]:
    known = [line for line in log if not math.isnan(line[field])]
    return [line["step"] for line in known], [line[field] for line in known]
