"""Numbers as text, the same on pages and in Markdown."""

from __future__ import annotations

from statistics import mean

from graphfew.benchmark.report.aggregation import AggregatedResult

HALF_WIDTH = "_half_width"


def format_accuracy(result: AggregatedResult) -> str:
    """Return mean and 95 % half width over tasks in percent."""
    average = result.average.result
    return f"{100 * average.mean:.2f} ± {100 * average.half_width:.2f}"


def format_seeds(result: AggregatedResult) -> str:
    """Return the number of training seeds (or of combined encoders) and their spread."""
    record = result.records[0]
    if record.seed is None:
        origins = record.result.model.get("init_encoder")
        return f"{len(origins)} encoders combined" if isinstance(origins, list) else ""
    if result.average.seed_std is None:
        return "1 seed"
    return f"{result.average.n_seeds} seeds, sd {100 * result.average.seed_std:.2f}"


def format_metrics(result: AggregatedResult) -> str:
    """Return the other measurements, averaged over seeds: "auroc 0.910 ± 0.020"."""
    values: dict[str, list[float]] = {}
    for record in result.records:
        for name, value in record.metrics.items():
            values.setdefault(name, []).append(value)
    parts: list[str] = []
    for name, numbers in values.items():
        base = name.removesuffix(HALF_WIDTH)
        # Shown with the value that it belongs to.
        if base != name and base in values:
            continue
        text = f"{name.replace('_', ' ')} {mean(numbers):.3f}"
        if name + HALF_WIDTH in values:
            text += f" ± {mean(values[name + HALF_WIDTH]):.3f}"
        parts.append(text)
    return ", ".join(parts)


def format_signed(points: float, digits: int = 1) -> str:
    """Return a difference with its sign; zero has none."""
    # The minus sign is as wide as the plus sign, so that columns align.
    text = f"{points:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
    # Rounded first: -0.04 is "0.0", not "−0.0".
    return text[1:] if float(f"{points:.{digits}f}") == 0 else text


def format_count(queries: float) -> str:
    """Return a number of queries: "75", or "37.4" if tasks differ."""
    is_whole = abs(queries - round(queries)) < 1e-9
    return f"{queries:.0f}" if is_whole else f"{queries:.1f}"


def format_range(value: object) -> str:
    """Return a task setting, which may be a range: "5", "5–20"."""
    if isinstance(value, list | tuple):
        return "–".join(format_range(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
