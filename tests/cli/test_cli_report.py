"""`graphfew report`: what it writes, what it warns of, and that every refusal is one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_records import made, write_records
from typer.testing import CliRunner

import graphfew as gf
from graphfew.benchmark.report import aggregate_results, make_tables, render_markdown
from graphfew.cli import app

FIGURE = """[[result]]
benchmark = "omniglot"
method = "prototypical"
label = "Prototypes"
way = 5
shot = 1
value = 78.8
backbone = "conv4-64"
mode = "inductive"
batch_norm = "running"
query = "15"
selected_on = "validation"
source = "Snell 2017"
tag = "P"
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_records(
        tmp_path / "results", made(), made("EGNN", 0.85, noise=1), made(tasks={"shot": 5})
    )


@pytest.fixture
def call(unchecked: None, tmp_path: Path) -> Callable[..., Any]:
    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["report", *map(str, arguments)])

    return run


def test_page_and_tables_are_written(
    results: Path, tmp_path: Path, call: Callable[..., Any]
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# x\n<!-- bench:omniglot -->\n<!-- /bench:omniglot -->\n")
    result = call(
        results,
        "--out",
        tmp_path / "deep" / "r.html",
        "--markdown",
        tmp_path / "md",
        "--readme",
        readme,
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert "1 benchmarks, 3 results" in result.stdout
    assert (tmp_path / "deep" / "r.html").read_text().startswith("<!doctype html>")
    content = render_markdown(make_tables(aggregate_results(results)[0]))
    assert (tmp_path / "md" / "omniglot.md").read_text() == content
    assert (
        readme.read_text() == f"# x\n<!-- bench:omniglot -->\n{content}<!-- /bench:omniglot -->\n"
    )


def test_corrupt_lines_are_warned_of_and_the_rest_is_shown(
    results: Path, tmp_path: Path, call: Callable[..., Any]
) -> None:
    with (results / "omniglot.jsonl").open("a") as file:
        file.write('{"format": 1, "ro\n')
    result = call(results, "--out", tmp_path / "r.html")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: ")
    assert "omniglot.jsonl, line 4:" in result.stderr
    page = (tmp_path / "r.html").read_text()
    assert "omniglot.jsonl, line 4" in page
    assert "EGNN" in page


def test_published_figures_are_found_beside_the_folder_or_where_told(
    results: Path, tmp_path: Path, call: Callable[..., Any]
) -> None:
    (tmp_path / "published.toml").write_text(FIGURE)
    (tmp_path / "other.toml").write_text(FIGURE.replace("78.8", "66.6"))
    assert call(results, "--out", tmp_path / "r.html").exit_code == 0
    assert "published 78.8" in (tmp_path / "r.html").read_text()
    assert (
        call(
            results, "--out", tmp_path / "r.html", "--published", tmp_path / "other.toml"
        ).exit_code
        == 0
    )
    assert "published 66.6" in (tmp_path / "r.html").read_text()


def test_an_episode_of_a_checkpoint_is_drawn(
    results: Path, tmp_path: Path, call: Callable[..., Any]
) -> None:
    encoder = gf.backbones.conv4(width=4, size=gf.data.digits().x.shape[-1])
    gf.save(gf.create("egnn", encoder=encoder, width=8, layers=1), tmp_path / "egnn")
    result = call(
        results,
        "--out",
        tmp_path / "r.html",
        "--episode",
        tmp_path / "egnn.safetensors",
        "--data",
        "digits",
        "--split",
        "all",
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert "layer by layer" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{results}/none"], "is not a folder"),
        (["{tmp}"], "contains no results"),
        (["{results}", "--out", "{tmp}"], "is a folder"),
        (["{results}", "--published", "{tmp}/none"], "does not exist"),
        (["{results}", "--readme", "{tmp}/none.md"], "does not exist"),
        (["{results}", "--episode", "{tmp}/x"], "needs both"),
        (["{results}", "--data", "glyphs"], "needs both"),
        (["{results}", "--markdown", "{results}/omniglot.jsonl"], "is a file"),
        (["{results}", "--readme", "{results}/omniglot.jsonl"], "has none of"),
        (["{results}", "--published", "{results}/omniglot.jsonl"], "not valid TOML"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(
    results: Path, tmp_path: Path, call: Callable[..., Any], arguments: list[str], reason: str
) -> None:
    given = [part.format(results=results, tmp=tmp_path) for part in arguments]
    out = [] if "--out" in given else ["--out", tmp_path / "r.html"]
    result = call(*given, *out)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert reason in result.stderr
    assert not (tmp_path / "r.html").exists()
