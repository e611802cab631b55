"""The specs that come with the project."""

from pathlib import Path

import pytest
from small_specs import Told

from graphfew.benchmark import Options, Spec, all_cells, read, read_spec, run
from graphfew.benchmark.experiments import options
from graphfew.benchmark.toml import read_toml

FOLDER = Path(__file__).parents[2] / "benchmarks" / "specs"
SPECS = sorted(FOLDER.glob("*.toml"))
PUBLISHED = FOLDER.parent / "published.toml"


@pytest.mark.parametrize("path", SPECS, ids=[path.stem for path in SPECS])
def test_each_is_right_and_named_as_its_file(path, unchecked, monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHFEW_DATA", str(tmp_path))
    spec = read_spec(path)
    assert spec.name == path.stem
    rows = {cell.row.table.place for cell in all_cells(spec)}
    assert rows == {row.table.place for row in spec.rows}
    if not isinstance(spec, Spec):
        return
    used = {name for row in spec.rows for needed in row.trainings for name in starts(spec, needed)}
    assert used == {training.name for training in spec.trainings}


def test_names_differ_by_more_than_their_spelling():
    assert len({plain(path.stem) for path in SPECS}) == len(SPECS) >= 11


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="benchmarks/published.toml is not there")
def test_published_figures_spell_benchmarks_as_their_specs():
    named = {plain(path.stem): path.stem for path in SPECS}
    figures = read_toml(PUBLISHED).tables("figure")
    benchmarks = {figure.text("benchmark") for figure in figures}
    assert {name: named[plain(name)] for name in benchmarks if plain(name) in named} == {
        name: name for name in benchmarks if plain(name) in named
    }
    assert benchmarks & set(named.values())


def test_checkpoints_of_omniglot_serve_within_alphabets(unchecked):
    vinyals, within = (
        read_spec(FOLDER / f"{name}.toml") for name in ("omniglot", "omniglot-within")
    )
    for training in within.trainings:
        other = vinyals.training(training.name)
        assert (training.seeds, training.start) == (other.seeds, other.start)
        assert options(training.config(0)) == options(other.config(0))


def test_glyphs_run_in_seconds(tmp_path, one_thread):
    spec = read_spec(FOLDER / "glyphs.toml")
    assert run([spec], Options(tmp_path, most=2), Told().screen()) == 0
    records, faults = read(tmp_path / "glyphs.jsonl")
    assert [record.key for record in records] == [cell.key for cell in all_cells(spec, 2)]
    assert faults == ()


def starts(spec, name):
    """A training and those that it starts from."""
    first = spec.training(name).start
    return {name} | (starts(spec, first) if first else set())


def plain(name):
    """A name without case and separators."""
    return "".join(filter(str.isalnum, name)).lower()
