"""The report as one HTML page that needs no network and no script."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from graphfew.benchmark.published import PublishedResult
from graphfew.benchmark.records import UnreadableLine
from graphfew.benchmark.report import formatting
from graphfew.benchmark.report.aggregation import BenchmarkResults, aggregate_results
from graphfew.benchmark.report.plot_data import (
    accuracy_over_balance,
    accuracy_over_queries,
    accuracy_over_shots,
)
from graphfew.benchmark.report.plots import render_line_plot
from graphfew.benchmark.report.provenance import make_cost_table, make_provenance
from graphfew.benchmark.report.published_tables import make_published_tables
from graphfew.benchmark.report.ranks import rank_families, render_rank_diagram
from graphfew.benchmark.report.result_tables import make_tables
from graphfew.benchmark.report.significance import difference_matrices, differences_to_reference
from graphfew.benchmark.report.svg import captioned, embedded_image
from graphfew.benchmark.report.training_plots import ValidationCurve, read_curves, render_curves
from graphfew.benchmark.toml_file import parse_toml

PLOTS = (
    ("shots", accuracy_over_shots),
    ("queries", accuracy_over_queries),
    ("balance", accuracy_over_balance),
)


@dataclasses.dataclass(frozen=True)
class BenchmarkTitle:
    """Title and description of a benchmark, and the row that others are compared with."""

    title: str
    about: str = ""
    compare_with: str | None = None


@dataclasses.dataclass(frozen=True)
class BenchmarkReport:
    """The content of a page.

    Attributes:
        benchmarks: results by file.
        published: published results.
        titles: of the benchmarks, by name.
        curves, pictures: of the benchmarks that have them, by name.
        unreadable: lines of results files and of training metrics.
        episodes: pictures of episodes, with captions.
    """

    benchmarks: tuple[BenchmarkResults, ...]
    published: tuple[PublishedResult, ...]
    titles: Mapping[str, BenchmarkTitle]
    curves: Mapping[str, tuple[ValidationCurve, ...]]
    pictures: Mapping[str, Markup]
    unreadable: tuple[UnreadableLine, ...]
    episodes: tuple[Markup, ...] = ()


def collect_report(
    folder: Path,
    published: Sequence[PublishedResult] = (),
    specs: Path | None = None,
    episodes: Sequence[Markup] = (),
) -> BenchmarkReport:
    """Collect everything in a results folder.

    Args:
        folder: of results files, with the training runs below it.
        published: published results.
        specs: folder of the specs, for titles.
        episodes: pictures from `plot_episode_layers`.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: it contains no results.
    """
    benchmarks = aggregate_results(folder)
    unreadable: list[UnreadableLine] = []
    curves: dict[str, tuple[ValidationCurve, ...]] = {}
    pictures: dict[str, Markup] = {}
    titles: dict[str, BenchmarkTitle] = {}
    for benchmark in benchmarks:
        name = benchmark.name
        titles[name] = _read_title(name, specs)
        found, lines = read_curves(folder / "runs" / name)
        unreadable += [*benchmark.unreadable, *lines]
        if found:
            curves[name] = found
        picture = _read_picture(folder, name)
        if picture is not None:
            pictures[name] = picture
    return BenchmarkReport(
        benchmarks,
        tuple(published),
        titles,
        curves,
        pictures,
        tuple(unreadable),
        tuple(episodes),
    )


def render_page(report: BenchmarkReport) -> str:
    """Return the page's HTML; the same report gives the same text."""
    loader = PackageLoader("graphfew.benchmark.report", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        # A misspelled variable is an error instead of an empty cell.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        accuracy=formatting.format_accuracy,
        seeds=formatting.format_seeds,
        metrics=formatting.format_metrics,
        signed=formatting.format_signed,
    )
    # Inline, so that the page is one file that can be sent and archived.
    style, _, _ = loader.get_source(environment, "style.css")
    # Ranks compare benchmarks, so they come before the sections of each one.
    rankings = rank_families(report.benchmarks)
    diagrams = [render_rank_diagram(family, f"ranks-{i}") for i, family in enumerate(rankings)]
    return environment.get_template("page.html").render(
        style=Markup(style),
        report=report,
        sections=[_section(report, benchmark) for benchmark in report.benchmarks],
        diagrams=diagrams,
    )


def _section(report: BenchmarkReport, benchmark: BenchmarkResults) -> dict[str, Any]:
    """The variables of a benchmark's part of the template."""
    name, results, title = benchmark.name, benchmark.results, report.titles[benchmark.name]
    # Names of benchmarks come from file names; anchors also prefix the ids of figures.
    anchor = re.sub(r"[^\w-]", "-", f"bench-{name}")
    section: dict[str, Any] = {"anchor": anchor, "title": title, "benchmark": benchmark}
    if not results:
        return section
    plots: list[Markup] = []
    for kind, make_plots in PLOTS:
        for number, plot in enumerate(make_plots(results)):
            if plot.lines:
                plots.append(render_line_plot(plot, f"{anchor}-{kind}-{number}"))
    curves = report.curves.get(name)
    splits = {f"{r.task_settings.get('data')}/{r.task_settings.get('split')}" for r in results}
    return {
        **section,
        "splits": sorted(splits),
        "tables": make_tables(benchmark, report.published),
        "plots": plots,
        "curves": render_curves(curves, f"{anchor}-training") if curves else None,
        "reference": differences_to_reference(results, title.compare_with),
        "matrices": difference_matrices(results),
        "published": make_published_tables(results, report.published, name),
        "costs": make_cost_table(results),
        "picture": report.pictures.get(name),
        "provenance": make_provenance(benchmark),
    }


def _read_title(name: str, specs: Path | None) -> BenchmarkTitle:
    """The title in `<specs>/<name>.toml`, or the name if that file cannot be read."""
    path = specs / f"{name}.toml" if specs is not None else None
    if path is None or not path.is_file():
        return BenchmarkTitle(name)
    try:
        # Not validated: results stay readable when their spec has become invalid.
        content = parse_toml(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return BenchmarkTitle(name)
    row = content.get("compare_with")
    return BenchmarkTitle(
        str(content.get("title", name)),
        str(content.get("about", "")),
        None if row is None else str(row),
    )


def _read_picture(folder: Path, name: str) -> Markup | None:
    for suffix, kind in ((".svg", "svg+xml"), (".png", "png")):
        path = folder / f"{name}-episode{suffix}"
        if path.is_file():
            description = f"An episode of {name} as a graph, layer by layer"
            picture = embedded_image(path.read_bytes(), kind, description)
            return captioned(picture, f"{description}.")
    return None
