"""The report as one page that needs nothing else: no network, no script."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from graphfew.benchmark import Fault, Figure
from graphfew.benchmark.report import plot_data, plots, ranks, training_plots
from graphfew.benchmark.report.aggregation import Benchmark, gather
from graphfew.benchmark.report.html import Markup, fold, tag
from graphfew.benchmark.report.html_table import grid
from graphfew.benchmark.report.provenance import costs, provenance
from graphfew.benchmark.report.published_tables import published
from graphfew.benchmark.report.result_tables import tables
from graphfew.benchmark.report.significance import against, matrices
from graphfew.benchmark.report.svg import embedded, framed
from graphfew.benchmark.report.titles import Title, title_of

LEGEND = (
    (
        "98.58 ± 0.20",
        "accuracy in %, mean ± half the 95 % t-interval over tasks; training seeds are averaged task by "
        "task, and sd is the standard deviation of the seeds' means",
    ),
    (
        "bold",
        "not significantly below the best of its column (paired t-tests on the same tasks, Holm's correction)",
    ),
    ("‡", "of another number of tasks, or of other tasks, than its column: not comparable"),
    (
        "published",
        "the most comparable figure, with ours minus theirs in points where the protocol is the same; ⚠ "
        "where something that moves accuracy differs, which is listed under “Published figures”",
    ),
)


@dataclasses.dataclass(frozen=True)
class Report:
    """All that a page shows.

    Shapes:
        titles: of the benchmarks, by name.
        curves, pictures: of the benchmarks that have them, by name.
        faults: of results files and of training metrics.
        extra: pictures that belong to no benchmark, with captions.
    """

    benchmarks: tuple[Benchmark, ...]
    figures: tuple[Figure, ...]
    titles: Mapping[str, Title]
    curves: Mapping[str, tuple[training_plots.Curve, ...]]
    pictures: Mapping[str, Markup]
    faults: tuple[Fault, ...]
    extra: tuple[Markup, ...] = ()


def collect(
    folder: Path,
    figures: Sequence[Figure] = (),
    specs: Path | None = None,
    extra: Sequence[Markup] = (),
) -> Report:
    """Everything in a results folder.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no results in it.
    """
    benchmarks = gather(folder)
    read = {b.name: training_plots.curves(folder / "runs" / b.name) for b in benchmarks}
    faults = [fault for b in benchmarks for fault in (*b.faults, *read[b.name][1])]
    pictures = {
        b.name: picture for b in benchmarks if (picture := _picture(folder, b.name)) is not None
    }
    return Report(
        benchmarks,
        tuple(figures),
        {b.name: title_of(b.name, specs) for b in benchmarks},
        {name: found for name, (found, _) in read.items() if found},
        pictures,
        tuple(faults),
        tuple(extra),
    )


def page(report: Report) -> str:
    """The page's HTML; the same report gives the same bytes."""
    style = (
        resources.files("graphfew.benchmark.report")
        .joinpath("style.css")
        .read_text(encoding="utf-8")
    )
    standing = ranks.standings(report.benchmarks)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", "graphfew: benchmarks"),
        tag("style", Markup(style)),
    )
    legend = tag("dl", *(tag("div", tag("dt", mark), tag("dd", told)) for mark, told in LEGEND))
    sections = [_section(report, benchmark) for benchmark in report.benchmarks]
    body = tag(
        "body",
        tag("h1", "Benchmarks"),
        _warning(report.faults),
        _contents(report, bool(standing)),
        legend,
        tag("main", *sections, _ranks(standing), _extra(report)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def anchor(name: str) -> str:
    """A benchmark's name as it can stand in an address."""
    return re.sub(r"[^\w-]", "-", f"bench-{name}")


def _contents(report: Report, ranked: bool) -> Markup:
    items = [
        tag("li", tag("a", report.titles[b.name].title, href=f"#{anchor(b.name)}"))
        for b in report.benchmarks
    ]
    if ranked:
        items.append(tag("li", tag("a", "Ranks over benchmarks", href="#ranks")))
    if report.extra:
        items.append(tag("li", tag("a", "An episode, layer by layer", href="#episode")))
    return tag("nav", tag("ul", *items), aria_label="Contents")


def _section(report: Report, benchmark: Benchmark) -> Markup:
    title = report.titles[benchmark.name]
    head = tag("h2", title.title, id=anchor(benchmark.name))
    if not benchmark.cells:
        return tag("section", head, tag("p", "No results that can be read."))
    cells = benchmark.cells
    tests = sorted({f"{cell.drawn.get('data')}/{cell.drawn.get('split')}" for cell in cells})
    return tag(
        "section",
        head,
        tag("p", title.about) if title.about else None,
        tag("p", f"Tested on {', '.join(tests)}.", class_="quiet"),
        *(grid(table) for table in tables(benchmark, report.figures)),
        _plots(benchmark),
        _curves(report, benchmark.name),
        against(cells, title.compare_with),
        matrices(cells),
        published(cells, report.figures, benchmark.name),
        costs(cells),
        report.pictures.get(benchmark.name),
        provenance(benchmark),
    )


def _plots(benchmark: Benchmark) -> Markup | None:
    kinds = (
        ("shots", plot_data.over_shots),
        ("queries", plot_data.over_queries),
        ("division", plot_data.over_imbalance),
    )
    found = [
        plots.plot(panel, f"{anchor(benchmark.name)}-{kind}-{number}")
        for kind, over in kinds
        for number, panel in enumerate(over(benchmark.cells))
        if panel.lines
    ]
    return tag("div", *found, class_="plots") if found else None


def _curves(report: Report, name: str) -> Markup | None:
    if name not in report.curves:
        return None
    return fold(
        "Training curves", training_plots.plot(report.curves[name], f"{anchor(name)}-training")
    )


def _ranks(standing: Sequence[ranks.Standing]) -> Markup | None:
    if not standing:
        return None
    drawn = [ranks.diagram(one, f"ranks-{number}") for number, one in enumerate(standing)]
    few = (
        "Few benchmarks make a wide critical difference: that two methods are not told apart here does not say that "
        "they are alike."
    )
    return tag("section", tag("h2", "Ranks over benchmarks", id="ranks"), tag("p", few), *drawn)


def _extra(report: Report) -> Markup | None:
    if not report.extra:
        return None
    return tag("section", tag("h2", "An episode, layer by layer", id="episode"), *report.extra)


def _warning(faults: Sequence[Fault]) -> Markup | None:
    if not faults:
        return None
    many = "line of the files is" if len(faults) == 1 else "lines of the files are"
    return tag(
        "div",
        tag("p", tag("strong", f"{len(faults)} {many} not in this report:")),
        tag(
            "ul",
            *(
                tag("li", f"{fault.path.name}, line {fault.line}: {fault.reason}")
                for fault in faults
            ),
        ),
        class_="warning",
        role="alert",
    )


def _picture(folder: Path, name: str) -> Markup | None:
    for suffix, kind in ((".svg", "svg+xml"), (".png", "png")):
        path = folder / f"{name}-episode{suffix}"
        if path.is_file():
            told = f"An episode of {name} as a graph, layer by layer"
            return fold(
                "An episode's graph", framed(embedded(path.read_bytes(), kind, told), f"{told}.")
            )
    return None
