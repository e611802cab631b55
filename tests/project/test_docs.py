"""Pages of the documentation: code runs, commands parse, and numbers agree with the records."""

import os
import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from matplotlib import pyplot
from typer.testing import CliRunner

import graphfew as gf
from docs.generate import (
    architecture,
    choices,
    docstring,
    encoders,
    methods,
    names,
    pitfalls,
    records,
    tables,
)
from docs.generate.sections import convert, split_shared_entries
from graphfew.benchmark import list_experiments, load_spec
from graphfew.cli import app
from graphfew.methods import registry

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
CHEAP = ("graphfew methods", "graphfew data")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The arguments of the `graphfew` commands in a text's bash blocks, including `torchrun` ones."""
    lines = [
        shlex.split(line, comments=True)
        for block in blocks(text, "bash")
        for line in block.splitlines()
    ]
    return [
        line[line.index("graphfew") + 1 :]
        for line in lines
        if "graphfew" in line and "install" not in line
    ]


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Iterator[None]:
    """An empty working directory, no network, and a copy of the registry."""

    def refuse(own: socket.socket, *args: object) -> None:
        # Connecting a datagram socket sends nothing; Dask reads the address of the machine from it.
        if own.type == socket.SOCK_DGRAM:
            return
        raise OSError("code in the documentation must not use the network")

    before = dict(registry.METHODS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    pyplot.close("all")
    registry.METHODS.clear()
    registry.METHODS.update(before)


def run(name: str, code: list[str], **given: object) -> dict[str, object]:
    """Run the blocks in order, in one namespace."""
    space: dict[str, object] = {"__name__": "__main__", **given}
    for number, block in enumerate(code):
        exec(
            compile(block, f"{name}, block {number + 1}", "exec"), space
        )  # the code belongs to this repository
    return space


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if blocks(p.read_text("utf-8"), "python")],
    ids=lambda page: str(page.relative_to(DOCS)),
)
def test_page_code_runs(page, isolated):
    run(page.name, blocks(page.read_text(encoding="utf-8"), "python"))


def test_page_code_is_at_most_88_columns():
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    texts |= {name: methods.page(name) for name in methods.names()}
    assert [
        (name, line)
        for name, text in texts.items()
        for block in blocks(text, "python")
        for line in block.splitlines()
        if len(line) > 88
    ] == []


def test_policy_lists_the_versions_of_pyproject():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    policy = (DOCS / "policy.md").read_text(encoding="utf-8")
    wanted = {
        "Python": r'requires-python = ">=([\d.]+)"',
        "PyTorch": r'"torch>=([\d.]+)"',
        "torch-geometric": r'"torch-geometric>=([\d.]+)"',
        "torch-scatter": r'"torch-scatter>=([\d.]+)"',
    }
    for name, pattern in wanted.items():
        assert f"| {name} | {re.search(pattern, project)[1]} and later" in policy


@pytest.mark.parametrize("name", methods.names())
def test_method_page_code_runs(name, isolated):
    space = run(name, blocks(methods.page(name), "python"))
    assert space["logits"].shape == (30, 5)


def test_readme_code_runs(isolated, real_omniglot):
    """Labeling texts; training on Omniglot, with 2 of 1,000 steps and 4 of 1,000 tasks."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    labeling, training, method = blocks(text, "python")
    assert max(len(block.splitlines()) for block in (labeling, training, method)) <= 12
    space = run("README.md", [labeling])
    assert space["clf"].transduction_.tolist()[2:5] == ["light", "music", "light"]
    digits = gf.data.digits(size=8)
    x = digits.x.flatten(1).float().numpy()

    shorter = training.replace("steps=1000", "steps=2").replace("n=1000", "n=4")
    assert shorter.count("n=4") == 2
    run("README.md", [shorter], gf=gf)

    run("README.md", [method], gf=gf)
    model = gf.create("cosine_votes", encoder=gf.backbones.identity(64))
    tasks = gf.Tasks(gf.data.arrays(x, digits.y), way=5, shot=1, query=5, seed=0)
    assert gf.evaluate(model, tasks, n=20).mean > 0.3


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_page_commands_parse(page):
    group = typer.main.get_command(app)
    for words in commands(page.read_text(encoding="utf-8")):
        group.commands[words[0]].make_context(words[0], words[1:])


def test_invalid_command_is_detected():
    text = "```bash\ngraphfew train egnn --date omniglot --out x   # a slip\n```\n"
    (words,) = commands(text)
    assert words == ["train", "egnn", "--date", "omniglot", "--out", "x"]
    with pytest.raises(Exception, match="No such option"):
        typer.main.get_command(app).commands["train"].make_context("train", words[1:])


@pytest.mark.parametrize("command", CHEAP)
def test_cheap_command_runs(command):
    assert any(
        shlex.split(command)[1:] in commands(page.read_text(encoding="utf-8")) for page in PAGES
    )
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output


def test_spec_of_the_guide_is_valid(tmp_path):
    (spec,) = blocks(
        (DOCS / "guides" / "reproducing-a-paper.md").read_text(encoding="utf-8"), "toml"
    )
    (tmp_path / "glyphs-mine.toml").write_text(spec, encoding="utf-8")
    assert len(list_experiments(load_spec(tmp_path / "glyphs-mine.toml"))) == 16


@pytest.mark.parametrize("name", methods.names())
def test_method_page_has_formula_source_and_deviations(name):
    sections = docstring.parse(gf.METHODS[name].factory)
    page = methods.page(name)
    assert any(line.startswith("logit_") or " logit_" in line for line in sections.formula)
    assert "\n".join(["```text", *sections.formula, "```"]) in page
    assert f"## Source\n\n{sections.source}" in page
    assert re.search(r"\b(19|20)\d\d\b", sections.source)
    assert f"## Deviations\n\n{sections.deviations}" in page
    assert sections.deviations
    assert "`GraphMethod`" in sections.returns
    assert sections.example
    assert set(sections.arguments) == {"encoder", "dim", *gf.METHODS[name].argument_names}


@pytest.mark.parametrize("name", methods.names())
def test_method_page_has_the_numbers_of_the_records(name):
    page = methods.page(name)
    cells = [c for b in records.load_report().benchmarks for c in b.results if c.method == name]
    for cell in cells:
        line = next(
            line
            for line in page.splitlines()
            if line.startswith(f"| {escaped(cell.key.row)} |") and records.accuracy(cell) in line
        )
        assert line.count("|") > 2
    assert (methods.UNMEASURED in page) is (not cells)


def escaped(row: str) -> str:
    return row.replace("_", "\\_")


def test_table_number_equals_the_record():
    cell = records.cell(
        "clinc150", "PT-MAP", "transductive", way=5, shot=1, query="single-class(75)"
    )
    per_task = cell.records[0].result.per_task
    assert f"{100 * sum(per_task) / len(per_task):.2f}" == records.accuracy(cell).split(" ")[0]
    with pytest.raises(KeyError, match="one is needed"):
        records.cell("clinc150", "PT-MAP", "transductive", way=5)


def test_recommended_methods_win_and_losing_ones_lose():
    """A row whose order has changed belongs in the other table, or its description must change."""
    for choice in choices.CHOICES:
        take, alternative = choice.cells()
        assert take.average.result.mean > alternative.average.result.mean, choice.situation
    for choice in choices.LOSSES:
        take, alternative = choice.cells()
        assert take.average.result.mean < alternative.average.result.mean, choice.situation


def test_claims_about_encoders_agree_with_the_record():
    for data in encoders.TEXTS:
        assert encoders.mean(data, "MiniLM-L6") > encoders.mean(data, "tfidf")
    for data in encoders.IMAGES:
        assert encoders.mean(data, "hog") > encoders.mean(data, "pixels")
    assert encoders.mean("cifar100", "EfficientNet-Lite0") > encoders.mean("cifar100", "hog")


def test_tables_and_markers_match():
    used = {
        name
        for page in PAGES
        for name in re.findall(r"<!-- table: ([\w-]+) -->", page.read_text("utf-8"))
    }
    assert used == set(tables.TABLES)


def test_reproduced_pitfalls_have_an_effect():
    """The claims in the text of the page."""
    found = pitfalls.results()["pitfalls"]
    for name in ("answers matched to labels", "hidden labels vote"):
        assert all(
            pair["gain"]["mean"] > pair["gain"]["half_width"] for pair in found[name].values()
        )
    chosen = found["chosen on test"]
    assert chosen["reported"]["mean"] - chosen["reported"]["half_width"] > chosen["true"]["mean"]
    assert found["queries among the supports"]["5-shot"]["gain"]["mean"] > 0
    statistics = found["statistics of the test batch"]
    assert all(
        pair["gain"]["mean"] < 0 for name, pair in statistics.items() if name.startswith("glyphs")
    )
    assert all(pair["gain"]["mean"] > 0 for name, pair in statistics.items() if "digits" in name)


def test_claims_about_class_balance_agree_with_the_records():
    one, even, uneven = (
        {
            row: records.cell(
                "cifar-fs-features", row, mode, way=5, shot=1, query=query
            ).average.result.mean
            for row, mode in pitfalls.FREE
        }
        for query in (pitfalls.SINGLE, pitfalls.BALANCED, pitfalls.DIRICHLET)
    )
    assert [row for row, mean in one.items() if mean > one["nearest class mean"]] == [
        "propagated prototypes"
    ]
    assert even["α-TIM"] - uneven["α-TIM"] > even["TIM"] - uneven["TIM"]


def test_claims_about_one_query_per_class_agree_with_the_records():
    one, many = (
        {
            row: records.cell(
                "cifar-fs", row, "transductive", way=5, shot=1, query=query
            ).average.result.mean
            for row in pitfalls.TOGETHER
        }
        for query in ("one-per-class", pitfalls.BALANCED)
    )
    assert {row for row in pitfalls.TOGETHER if one[row] > many[row]} == {"egnn", "α-TIM"}


def test_shared_entries_are_split_in_the_reference():
    text = "One.\n\nAttributes:\n    a, b: of\n        each.\n    c: x, y: z.\n\nRaises:\n    E: a, b: c.\n"
    attributes = "    a: of\n        each.\n    b: of\n        each.\n    c: x, y: z.\n"
    assert (
        split_shared_entries(text)
        == f"One.\n\nAttributes:\n{attributes}\nRaises:\n    E: a, b: c.\n"
    )


def test_examples_and_formulas_are_code_in_the_reference():
    text = "One.\n\nFormula:\n    a_i * b_i\n\n    c_i\n\nExample:\n    >>> [0][:1]\n    [0]\n"
    formula = "    ```text\n    a_i * b_i\n\n    c_i\n    ```\n"
    expected = f"One.\n\nFormula:\n{formula}\nExamples:\n    >>> [0][:1]\n    [0]\n"
    assert convert(text) == expected


def test_reference_lists_every_public_name():
    markers = [
        found.split()
        for page in sorted((DOCS / "api").glob("*.md"))
        for found in names.MARKER.findall(page.read_text(encoding="utf-8"))
    ]
    listed = [names.definition(name) for wanted in markers for name in names.of_modules(wanted)]
    assert len(listed) == len(set(listed))
    assert set(listed) == {names.definition(name) for name in names.public()}
    text = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    assert [module for module in names.modules() if f"`{module}`" not in text] == []


def test_architecture_lists_every_package():
    from tests.project.test_imports import ORDER

    assert architecture.order() == ORDER
    table = architecture.table()
    assert [module for module in ORDER if f"| `{module}` | " not in table] == []
    assert all(architecture.line(module) for module in ORDER)


def test_architecture_names_existing_files():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:graphfew|tests|docs|examples|benchmarks)/[\w./]*)`", text)
    assert len(paths) > 25
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_figures_are_small_and_used():
    pictures = sorted((DOCS / "pictures").iterdir())
    shown = {
        Path(link).name
        for page in PAGES
        for link in re.findall(r"!\[[^]]*]\(([^)]+)\)", page.read_text("utf-8"))
    }
    assert shown == {picture.name for picture in pictures}
    assert max(os.path.getsize(picture) for picture in pictures) < 100_000
