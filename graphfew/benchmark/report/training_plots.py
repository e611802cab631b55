"""Training curves from the run folders next to the results."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphfew.benchmark.records import UnreadableLine
from graphfew.benchmark.report.svg import (
    DASHES,
    INK,
    MARKERS,
    SERIES,
    captioned,
    inline_svg,
    report_style,
    shorten,
)
from graphfew.runs.run_dir import PARSE_ERRORS


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
        curve, lines = _read_curve(path)
        unreadable += lines
        if len(curve.steps) > 1:
            curves.append(curve)
    return tuple(curves), tuple(unreadable)


def render_curves(curves: Sequence[ValidationCurve], name: str) -> Markup:
    """Return small plots, one per training with a line per seed; `name` is unique on the page."""
    by_name: dict[str, list[ValidationCurve]] = {}
    for curve in curves:
        by_name.setdefault(curve.name, []).append(curve)
    n_columns = min(len(by_name), 3)
    n_rows = -(-len(by_name) // n_columns)
    with report_style():
        figure = Figure(figsize=(3.3 * n_columns, 2.1 * n_rows), layout="constrained")
        axes = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
        for ax, (title, group) in zip(axes, by_name.items(), strict=False):
            _draw_curves(ax, title, group)
        for ax in axes[len(by_name) :]:
            ax.axis("off")
        picture = inline_svg(figure, name, _describe_curves(curves))
    return captioned(
        picture,
        "Validation accuracy in % against training steps, with 95 % intervals over validation "
        "tasks; a ring marks the selected checkpoint. Scales differ.",
    )


def _draw_curves(ax: Axes, title: str, curves: Sequence[ValidationCurve]) -> None:
    for number, curve in enumerate(curves):
        color = SERIES[number % len(SERIES)]
        ax.plot(
            curve.steps,
            curve.accuracy,
            color=color,
            linestyle=DASHES[number % len(DASHES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=2.5,
            linewidth=1.2,
            label=f"seed {curve.seed}",
        )
        interval = list(zip(curve.accuracy, curve.half_width, strict=True))
        low, high = [a - h for a, h in interval], [a + h for a, h in interval]
        ax.fill_between(curve.steps, low, high, color=color, alpha=0.15, linewidth=0)
        # The first maximum, as in training: a later equal value does not replace a checkpoint.
        best = curve.accuracy.index(max(curve.accuracy))
        ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": INK}
        ax.plot(curve.steps[best], curve.accuracy[best], "o", markersize=8, **ring)
    ax.set_title(shorten(title), loc="left")
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


def _read_curve(path: Path) -> tuple[ValidationCurve, list[UnreadableLine]]:
    folder = path.parent.name
    match = re.fullmatch(r"(.*)-seed(\d+)", folder)
    name, seed = (match[1], match[2]) if match else (folder, "?")
    steps: list[int] = []
    accuracy: list[float] = []
    half_width: list[float] = []
    unreadable: list[UnreadableLine] = []
    # Damaged bytes then spoil their own line only.
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            content = json.loads(line)
            step = int(content["step"])
            mean = 100 * float(content["validation_accuracy"])
            half = 100 * float(content["validation_half_width"])
        except PARSE_ERRORS as error:
            reason = f"not a line of metrics ({error})"
            unreadable.append(UnreadableLine(path, number, reason))
            continue
        steps.append(step)
        accuracy.append(mean)
        half_width.append(half)
    curve = ValidationCurve(name, seed, tuple(steps), tuple(accuracy), tuple(half_width))
    return curve, unreadable
