"""Full disks and paths without write permission: a clear error, no partial file, the old file unchanged."""

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
from small_training import SMALL_EGNN
from typer.testing import CliRunner

import graphfew as gf
from graphfew import runs
from graphfew._utils import atomic_io
from graphfew.benchmark import append_record, read_records
from graphfew.cli import app
from graphfew.data.io import cache
from graphfew.errors import WriteError

COMMAND = [sys.executable, "-c", "from graphfew.cli import app; app()"]
# Not writable, even for root.
LOCKED = Path("/proc/graphfew")


@contextmanager
def file_size_limit(size):
    """Limit the size of files in bytes, so that the operating system itself fails larger writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def model():
    return gf.create("egnn", encoder=gf.backbones.identity(4), layers=1, width=8)


def append_made_record(folder):
    append_record(folder / "out.jsonl", made(mean=0.7))


WRITERS = {
    "checkpoint": ("out.safetensors", lambda folder: gf.save(model(), folder / "out")),
    "text": ("out.txt", lambda folder: atomic_io.write_text(folder / "out.txt", "long " * 500)),
    "json": ("out.json", lambda folder: runs.write_json(folder / "out.json", ["long"] * 500)),
    "record": ("out.jsonl", append_made_record),
}


@pytest.mark.parametrize("name", WRITERS)
def test_full_disk_keeps_the_old_file(tmp_path, name):
    file, write = WRITERS[name]
    write(tmp_path)
    before = contents(tmp_path)
    with (
        file_size_limit(600),
        pytest.raises(WriteError, match=rf"{file} cannot be written \(.*free disk space") as error,
    ):
        write(tmp_path)
    assert isinstance(error.value, OSError)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", WRITERS)
def test_full_disk_leaves_no_new_file(tmp_path, name):
    file, write = WRITERS[name]
    with file_size_limit(600), pytest.raises(OSError, match=file):
        write(tmp_path)
    assert all(content == b"" for content in contents(tmp_path).values())
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("locked", [False, True], ids=["a file for a folder", "read-only"])
def test_unwritable_path_is_named(tmp_path, name, locked):
    (tmp_path / "file").write_text("old")
    folder = LOCKED if locked else tmp_path / "file"
    if locked and not Path("/proc").is_dir():
        pytest.skip("this system has no /proc")
    with pytest.raises(OSError, match=rf"{WRITERS[name][0]} cannot be written"):
        WRITERS[name][1](folder)
    assert contents(tmp_path) == {Path("file"): b"old"}


def test_error_keeps_reason_and_errno(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space remaining on device")

    atomic_io.write_text(tmp_path / "a.txt", "before")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(
        OSError, match=r"a\.txt cannot be written \(No space remaining on device\)"
    ) as error:
        atomic_io.write_text(tmp_path / "a.txt", "after")
    assert error.value.errno == 28
    assert contents(tmp_path) == {Path("a.txt"): b"before"}


def test_partial_append_is_unprocess(tmp_path):
    path = tmp_path / "out.jsonl"
    append_record(path, made(mean=0.7))
    size = path.stat().st_size
    with file_size_limit(size + 100), pytest.raises(OSError, match=r"out\.jsonl cannot be written"):
        append_record(path, made(mean=0.8))
    assert path.stat().st_size == size
    append_record(path, made(mean=0.9))
    records, faults = read_records(path)
    assert (len(records), faults) == (2, ())


def test_cache_on_a_full_disk_returns_the_arrays(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path))
    with (
        file_size_limit(600),
        pytest.warns(RuntimeWarning, match=r"cannot write the cache .*GRAPHFEW_CACHE"),
    ):
        arrays = cache.load_or_build(
            "key", ("a",), lambda: {"a": np.random.default_rng(0).random(1000)}
        )
    assert len(arrays["a"]) == 1000
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("kind", ["file", "proc"])
def test_cache_in_an_unwritable_folder_returns_the_arrays(tmp_path, monkeypatch, kind):
    (tmp_path / "file").write_text("old")
    monkeypatch.setenv(
        "GRAPHFEW_CACHE", str(tmp_path / "file" / "cache" if kind == "file" else LOCKED)
    )
    with pytest.warns(RuntimeWarning, match="cannot write the cache"):
        assert cache.load_or_build("key", ("a",), lambda: {"a": np.ones(3)})["a"].sum() == 3


# The commands.


def run(*arguments, size=None):
    """Return exit code and standard error.

    With `size` the command runs in a process whose files are limited to that many bytes; otherwise
    in this one, since a new process takes seconds to import everything.
    """
    arguments = [str(argument) for argument in arguments]
    if size is None:
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, result.stderr
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        env=environment,
    )
    return process.returncode, process.stderr


def is_one_line_error(result, *names):
    """Check for one line that names the file, without a traceback."""
    code, err = result
    assert code == 2, err
    assert "Traceback" not in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for name in names:
        assert name in err
    return True


def write_items(path):
    rows = [
        f"{i % 2},{1 - i % 2 + i / 99},{('even', 'odd')[i % 2] if i < 4 else ''}" for i in range(20)
    ]
    path.write_text("\n".join(["a,b,label", *rows]))
    return path


def test_label_on_a_full_disk(tmp_path):
    source, out = write_items(tmp_path / "items.csv"), tmp_path / "labels.csv"
    out.write_text("old")
    assert is_one_line_error(
        run("label", source, "--out", out, "--overwrite", size=200),
        "labels.csv cannot be written",
        "disk space",
    )
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.csv", "labels.csv"]


TRAIN = [*SMALL_EGNN, *("--steps", "4", "--validate-every", "2")]


def test_training_on_a_full_disk_can_resume(tmp_path):
    out = tmp_path / "run"
    assert is_one_line_error(
        run(*TRAIN, "--out", out, size=4000), "best.safetensors cannot be written", "disk space"
    )
    assert sorted(path.name for path in out.iterdir() if path.name != "timing.json") == [
        "config.json",
        "metrics.jsonl",
    ]
    code, err = run("train", "--resume", "--out", out)
    assert code == 0, err
    assert {"best.safetensors", "last.safetensors"} <= {path.name for path in out.iterdir()}


@pytest.mark.parametrize(
    "arguments",
    [TRAIN, ["report", "RESULTS"], ["bench", "SPEC", "--tasks", "2"]],
    ids=["train", "report", "bench"],
)
def test_commands_name_an_unwritable_path(tmp_path, arguments):
    (tmp_path / "file").write_text("old")
    append_record(tmp_path / "results" / "omniglot.jsonl", made())
    names = {"RESULTS": tmp_path / "results", "SPEC": spec_file(tmp_path, SMALL)}
    before = contents(tmp_path)
    out = tmp_path / "file" / "below"
    assert is_one_line_error(
        run(*[names.get(word, word) for word in arguments], "--out", out), str(out)
    )
    assert contents(tmp_path) == before


def test_run_in_python_names_its_file(tmp_path):
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
    with file_size_limit(2500), pytest.raises(OSError, match="cannot be written"):
        runs.execute(prepared)
    remaining = contents(tmp_path / "run")
    assert not [path for path in remaining if path.name.startswith(".")]
    assert all(
        json.loads(line)["step"] >= 0
        for line in remaining.get(Path("metrics.jsonl"), b"").splitlines()
    )
