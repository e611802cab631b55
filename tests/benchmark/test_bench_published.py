"""Published figures: the file of the repository is read whole, and what is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

import graphfew as gf
from graphfew.benchmark.published import read_published_results

FILE = Path(__file__).parents[2] / "benchmarks" / "published.toml"
ENTRY = {
    "benchmark": '"omniglot"',
    "method": '"prototypical"',
    "label": '"Prototypes"',
    "way": "5",
    "shot": "1",
    "value": "98.8",
    "backbone": '"conv4-64"',
    "mode": '"inductive"',
    "batch_norm": '"running"',
    "query": '"15"',
    "source": '"Snell 2017"',
    "tag": '"P"',
}


def written(tmp_path: Path, *entries: dict[str, str]) -> Path:
    path = tmp_path / "published.toml"
    blocks = (
        "[[result]]\n" + "".join(f"{key} = {value}\n" for key, value in entry.items())
        for entry in entries
    )
    path.write_text("# figures\n\n" + "\n".join(blocks), encoding="utf-8")
    return path


def test_an_entry_is_read_with_its_line_and_defaults(tmp_path: Path) -> None:
    (figure,) = read_published_results(
        written(tmp_path, {**ENTRY, "interval": "0.2", "unlike": '["a leak"]'})
    )
    assert (figure.value, figure.interval, figure.assumes) == (98.8, 0.2, "nothing")
    assert (figure.unlike, figure.selected_on, str(figure)) == (
        ("a leak",),
        "unknown",
        "98.8 ± 0.2",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"valeu": "3"}, "did you mean 'value'"),
        ({"value": '"98"'}, "value: '98' is invalid"),
        ({"value": "998.8"}, "less than or equal to 100"),
        ({"mode": '"magic"'}, "unknown evaluation mode 'magic'; expected 'inductive'"),
        ({"way": "true"}, "way: True is invalid"),
        ({"way": "1"}, "greater than or equal to 2"),
        ({"tag": '"Q"'}, "tag: 'Q' is invalid"),
        ({"unlike": "[3]"}, "must be a valid string"),
        ({"line": "3"}, "unknown key"),
        ({"tasks": "0"}, "tasks: 0 is invalid"),
    ],
)
def test_a_wrong_entry_is_named_with_its_line(
    tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read_published_results(written(tmp_path, ENTRY, {**ENTRY, "shot": "5", **change}))
    assert "published.toml: result[1]." in str(caught.value)


def test_a_missing_key_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"result\[0\]\.value: this key is required"):
        read_published_results(
            written(tmp_path, {key: ENTRY[key] for key in ENTRY if key not in ("value", "tag")})
        )


def test_the_same_figure_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"result\[1\]: Prototypes, 5-way 1-shot of Snell 2017 is also result\[0\]"
    ):
        read_published_results(written(tmp_path, ENTRY, {**ENTRY, "value": "97.0"}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("figure = [", "not valid TOML"),
        ("[other]\n", "unknown key; expected one of: result"),
        ("figure = 3\n", "unknown key; expected one of: result"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "other.toml").write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_published_results(tmp_path / "other.toml")


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.toml does not exist"):
        read_published_results(tmp_path / "none.toml")


def test_the_repositorys_figures_carry_their_caveats() -> None:
    figures = read_published_results(FILE)
    assert len({figure.benchmark for figure in figures}) >= 10
    known = {
        "egnn",
        "prototypical",
        "gnn",
        "tpn",
        "dpgn",
        "relation",
        "matching",
        "laplacian_shot",
        "pt_map",
        "tim",
    }
    assert known <= {figure.method for figure in figures} & set(gf.METHODS)
    assert all(
        f.selected_on == "test"
        for f in figures
        if f.method == "dpgn" and "final iterate" not in f.label
    )
    assert all(
        f.assumes == "balanced" for f in figures if f.method in ("pt_map", "tim") and f.source != ""
    )
    assert all(f.unlike for f in figures if f.method == "egnn" and f.mode.unlabeled)
    assert all(
        f.unlike for f in figures if f.method == "laplacian_shot" and f.source == "Ziko et al. 2020"
    )
    assert all(
        f.batch_norm == "test batch"
        for f in figures
        if f.method in ("relation", "maml")
        and f.benchmark in ("omniglot", "mini-imagenet", "tiered-imagenet")
    )


@pytest.mark.parametrize(
    ("benchmark", "method", "way", "shot", "value"),
    [
        ("omniglot", "gnn", 5, 1, 99.2),
        ("mini-imagenet", "egnn", 5, 5, 76.37),
        ("tiered-imagenet", "tpn", 5, 5, 72.85),
        ("cifar-fs", "r2d2", 5, 1, 62.3),
        ("omniglot-minimal", "prototypical", 20, 1, 70.0),
        ("fewrel", "hybrid_attention", 5, 5, 90.12),
    ],
)
def test_figures_are_those_of_the_sources(
    benchmark: str, method: str, way: int, shot: int, value: float
) -> None:
    assert any(
        (f.benchmark, f.method, f.way, f.shot, f.value) == (benchmark, method, way, shot, value)
        for f in read_published_results(FILE)
    )
