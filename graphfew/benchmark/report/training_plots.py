"""Training curves, from the run folders beside the results."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphfew.benchmark import Fault
from graphfew.benchmark.report.html import Markup
from graphfew.benchmark.report.svg import (
    DASHES,
    INK,
    MARKERS,
    SERIES,
    framed,
    inline,
    short,
    styled,
)
from graphfew.runs.run_dir import PARSE_ERRORS


@dataclasses.dataclass(frozen=True)
class Curve:
    """The validations of one training: steps, accuracies and 95 % half widths in per cent."""

    name: str
    seed: str
    steps: tuple[int, ...]
    accuracy: tuple[float, ...]
    half: tuple[float, ...]


def curves(folder: Path) -> tuple[tuple[Curve, ...], tuple[Fault, ...]]:
    """The curves of a benchmark's run folders, and lines that could not be read."""
    found, faults = [], []
    for path in sorted(folder.glob("*/metrics.jsonl")):
        curve, own = _curve(path)
        faults += own
        if len(curve.steps) > 1:
            found.append(curve)
    return tuple(found), tuple(faults)


def plot(found: Sequence[Curve], name: str) -> Markup:
    """Small plots, one for each training, its seeds in it."""
    by_name: dict[str, list[Curve]] = {}
    for curve in found:
        by_name.setdefault(curve.name, []).append(curve)
    wide = min(len(by_name), 3)
    rows = -(-len(by_name) // wide)
    with styled():
        figure = Figure(figsize=(3.3 * wide, 2.1 * rows), layout="constrained")
        axes = list(figure.subplots(rows, wide, squeeze=False).flat)
        for ax, (title, own) in zip(axes, by_name.items(), strict=False):
            _draw(ax, title, own)
        for ax in axes[len(by_name) :]:
            ax.axis("off")
        picture = inline(figure, name, _describe(found))
    return framed(
        picture,
        "Validation accuracy in % against training steps, with 95 % intervals over validation "
        "tasks; a ring marks the checkpoint that was kept. Scales differ.",
    )


def _draw(ax: Axes, title: str, own: Sequence[Curve]) -> None:
    for number, curve in enumerate(own):
        color, i = SERIES[number % len(SERIES)], number % len(DASHES)
        ax.plot(
            curve.steps,
            curve.accuracy,
            color=color,
            linestyle=DASHES[i],
            marker=MARKERS[i],
            markersize=2.5,
            linewidth=1.2,
            label=f"seed {curve.seed}",
        )
        low, high = zip(
            *((a - h, a + h) for a, h in zip(curve.accuracy, curve.half, strict=True)), strict=True
        )
        ax.fill_between(curve.steps, low, high, color=color, alpha=0.15, linewidth=0)
        best = max(range(len(curve.steps)), key=lambda i: curve.accuracy[i])
        ax.plot(
            curve.steps[best],
            curve.accuracy[best],
            "o",
            markersize=8,
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=1,
        )
    ax.set_title(short(title), loc="left")
    ax.locator_params(axis="both", nbins=5)
    if len(own) > 1:
        ax.legend(fontsize=8, frameon=False, loc="lower right")


def _describe(found: Sequence[Curve]) -> str:
    parts = [
        f"{curve.name}, seed {curve.seed}: from {curve.accuracy[0]:.1f} at step {curve.steps[0]} to at best "
        f"{max(curve.accuracy):.1f}, {curve.accuracy[-1]:.1f} at step {curve.steps[-1]}"
        for curve in found
    ]
    return f"Validation accuracy in % against training steps. {'; '.join(parts)}."


def _curve(path: Path) -> tuple[Curve, list[Fault]]:
    named = re.fullmatch(r"(.*)-seed(\d+)", path.parent.name)
    name, seed = (named[1], named[2]) if named else (path.parent.name, "?")
    points: list[tuple[int, float, float]] = []
    faults = []
    for number, line in enumerate(
        path.read_text(encoding="utf-8", errors="replace").splitlines(), 1
    ):
        point = _point(line)
        if isinstance(point, str):
            faults.append(Fault(path, number, point))
        else:
            points.append(point)
    steps, accuracy, half = zip(*points, strict=True) if points else ((), (), ())
    return Curve(name, seed, tuple(steps), tuple(accuracy), tuple(half)), faults


def _point(line: str) -> tuple[int, float, float] | str:
    """Step, accuracy and half width of a line, or why it cannot be read."""
    try:
        content = json.loads(line)
        return (
            int(content["step"]),
            100 * float(content["validation_accuracy"]),
            100 * float(content["validation_half_width"]),
        )
    except PARSE_ERRORS as error:
        return f"no line of metrics ({error})"
