"""The report as one HTML page that needs no network and no script."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from graphfew.benchmark.published import PublishedResult
from graphfew.benchmark.records import UnreadableLine
from graphfew.benchmark.report.aggregation import BenchmarkResults, aggregate_results
from graphfew.benchmark.report.differences import difference_matrices, differences_to_reference
from graphfew.benchmark.report.formatting import make_environment
from graphfew.benchmark.report.line_plots import (
    accuracy_over_balance,
    accuracy_over_queries,
    accuracy_over_shots,
    render_line_plot,
)
from graphfew.benchmark.report.provenance import make_cost_table, make_provenance
from graphfew.benchmark.report.published_tables import make_published_tables
from graphfew.benchmark.report.ranks import rank_families, render_rank_diagram
from graphfew.benchmark.report.result_tables import make_tables
from graphfew.benchmark.report.svg import captioned, embedded_image
from graphfew.benchmark.report.training_plots import ValidationCurve, read_curves, render_curves
from graphfew.benchmark.toml_file import parse_toml

PLOTS = {
    "shots": accuracy_over_shots,
    "queries": accuracy_over_queries,
    "balance": accuracy_over_balance,
}


@dataclasses.dataclass(frozen=True)
class BenchmarkReport:
    """The content of a page; specs (unvalidated), curves and pictures are by benchmark."""

    benchmarks: tuple[BenchmarkResults, ...]
    published: tuple[PublishedResult, ...]
    specs: Mapping[str, Mapping[str, Any]]
    curves: Mapping[str, tuple[ValidationCurve, ...]]
    pictures: Mapping[str, Markup | None]
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
        MissingFileError: the folder does not exist.
        InvalidInputError: it contains no results.
    """
    benchmarks = aggregate_results(folder)
    curves: dict[str, tuple[ValidationCurve, ...]] = {}
    unreadable: list[UnreadableLine] = []
    for benchmark in benchmarks:
        name = benchmark.name
        curves[name], lines = read_curves(folder / "runs" / name)
        unreadable += [*benchmark.unreadable, *lines]
    names = [benchmark.name for benchmark in benchmarks]
    return BenchmarkReport(
        benchmarks,
        tuple(published),
        {name: _read_spec(specs / f"{name}.toml") if specs else {} for name in names},
        curves,
        {name: _read_picture(folder, name) for name in names},
        tuple(unreadable),
        tuple(episodes),
    )


def render_page(report: BenchmarkReport) -> str:
    """Return the page's HTML; the same report gives the same text."""
    environment = make_environment()
    assert environment.loader is not None
    # Inline, so that the page is one file that can be sent and archived.
    style, _, _ = environment.loader.get_source(environment, "style.css")
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
    name, results = benchmark.name, benchmark.results
    spec, curves = report.specs[name], report.curves[name]
    # Names of benchmarks come from file names; anchors also prefix the ids of figures.
    anchor = re.sub(r"[^\w-]", "-", f"bench-{name}")
    title, about = str(spec.get("title", name)), str(spec.get("about", ""))
    section = {"anchor": anchor, "title": title, "about": about, "benchmark": benchmark}
    if not results:
        return section
    plots: list[Markup] = []
    for kind, make_plots in PLOTS.items():
        for number, plot in enumerate(make_plots(results)):
            if plot.lines:
                plots.append(render_line_plot(plot, f"{anchor}-{kind}-{number}"))
    splits = {f"{r.task_settings.get('data')}/{r.task_settings.get('split')}" for r in results}
    return {
        **section,
        "splits": sorted(splits),
        "tables": make_tables(benchmark, report.published),
        "plots": plots,
        "curves": render_curves(curves, f"{anchor}-training") if curves else None,
        "reference": differences_to_reference(results, spec.get("compare_with")),
        "matrices": difference_matrices(results),
        "published": make_published_tables(results, report.published, name),
        "costs": make_cost_table(results),
        "picture": report.pictures[name],
        "provenance": make_provenance(benchmark),
    }


def _read_spec(path: Path) -> Mapping[str, Any]:
    try:
        # Not validated: results stay readable when their spec has become invalid or is absent.
        return parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _read_picture(folder: Path, name: str) -> Markup | None:
    for suffix, kind in ((".svg", "svg+xml"), (".png", "png")):
        path = folder / f"{name}-episode{suffix}"
        if path.is_file():
            description = f"An episode of {name} as a graph, layer by layer"
            picture = embedded_image(path.read_bytes(), kind, description)
            return captioned(picture, f"{description}.")
    return None
