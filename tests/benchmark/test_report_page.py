"""The page: well-formed, needs nothing from elsewhere, says everything in words too, and no name breaks it."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from bench_records import made, write_records
from test_report_tables import FIGURE

import graphfew as gf
from graphfew.benchmark.report import (
    aggregate_results,
    collect_report,
    plot_episode_layers,
    render_page,
)
from graphfew.benchmark.report.differences import differences_to_reference

KINDS = ((1, "balanced(15)"), (5, "balanced(15)"), (1, "dirichlet(2.0, 75)"), (1, "balanced(5)"))
VOID = {"meta", "br", "img"}
PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000")


class Checked(HTMLParser):
    """Collects what is wrong with a page, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.pictures: list[str | None] = []
        self.texts: list[str] = []
        self.feed(text)
        self.faults += [f"{name} stays open" for name in self.open]

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if name not in VOID:
            self.open.append(name)
        if name in ("script", "link", "iframe", "object"):
            self.faults.append(f"a {name}")
        loads = [
            given.get(key)
            for key in ("src", "xlink:href", "data", *(["href"] if name != "a" else []))
        ]
        self.loads += [place for place in loads if place is not None]
        self.ids += [value for key, value in attrs if key == "id" and value]
        if name == "img":
            self.pictures.append(given.get("alt"))
        if name == "svg":
            self.pictures.append(given.get("aria-label") if given.get("role") == "img" else None)

    def handle_startendtag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(name, attrs)
        if name not in VOID:
            self.open.pop()

    def handle_endtag(self, name: str) -> None:
        if not self.open or self.open.pop() != name:
            self.faults.append(f"{name} closes another element, line {self.getpos()[0]}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two benchmarks with three rows, several shots and draws, seeds, a training, a picture and a corrupt line."""
    for name, shift in (("omniglot", 0.0), ("glyphs", 0.05)):
        for row, mean in (
            ("Prototypes", 0.8),
            ("EGNN", 0.85),
            ("<script>alert('x')</script> & \"co\"", 0.7),
        ):
            for shot, query in KINDS:
                for seed in (0, 1):
                    write_records(
                        tmp_path,
                        made(
                            row,
                            mean + shift + shot / 100,
                            noise=seed,
                            seed=seed,
                            benchmark=name,
                            tasks={"shot": shot, "query": query},
                        ),
                        name=name,
                    )
    write_records(tmp_path, made("Odd", 0.9, count=7, seed=0))
    run = tmp_path / "runs" / "omniglot" / "egnn-seed0"
    run.mkdir(parents=True)
    lines = [
        {"step": step, "validation_accuracy": 0.5 + step / 100, "validation_half_width": 0.01}
        for step in (1, 2)
    ]
    (run / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + "{cut\n"
    )
    (tmp_path / "omniglot-episode.png").write_bytes(PNG)
    with (tmp_path / "glyphs.jsonl").open("a") as file:
        file.write('{"format": 99}\n')
    return tmp_path


@pytest.fixture
def text(results: Path) -> str:
    return render_page(collect_report(results, [FIGURE]))


def test_the_page_is_well_formed_and_its_places_have_names_of_their_own(text: str) -> None:
    checked = Checked(text)
    assert checked.faults == []
    assert len(checked.ids) == len(set(checked.ids))
    wanted = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    assert wanted <= set(checked.ids)


def test_the_checker_finds_what_is_wrong() -> None:
    checked = Checked('<p><b>x</p><script></script><img src="http://x"><svg></svg>')
    assert len(checked.faults) >= 2
    assert checked.loads == ["http://x"]
    assert checked.pictures == [None, None]


def test_nothing_is_loaded_from_elsewhere(text: str) -> None:
    assert all(place.startswith(("#", "data:")) for place in Checked(text).loads)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "<script" not in text


def test_every_picture_is_told_in_words(text: str) -> None:
    pictures = Checked(text).pictures
    assert len(pictures) >= 6
    assert all(told and len(told) > 20 for told in pictures)
    assert any(told and "Critical-difference diagram" in told for told in pictures)
    assert any(
        told and "against shots" in told and "EGNN (inductive): 1 8" in told for told in pictures
    )
    assert any(
        told and "Validation accuracy" in told and "egnn, seed 0" in told for told in pictures
    )


def test_names_are_shown_as_they_are(text: str) -> None:
    shown = "".join(Checked(text).texts)
    assert "<script>alert('x')</script> & \"co\"" in shown
    assert "&lt;script&gt;" in text


def test_lines_that_cannot_be_read_are_told(text: str) -> None:
    shown = "".join(Checked(text).texts)
    assert "2 lines of the files are not in this report" in shown
    assert "glyphs.jsonl, line 25: format is 99" in shown
    assert "metrics.jsonl, line 3: not a line of metrics" in shown


def test_counts_marks_and_origins_are_there(text: str) -> None:
    shown = "".join(Checked(text).texts)
    for said in (
        "40 tasks of 75 queries",
        "‡ 7 tasks",
        "2 seeds, sd",
        "published 78.8",
        "abc123",
        "5pec5pec5pec",
        "a processor",
        "graphfew bench omniglot",
        "1 rows evaluated on other tasks are excluded",
        "against every other on the same tasks",
    ):
        assert said in shown


def test_the_same_results_give_the_same_page(results: Path, text: str) -> None:
    assert render_page(collect_report(results, [FIGURE])) == text


def test_titles_come_from_specs_where_they_can_be_read(results: Path, tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "omniglot.toml").write_text(
        'title = "Omniglot, Vinyals\' split"\nabout = "All about it, `a < b` and `c`."\n'
    )
    (specs / "glyphs.toml").write_text("title = [")
    page = render_page(collect_report(results, (), specs))
    assert "All about it, <code>a &lt; b</code> and <code>c</code>." in page
    shown = "".join(Checked(page).texts)
    assert "Omniglot, Vinyals' split" in shown
    assert "glyphs" in shown


def test_a_file_of_corrupt_lines_alone_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text("no\n")
    shown = "".join(Checked(render_page(collect_report(tmp_path))).texts)
    assert "No readable results." in shown
    assert "broken.jsonl, line 1" in shown


def test_an_episode_is_drawn_layer_by_layer(results: Path) -> None:
    data = gf.data.digits()
    model = gf.create(
        "egnn", encoder=torch.nn.Flatten(), dim=data.x[0].numel(), width=8, transductive=False
    )
    picture = plot_episode_layers(model, data, way=3, query=2)
    assert picture == plot_episode_layers(model, data, way=3, query=2)
    shown = render_page(collect_report(results, episodes=[picture]))
    assert Checked(shown).faults == []
    assert any(
        told and "layer by layer" in told and "of 6 queries are correct" in told
        for told in Checked(shown).pictures
    )
    assert not model.transductive


def test_what_cannot_be_drawn_is_refused() -> None:
    data = gf.data.digits()
    egnn = gf.create("egnn", encoder=torch.nn.Flatten(), dim=data.x[0].numel(), width=8)
    with pytest.raises(ValueError, match="at most 60"):
        plot_episode_layers(egnn, data, way=10, shot=5, query=5)
    with pytest.raises(ValueError, match=r"no layers|transductive"):
        plot_episode_layers(
            gf.create("prototypical", encoder=torch.nn.Flatten(), dim=data.x[0].numel()), data
        )


def named_reference(folder: Path, row: str) -> Path:
    """A folder with a spec that compares rows with `row`."""
    specs = folder / "specs"
    specs.mkdir()
    (specs / "omniglot.toml").write_text(f'compare_with = "{row}"\n')
    return specs


def test_differences_go_to_the_row_that_the_spec_names(tmp_path: Path) -> None:
    records = [
        made("a", 0.8),
        made("b", 0.7, noise=1),
        made("b", 0.9, noise=2, mode="transductive"),
        made("odd", 0.9, count=9),
    ]
    (benchmark,) = aggregate_results(write_records(tmp_path, *records))
    told = differences_to_reference(benchmark.results, "b")
    assert told is not None
    gap = gf.compare_results(records[0].result, records[1].result)
    text = render_page(collect_report(tmp_path, specs=named_reference(tmp_path, "b")))
    text = text.partition("Differences to b (inductive)")[2].partition("</details>")[0]
    shown = "".join(Checked(text).texts)
    assert f"▲ +{100 * gap.difference:.2f} ± {100 * gap.half_width:.2f}" in shown
    assert "b (transductive)" in shown
    assert " ≠" in shown
    assert "odd" not in shown
    first = differences_to_reference(benchmark.results, "none such")
    assert first is not None
    assert str(first.reference) == "a (inductive)"
    assert differences_to_reference(benchmark.results[:1]) is None


def test_what_else_was_measured_is_shown_and_tasks_without_ways_too(tmp_path: Path) -> None:
    pile = dataclasses.replace(
        made().result, tasks={"data": "clinc150", "split": "all", "labels": 3, "seed": 0}
    )
    for seed in (0, 1):
        write_records(
            tmp_path,
            made(
                seed=seed, result=pile, metrics={"auroc": 0.9 + seed / 50, "auroc_half_width": 0.02}
            ),
        )
    text = render_page(collect_report(tmp_path))
    shown = "".join(Checked(text).texts)
    assert Checked(text).faults == []
    assert "AUROC 0.910 ± 0.020" in shown
    assert "labels: 3" in shown
    assert "None" not in shown
