"""A disk that is full and places that nothing can be written to: a clear error, no half file, the old one as it was."""

import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from bench_records import made
from small_specs import SMALL
from small_specs import written as spec_file

import graphfew as gf
from graphfew import runs
from graphfew._utils import atomic_io
from graphfew.benchmark import append, read
from graphfew.data.io import cache
from graphfew.errors import WriteError

COMMAND = [sys.executable, "-c", "from graphfew.cli import app; app()"]
# One that nobody may write to, root neither.
LOCKED = Path("/proc/graphfew")


@contextmanager
def room(size):
    """Files may grow to so many bytes and no further: what a write beyond it meets is a real fault of the system."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def everything(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def model():
    return gf.create("egnn", encoder=gf.backbones.identity(4), layers=1, width=8)


def record_line(folder):
    append(folder / "out.jsonl", made(mean=0.7))


WRITERS = {
    "checkpoint": ("out.safetensors", lambda folder: gf.save(model(), folder / "out")),
    "text": ("out.txt", lambda folder: atomic_io.write_text(folder / "out.txt", "long " * 500)),
    "json": ("out.json", lambda folder: runs.write_json(folder / "out.json", ["long"] * 500)),
    "record": ("out.jsonl", record_line),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, name):
    file, write = WRITERS[name]
    write(tmp_path)
    before = everything(tmp_path)
    with (
        room(600),
        pytest.raises(WriteError, match=rf"{file} cannot be written \(.*free some room") as told,
    ):
        write(tmp_path)
    assert isinstance(told.value, OSError)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", WRITERS)
def test_a_new_file_that_has_no_room_is_not_there(tmp_path, name):
    file, write = WRITERS[name]
    with room(600), pytest.raises(OSError, match=file):
        write(tmp_path)
    assert all(content == b"" for content in everything(tmp_path).values())
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("locked", [False, True], ids=["a file for a folder", "read-only"])
def test_a_place_that_cannot_be_written_to_is_named(tmp_path, name, locked):
    (tmp_path / "file").write_text("mine")
    folder = LOCKED if locked else tmp_path / "file"
    if locked and not Path("/proc").is_dir():
        pytest.skip("this system has no /proc")
    with pytest.raises(OSError, match=rf"{WRITERS[name][0]} cannot be written"):
        WRITERS[name][1](folder)
    assert everything(tmp_path) == {Path("file"): b"mine"}


def test_what_has_no_errno_is_named_too(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    atomic_io.write_text(tmp_path / "a.txt", "before")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(
        OSError, match=r"a\.txt cannot be written \(No space left on device\)"
    ) as told:
        atomic_io.write_text(tmp_path / "a.txt", "after")
    assert told.value.errno == 28
    assert everything(tmp_path) == {Path("a.txt"): b"before"}


def test_a_line_that_is_cut_by_a_full_disk_is_taken_back(tmp_path):
    path = tmp_path / "out.jsonl"
    append(path, made(mean=0.7))
    size = path.stat().st_size
    with room(size + 100), pytest.raises(OSError, match=r"out\.jsonl cannot be written"):
        append(path, made(mean=0.8))
    assert path.stat().st_size == size
    append(path, made(mean=0.9))
    records, faults = read(path)
    assert (len(records), faults) == (2, ())


def test_a_cache_without_room_gives_the_arrays_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path))
    with room(600), pytest.warns(RuntimeWarning, match=r"cannot write the cache .*GRAPHFEW_CACHE"):
        found = cache.cached("key", ("a",), lambda: {"a": np.random.default_rng(0).random(1000)})
    assert len(found["a"]) == 1000
    assert everything(tmp_path) == {}


@pytest.mark.parametrize("place", ["file", "proc"])
def test_so_does_a_cache_that_cannot_be_written_to(tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv(
        "GRAPHFEW_CACHE", str(tmp_path / "file" / "cache" if place == "file" else LOCKED)
    )
    with pytest.warns(RuntimeWarning, match="cannot write the cache"):
        assert cache.cached("key", ("a",), lambda: {"a": np.ones(3)})["a"].sum() == 3


# The commands, in processes of their own.


def ran(*arguments, size=None):
    """Exit code and standard error; files may grow to `size` bytes."""

    def bounded():
        if size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=bounded,
        env=environment,
    )
    return done.returncode, done.stderr


def refused(result, *names):
    """One line, which names the file, and no traceback."""
    code, err = result
    assert code == 2, err
    assert "Traceback" not in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for name in names:
        assert name in err
    return True


def items(path):
    rows = [
        f"{i % 2},{1 - i % 2 + i / 99},{('even', 'odd')[i % 2] if i < 4 else ''}" for i in range(20)
    ]
    path.write_text("\n".join(["a,b,label", *rows]))
    return path


def test_label_says_that_there_is_no_room(tmp_path):
    source, out = items(tmp_path / "items.csv"), tmp_path / "labels.csv"
    out.write_text("old")
    assert refused(
        ran("label", source, "--out", out, "--overwrite", size=200),
        "labels.csv cannot be written",
        "room",
    )
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.csv", "labels.csv"]


TRAIN = [
    "train",
    "egnn",
    "--data",
    "digits",
    "--split",
    "all",
    "--validate",
    "all",
    "--way",
    "3",
    "--query",
    "2",
    "--encoder-set",
    "width=4",
    "--set",
    "layers=1",
    "--set",
    "width=8",
    "--batch",
    "2",
    "--steps",
    "4",
    "--validate-every",
    "2",
    "--validate-tasks",
    "4",
    "--validate-way",
    "3",
]


def test_a_training_that_runs_out_of_room_says_so_and_goes_on_when_there_is_some(tmp_path):
    out = tmp_path / "run"
    assert refused(
        ran(*TRAIN, "--out", out, size=4000), "best.safetensors cannot be written", "room"
    )
    assert sorted(path.name for path in out.iterdir() if path.name != "timing.json") == [
        "config.json",
        "metrics.jsonl",
    ]
    code, err = ran("train", "--resume", "--out", out)
    assert code == 0, err
    assert {"best.safetensors", "last.safetensors"} <= {path.name for path in out.iterdir()}


@pytest.mark.parametrize(
    "arguments",
    [TRAIN, ["report", "RESULTS"], ["bench", "SPEC", "--tasks", "2"]],
    ids=["train", "report", "bench"],
)
def test_a_command_that_cannot_write_says_where(tmp_path, arguments):
    (tmp_path / "file").write_text("mine")
    append(tmp_path / "results" / "omniglot.jsonl", made())
    names = {"RESULTS": tmp_path / "results", "SPEC": spec_file(tmp_path, SMALL)}
    before = everything(tmp_path)
    out = tmp_path / "file" / "below"
    assert refused(ran(*[names.get(word, word) for word in arguments], "--out", out), str(out))
    assert everything(tmp_path) == before


def test_a_run_in_python_names_its_file(tmp_path):
    options = {
        "method": "prototypical",
        "data": "digits",
        "split": "all",
        "validate": "all",
        "way": "3",
        "query": "2",
        "encoder_arguments": {"width": 8},
        "steps": 3,
        "batch": 2,
        "validate_every": 1,
        "validate_tasks": 2,
        "validate_way": "3",
    }
    prepared = runs.prepare(tmp_path / "run", options)
    with room(2500), pytest.raises(OSError, match="cannot be written"):
        runs.execute(prepared)
    left = everything(tmp_path / "run")
    assert not [path for path in left if path.name.startswith(".")]
    assert all(
        json.loads(line)["step"] >= 0 for line in left.get(Path("metrics.jsonl"), b"").splitlines()
    )
