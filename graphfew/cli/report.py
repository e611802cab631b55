"""`graphfew report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphfew._utils.atomic_io import write_text
from graphfew.cli.error_handling import one_line_errors
from graphfew.runs import load_split, resolve_checkpoint

if TYPE_CHECKING:
    from graphfew.benchmark.report import Markup


def report(
    results: Annotated[
        Path, typer.Argument(help="The folder that `graphfew bench` wrote its .jsonl files into.")
    ],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    published: Annotated[
        Path | None,
        typer.Option(
            help="A file of published figures.",
            show_default="published.toml beside the folder, where it is",
        ),
    ] = None,
    specs: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the specs, for titles.",
            show_default="specs beside the folder, where it is",
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Write each benchmark's tables into this folder, as <name>.md."),
    ] = None,
    readme: Annotated[
        Path | None,
        typer.Option(
            help="Fill what stands between <!-- bench:NAME --> and "
            "<!-- /bench:NAME --> in this file."
        ),
    ] = None,
    episode: Annotated[
        Path | None,
        typer.Option(help="A checkpoint or run folder: draw an episode in it, layer by layer."),
    ] = None,
    data: Annotated[str | None, typer.Option(help="The episode's data set.")] = None,
    split: Annotated[str, typer.Option(help="The episode's split.")] = "test",
    root: Annotated[str | None, typer.Option(help="The folder of that data's archives.")] = None,
    seed: Annotated[int, typer.Option(help="Of the episode.")] = 0,
) -> None:
    """Results of benchmarks as one page: tables, what is significant, published figures, plots, costs, origins.

    Lines that cannot be read are told on the page and on standard error; the rest is shown.
    """
    from graphfew.benchmark import read_figures
    from graphfew.benchmark.report import collect, fill, page, tables
    from graphfew.benchmark.report import markdown as in_markdown

    with one_line_errors():
        _check(out, markdown, readme, episode, data)
        figures = _beside(results, published, "published.toml")
        names = _beside(results, specs, "specs")
        extra = (
            [_episode(episode, data, split, root, seed)]
            if episode is not None and data is not None
            else []
        )
        content = collect(results, read_figures(figures) if figures else (), names, extra)
        texts = {
            b.name: in_markdown(tables(b, content.figures)) for b in content.benchmarks if b.cells
        }
        filled = fill(readme.read_text(encoding="utf-8"), texts) if readme is not None else ""
        write_text(out, page(content))
        if markdown is not None:
            for name, text in texts.items():
                write_text(markdown / f"{name}.md", text)
        if readme is not None:
            write_text(readme, filled)
    for fault in content.faults:
        typer.echo(f"warning: {fault}", err=True)
    cells = sum(len(b.cells) for b in content.benchmarks)
    typer.echo(f"{out}: {len(content.benchmarks)} benchmarks, {cells} figures")


def _check(
    out: Path, markdown: Path | None, readme: Path | None, episode: Path | None, data: str | None
) -> None:
    """Raises before any work where a path cannot be what it is given as."""
    if out.is_dir():
        raise ValueError(
            f"{out} is a folder; give a file for the page, such as {out / 'report.html'}"
        )
    if markdown is not None and markdown.is_file():
        raise ValueError(f"{markdown} is a file; give a folder for the Markdown tables")
    if readme is not None and not readme.is_file():
        raise FileNotFoundError(
            f"{readme} is not there; give the file whose tables are to be filled"
        )
    if (episode is None) != (data is None):
        raise ValueError(
            "an episode needs both --episode, a checkpoint, and --data, what the task is drawn from"
        )


def _beside(results: Path, given: Path | None, name: str) -> Path | None:
    """The path that was given, else the one beside the results where it is there."""
    if given is not None:
        if not given.exists():
            raise FileNotFoundError(f"{given} is not there; leave the option out to go without")
        return given
    usual = results.resolve().parent / name
    return usual if usual.exists() else None


def _episode(path: Path, data: str, split: str, root: str | None, seed: int) -> Markup:
    from graphfew.benchmark.report import layers
    from graphfew.serialization import checkpoint

    model = checkpoint.load(resolve_checkpoint(path))
    name = str(model.spec.name) if model.spec is not None else "the checkpoint"
    return layers(model, load_split(data, split, root), seed=seed, name=name)
