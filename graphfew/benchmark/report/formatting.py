"""Figures as text: one way of writing each, for pages and Markdown alike."""

from __future__ import annotations

from statistics import mean

from graphfew.benchmark.report.aggregation import Cell

HALF = "_half_width"


def accuracy(cell: Cell) -> str:
    """Mean and 95 % half width over tasks in per cent."""
    result = cell.over.result
    return f"{100 * result.mean:.2f} ± {100 * result.half_width:.2f}"


def seeds(cell: Cell) -> str:
    """Training seeds and how far their means are apart, or encoders together; nothing where nothing was trained."""
    if cell.records[0].seed is None:
        origins = cell.records[0].result.model.get("init_encoder")
        return f"{len(origins)} encoders together" if isinstance(origins, list) else ""
    if cell.over.spread is None:
        return "1 seed"
    return f"{cell.over.seeds} seeds, sd {100 * cell.over.spread:.2f}"


def measured(cell: Cell) -> str:
    """What else was measured, such as an AUROC, in the mean over training seeds; `x_half_width` stands behind `x`."""
    names = dict.fromkeys(name for record in cell.records for name in record.figures)
    means = {
        name: mean(record.figures[name] for record in cell.records if name in record.figures)
        for name in names
    }
    halves = {name: f" ± {means[name + HALF]:.3f}" for name in names if name + HALF in means}
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}{halves.get(name, '')}"
        for name, value in means.items()
        if name.removesuffix(HALF) not in halves or name in halves
    )


def signed(gap: float, digits: int = 1) -> str:
    """A difference in points with its sign, 0 without one."""
    text = f"{gap:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text[1:] if float(f"{gap:.{digits}f}") == 0 else text


def count(queries: float) -> str:
    """A number of queries: 75, or 37.4 where tasks differ."""
    return f"{queries:.0f}" if abs(queries - round(queries)) < 1e-9 else f"{queries:.1f}"
