"""`graphfew report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphfew._utils.atomic_io import check_writable, write_text
from graphfew.cli.bench import require_bench_extra
from graphfew.cli.error_handling import one_line_errors
from graphfew.errors import InvalidInputError, MissingFileError
from graphfew.runs import load_split, resolve_checkpoint

if TYPE_CHECKING:
    from markupsafe import Markup


def report(
    results: Annotated[Path, typer.Argument(help="Folder of results, --out of `graphfew bench`.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    published: Annotated[
        Path | None,
        typer.Option(
            help="A file of published results.",
            show_default="published.toml next to the folder, if it exists",
        ),
    ] = None,
    specs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the specs, for titles.",
            show_default="specs next to the folder, if it exists",
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Write each benchmark's tables into this folder, as <name>.md."),
    ] = None,
    readme: Annotated[
        Path | None,
        typer.Option(
            help="Replace the text between <!-- bench:NAME --> and <!-- /bench:NAME --> in this "
            "file."
        ),
    ] = None,
    episode: Annotated[
        Path | None,
        typer.Option(help="A checkpoint or run folder: draw an episode in it, layer by layer."),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Data set of the episode.")] = None,
    split: Annotated[str, typer.Option(help="Split of the episode.")] = "test",
    root: Annotated[str | None, typer.Option(help="Folder of that data set.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the episode.")] = 0,
) -> None:
    """Show benchmark results as one page: tables, significance, published results, plots, costs.

    Lines that cannot be read are reported on the page and on standard error.
    """
    with one_line_errors():
        require_bench_extra()
        from graphfew.benchmark import read_published_results
        from graphfew.benchmark.report import (
            collect_report,
            fill_markers,
            make_tables,
            render_markdown,
            render_page,
        )

        _check_paths(out, markdown, readme, episode, data)
        published_path = _default_path(results, published, "published.toml")
        known = read_published_results(published_path) if published_path else ()
        spec_folder = _default_path(results, specs, "specs")
        episodes = []
        if episode is not None and data is not None:
            episodes.append(_draw_episode(episode, data, split, root, seed))
        content = collect_report(results, known, spec_folder, episodes)
        texts: dict[str, str] = {}
        for benchmark in content.benchmarks:
            if benchmark.results:
                tables = make_tables(benchmark, content.published)
                texts[benchmark.name] = render_markdown(tables)
        # Everything that can fail comes before the first file is written.
        filled = ""
        if readme is not None:
            filled = fill_markers(readme.read_text(encoding="utf-8"), texts)
        write_text(out, render_page(content))
        if markdown is not None:
            for name, text in texts.items():
                write_text(markdown / f"{name}.md", text)
        if readme is not None:
            write_text(readme, filled)
    for line in content.unreadable:
        typer.echo(f"warning: {line}", err=True)
    n_results = sum(len(benchmark.results) for benchmark in content.benchmarks)
    typer.echo(f"{out}: {len(content.benchmarks)} benchmarks, {n_results} results")


def _check_paths(
    out: Path, markdown: Path | None, readme: Path | None, episode: Path | None, data: str | None
) -> None:
    """Raise an error for a path of the wrong kind."""
    if out.is_dir():
        raise InvalidInputError(f"{out} is a folder; give a file, such as {out / 'report.html'}")
    check_writable(out)
    if markdown is not None and markdown.is_file():
        raise InvalidInputError(f"{markdown} is a file; give a folder for the Markdown tables")
    if readme is not None and not readme.is_file():
        raise MissingFileError(f"{readme} does not exist; give the file with the markers")
    if (episode is None) != (data is None):
        raise InvalidInputError(
            "an episode needs both --episode, a checkpoint, and --data, the data set of the task"
        )


def _default_path(results: Path, given: Path | None, name: str) -> Path | None:
    """The given path, else the one next to the results if it exists."""
    if given is None:
        default = results.resolve().parent / name
        return default if default.exists() else None
    if not given.exists():
        raise MissingFileError(f"{given} does not exist; omit the option to go without")
    return given


def _draw_episode(path: Path, data: str, split: str, root: str | None, seed: int) -> Markup:
    from graphfew.benchmark.report import plot_episode_layers
    from graphfew.serialization import checkpoint

    model = checkpoint.load(resolve_checkpoint(path))
    name = str(model.spec.name) if model.spec is not None else "the checkpoint"
    return plot_episode_layers(model, load_split(data, split, root), seed=seed, name=name)
