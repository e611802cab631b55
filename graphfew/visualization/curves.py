"""Training curves: accuracy and loss over steps."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphfew.errors import InvalidInputError, MissingFileError
from graphfew.visualization._style import class_color

LOG = "metrics.jsonl"
# Runs differ in marker and line style too, so that they are distinguishable without color.
RUN_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINE_STYLES = ("-", "--", "-.", ":")
FIELDS = ("step", "loss", "accuracy", "validation_accuracy", "validation_half_width")

LogEntry = Mapping[str, float]


def plot_training_curves(
    runs: str | Path | Sequence[str | Path] | Mapping[str, str | Path],
) -> Figure:
    """Plot accuracy and loss of training runs over steps.

    Validation accuracy is a thick line with its 95 % interval as a band; training accuracy is thin.

    Args:
        runs: one or more folders that `graphfew train --out` wrote, or their `metrics.jsonl`; a
            mapping gives them names, otherwise they have the names of their folders.

    Returns:
        The figure.

    Raises:
        MissingFileError: a log does not exist.
        InvalidInputError: `runs` is empty, or a log is empty or cannot be read.

    Example:
        >>> import json, pathlib, tempfile
        >>> entry = {"step": 1, "loss": 0.7, "accuracy": 0.4}
        >>> entry |= {"validation_accuracy": 0.5, "validation_half_width": 0.1}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pathlib.Path(folder, "metrics.jsonl").write_text(json.dumps(entry))
        ...     figure = plot_training_curves({"run": folder})
        >>> [ax.get_title() for ax in figure.axes]
        ['accuracy in %', 'training loss']
    """
    if isinstance(runs, Mapping):
        named_runs = dict(runs)
    elif isinstance(runs, str | Path):
        named_runs = _name_by_folder([runs])
    else:
        named_runs = _name_by_folder(list(runs))
    if not named_runs:
        raise InvalidInputError(
            "plot_training_curves got no runs; give at least one folder of graphfew train"
        )
    logs = {name: read_log(path) for name, path in named_runs.items()}
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    accuracy_ax, loss_ax = figure.subplots(1, 2)
    for index, (name, log) in enumerate(logs.items()):
        style = {
            "color": class_color(index),
            "linestyle": LINE_STYLES[index % len(LINE_STYLES)],
            "marker": RUN_MARKERS[index % len(RUN_MARKERS)],
            "markersize": 5,
            # About a dozen markers per curve, regardless of the number of validations.
            "markevery": max(1, len(log) // 12),
        }
        _plot_accuracy(accuracy_ax, log, name, style)
        steps, losses = _series(log, "loss")
        loss_ax.plot(steps, losses, label=name, **style)
    for ax, title in ((accuracy_ax, "accuracy in %"), (loss_ax, "training loss")):
        ax.set(xlabel="step", title=title)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.3)
    # One legend serves both axes, because they show the same runs.
    handles, labels = accuracy_ax.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(3, len(logs)),
        frameon=False,
        fontsize=9,
    )
    return figure


def read_log(path: str | Path) -> list[dict[str, float]]:
    """Read the log of a run (see `plot_training_curves`); missing values are NaN."""
    file = Path(path)
    if file.suffix != ".jsonl":
        file = file / LOG
    if not file.is_file():
        raise MissingFileError(
            f"there is no {file}; give the folder that graphfew train --out wrote"
        )
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        entries = [_parse_entry(line) for line in lines if line.strip()]
    except (json.JSONDecodeError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInputError(
            f"{file} cannot be read ({error}); give the log of graphfew train"
        ) from error
    if not entries:
        raise InvalidInputError(f"{file} has no validation yet; wait for the first one")
    if any(math.isnan(entry["step"]) for entry in entries):
        raise InvalidInputError(f"{file} has a line without step; give the log of graphfew train")
    return entries


def _parse_entry(line: str) -> dict[str, float]:
    values = json.loads(line)
    entry = {}
    for name in FIELDS:
        value = values.get(name)
        # JSON has no NaN: an entry without a value has null, or lacks the key.
        entry[name] = math.nan if value is None else float(value)
    return entry


def _name_by_folder(paths: Sequence[str | Path]) -> dict[str, str | Path]:
    """Name each run by the last part of its folder, or by the whole path if that is not unique."""
    folders = [_run_folder(Path(path)) for path in paths]
    # Resolved, because `.` has no name.
    names = [folder.resolve().name for folder in folders]
    named_runs = {}
    for name, folder, path in zip(names, folders, paths, strict=True):
        is_unique = names.count(name) == 1
        named_runs[name if is_unique else str(folder)] = path
    return named_runs


def _run_folder(path: Path) -> Path:
    return path.parent if path.suffix == ".jsonl" else path


def _plot_accuracy(ax: Axes, log: Sequence[LogEntry], name: str, style: dict[str, Any]) -> None:
    validated = [entry for entry in log if not math.isnan(entry["validation_accuracy"])]
    steps = [entry["step"] for entry in validated]
    percent = [100 * entry["validation_accuracy"] for entry in validated]
    half_width = [100 * entry["validation_half_width"] for entry in validated]
    ax.plot(steps, percent, label=f"{name}, validation (band: 95 % interval)", **style)
    low = [value - half for value, half in zip(percent, half_width, strict=True)]
    high = [value + half for value, half in zip(percent, half_width, strict=True)]
    ax.fill_between(steps, low, high, color=style["color"], alpha=0.2, linewidth=0)
    steps, accuracy = _series(log, "accuracy")
    thin = {**style, "linewidth": 0.8, "marker": "none", "alpha": 0.9}
    ax.plot(steps, [100 * value for value in accuracy], label=f"{name}, training", **thin)


def _series(log: Sequence[LogEntry], field: str) -> tuple[list[float], list[float]]:
    """Steps and values of a field, without missing ones."""
    entries = [entry for entry in log if not math.isnan(entry[field])]
    return [entry["step"] for entry in entries], [entry[field] for entry in entries]
