"""Training curves from the run folders next to the results."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphfew.benchmark.records import UnreadableLine
from graphfew.benchmark.report import svg
from graphfew.benchmark.report.aggregation import group_by
from graphfew.runs.run_dir import PARSE_ERRORS

FIELDS = ("step", "validation_accuracy", "validation_half_width")


@dataclasses.dataclass(frozen=True)
class ValidationCurve:
    """The validations of one training: steps, accuracies and 95 % half widths in percent."""

    name: str
    seed: str
    steps: tuple[int, ...]
    accuracy: tuple[float, ...]
    half_width: tuple[float, ...]


def read_curves(
    folder: Path,
) -> tuple[tuple[ValidationCurve, ...], tuple[UnreadableLine, ...]]:
    """Return the curves of a benchmark's run folders, and the lines that cannot be read."""
    curves: list[ValidationCurve] = []
    unreadable: list[UnreadableLine] = []
    # Sorted, because the order of a folder depends on the file system.
    for path in sorted(folder.glob("*/metrics.jsonl")):
        match = re.fullmatch(r"(.*)-seed(\d+)", path.parent.name)
        name, seed = match.groups() if match else (path.parent.name, "?")
        # Damaged bytes then spoil their own line only.
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        points = [_read_point(line) for line in lines]
        for number, point in enumerate(points, 1):
            if isinstance(point, str):
                unreadable.append(UnreadableLine(path, number, point))
        readable = [point for point in points if not isinstance(point, str)]
        if len(readable) > 1:
            curves.append(ValidationCurve(name, seed, *zip(*readable, strict=True)))
    return tuple(curves), tuple(unreadable)


def _read_point(line: str) -> tuple[int, float, float] | str:
    """The step, accuracy and half width of a validation, or why the line cannot be read."""
    try:
        content = json.loads(line)
        step, mean, half_width = (float(content[field]) for field in FIELDS)
        return int(step), 100 * mean, 100 * half_width
    except PARSE_ERRORS as error:
        return f"not a line of metrics ({error})"


def render_curves(curves: Sequence[ValidationCurve], name: str) -> Markup:
    """Return small plots, one per training with a line per seed; `name` is unique on the page."""
    by_name = group_by(curves, lambda curve: curve.name)
    n_columns = min(len(by_name), 3)
    n_rows = -(-len(by_name) // n_columns)
    with svg.report_style():
        figure = Figure(figsize=(3.3 * n_columns, 2.1 * n_rows), layout="constrained")
        axes = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
        for ax, (title, group) in zip(axes, by_name.items(), strict=False):
            _draw_curves(ax, title, group)
        for ax in axes[len(by_name) :]:
            ax.axis("off")
        picture = svg.inline_svg(figure, name, _describe_curves(curves))
    return svg.captioned(
        picture,
        "Validation accuracy in % against training steps, with 95 % intervals over validation "
        "tasks; a ring marks the selected checkpoint. Scales differ.",
    )


def _draw_curves(ax: Axes, title: str, curves: Sequence[ValidationCurve]) -> None:
    for number, curve in enumerate(curves):
        color = svg.SERIES[number % len(svg.SERIES)]
        accuracy, half_width = np.array(curve.accuracy), np.array(curve.half_width)
        ax.plot(
            curve.steps,
            accuracy,
            color=color,
            linestyle=svg.DASHES[number % len(svg.DASHES)],
            marker=svg.MARKERS[number % len(svg.MARKERS)],
            markersize=2.5,
            linewidth=1.2,
            label=f"seed {curve.seed}",
        )
        low, high = accuracy - half_width, accuracy + half_width
        ax.fill_between(curve.steps, low, high, color=color, alpha=0.15, linewidth=0)
        # The first maximum, as in training: a later equal value does not replace a checkpoint.
        best = int(accuracy.argmax())
        ax.plot(curve.steps[best], accuracy[best], "o", markersize=8, mfc="none", mec=svg.INK)
    ax.set_title(svg.shorten(title), loc="left")
    ax.locator_params(axis="both", nbins=5)
    if len(curves) > 1:
        ax.legend(fontsize=8, frameon=False, loc="lower right")


def _describe_curves(curves: Sequence[ValidationCurve]) -> str:
    parts = [
        f"{curve.name}, seed {curve.seed}: from {curve.accuracy[0]:.1f} at step "
        f"{curve.steps[0]} to a maximum of {max(curve.accuracy):.1f}, "
        f"{curve.accuracy[-1]:.1f} at step {curve.steps[-1]}"
        for curve in curves
    ]
    return f"Validation accuracy in % against training steps. {'; '.join(parts)}."
