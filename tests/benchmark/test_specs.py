"""The specs that come with the project."""

from pathlib import Path

import pytest
from small_specs import RecordingDisplay

from graphfew.benchmark import (
    EpisodeBenchmark,
    RunOptions,
    list_experiments,
    load_spec,
    read_published_results,
    read_records,
    run_benchmarks,
)
from graphfew.benchmark.experiments import changed_options

FOLDER = Path(__file__).parents[2] / "benchmarks" / "specs"
# This one is read by benchmarks.unlabeled_sets.
SPECS = sorted(path for path in FOLDER.glob("*.toml") if path.stem != "unlabeled-pools")
PUBLISHED = FOLDER.parent / "published.toml"


@pytest.mark.parametrize("path", SPECS, ids=[path.stem for path in SPECS])
def test_each_is_right_and_named_as_its_file(path, unchecked, monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHFEW_DATA", str(tmp_path))
    spec = load_spec(path)
    assert spec.name == path.stem
    rows = {id(experiment.method) for experiment in list_experiments(spec)}
    assert rows == {id(method) for method in spec.methods}
    if not isinstance(spec, EpisodeBenchmark):
        return
    used = {
        name for row in spec.methods for needed in row.trainings for name in starts(spec, needed)
    }
    assert used == {training.name for training in spec.trainings}


def test_names_differ_by_more_than_their_spelling():
    assert len({plain(path.stem) for path in SPECS}) == len(SPECS) >= 11


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="benchmarks/published.toml is not there")
def test_published_figures_spell_benchmarks_as_their_specs():
    named = {plain(path.stem): path.stem for path in SPECS}
    benchmarks = {result.benchmark for result in read_published_results(PUBLISHED)}
    assert {name: named[plain(name)] for name in benchmarks if plain(name) in named} == {
        name: name for name in benchmarks if plain(name) in named
    }
    assert benchmarks & set(named.values())


def test_checkpoints_of_omniglot_serve_within_alphabets(unchecked):
    vinyals, within = (
        load_spec(FOLDER / f"{name}.toml") for name in ("omniglot", "omniglot-within")
    )
    for training in within.trainings:
        other = vinyals.training(training.name)
        assert (training.seeds, training.init_from) == (other.seeds, other.init_from)
        assert changed_options(within.train_config(training, 0)) == changed_options(
            vinyals.train_config(other, 0)
        )


def test_glyphs_run_in_seconds(tmp_path, one_thread):
    spec = load_spec(FOLDER / "glyphs.toml")
    assert (
        run_benchmarks(
            [spec], RunOptions(tmp_path, max_tasks=2), RecordingDisplay().progress_display()
        )
        == 0
    )
    records, faults = read_records(tmp_path / "glyphs.jsonl")
    assert [record.key for record in records] == [cell.key for cell in list_experiments(spec, 2)]
    assert faults == ()


def starts(spec, name):
    """A training and those that it starts from."""
    first = spec.training(name).init_from
    # A pretrained model is no training of the spec.
    return {name} | (starts(spec, first) if first and spec.has_training(first) else set())


def plain(name):
    """A name without case and separators."""
    return "".join(filter(str.isalnum, name)).lower()


RESULTS = FOLDER.parent / "results"
# Its tables show missing results as dashes. Remove it from here when all are recorded.
UNFINISHED = ("clinc150-effective-classes",)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_recorded_results_are_those_of_the_current_specs(path, unchecked):
    """A renamed option must not invalidate results that took days."""
    records, unreadable = read_records(path)
    assert unreadable == ()
    experiments = list_experiments(load_spec(FOLDER / path.name.replace("jsonl", "toml")))
    keys = {e.key for e in experiments}
    rows = {e.method.name for e in experiments}
    assert {record.benchmark for record in records} == {path.stem}
    if path.stem in UNFINISHED:
        assert {record.key for record in records} < keys
        assert {record.row for record in records} <= rows
        return
    assert {record.key for record in records} == keys
    assert {record.row for record in records} == rows
