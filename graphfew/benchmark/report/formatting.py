"""Numbers as text, the same on pages and in Markdown, and the environment of the templates."""

from __future__ import annotations

import functools
import itertools
import re
from statistics import mean

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from graphfew.benchmark.protocol import query_name, query_phrase
from graphfew.benchmark.report.aggregation import AggregatedResult

HALF_WIDTH = "_half_width"
# Names of metrics that are not written as in the records.
METRIC_LABELS = {"auroc": "AUROC"}


@functools.cache
def make_environment() -> Environment:
    """Return the environment of the templates, with the functions of this module as filters."""
    environment = Environment(
        loader=PackageLoader("graphfew.benchmark.report", "templates"),
        autoescape=select_autoescape(["html"]),
        # A misspelled variable is an error instead of an empty cell.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        accuracy=format_accuracy,
        seeds=format_seeds,
        metrics=format_metrics,
        signed=format_signed,
        inline_code=format_inline_code,
        plain=escape_markdown,
        query=lambda query: query_phrase(query_name(query)),
    )
    return environment


def format_inline_code(text: str) -> Markup:
    """Return text as HTML, with the parts between backticks as code."""
    # Escaped first, so that the tags added here are the only ones.
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def escape_markdown(text: str) -> str:
    """Return text without special characters of Markdown tables and tags."""
    # Names of rows come from specs and may contain any character.
    return re.sub(r"([\\|<>*_`])", r"\\\1", " ".join(text.split()))


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
    """Return the other measurements, averaged over seeds: "AUROC 0.910 ± 0.020"."""
    metrics = [record.metrics for record in result.records]
    names = dict.fromkeys(itertools.chain(*metrics))
    averages = {name: mean(m[name] for m in metrics if name in m) for name in names}
    parts: list[str] = []
    for name, value in averages.items():
        # A half width is shown with the value that it belongs to.
        if name.removesuffix(HALF_WIDTH) in averages and name.endswith(HALF_WIDTH):
            continue
        half_width = averages.get(name + HALF_WIDTH)
        label = METRIC_LABELS.get(name, name.replace("_", " "))
        text = f"{label} {value:.3f}"
        parts.append(text if half_width is None else f"{text} ± {half_width:.3f}")
    return ", ".join(parts)


def format_signed(points: float, digits: int = 1) -> str:
    """Return a difference with its sign; zero has none."""
    # The minus sign is as wide as the plus sign, so that columns align.
    text = f"{points:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
    # Rounded first: -0.04 is "0.0", not "−0.0".
    return text[1:] if float(f"{points:.{digits}f}") == 0 else text


def format_count(queries: float) -> str:
    """Return a number of queries: "75", or "37.4" if tasks differ."""
    return f"{queries:.0f}" if abs(queries - round(queries)) < 1e-9 else f"{queries:.1f}"


def format_range(value: object) -> str:
    """Return a task setting, which may be a range: "5", "5–20"."""
    if isinstance(value, list | tuple):
        return "–".join(format_range(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
