"""`graphfew bench`: what it prints and writes, and that every refusal is one clear line."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from small_specs import CELLS, SMALL, written
from typer.testing import CliRunner

from graphfew.benchmark import read_records
from graphfew.cli import app

LONG = SMALL.replace("steps = 4", "steps = 4000").replace(
    "validate_every = 2", "validate_every = 20"
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def call(unchecked, tmp_path, monkeypatch):
    """Runs a command in an empty folder; gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(app, ["bench", *map(str, arguments)])
        return result.exit_code, result.stdout, result.stderr

    return run


def refused(outcome, *words):
    """One line on standard error, exit code 2, nothing else."""
    code, out, err = outcome
    assert (code, out, err.count("\n")) == (2, "", 1), (out, err)
    assert err.startswith("error: ")
    assert [word for word in words if word not in err] == [], err


def test_it_trains_evaluates_and_goes_on(call, tmp_path):
    path = written(tmp_path)
    code, out, err = call(path)
    assert (code, err) == (0, "")
    assert out.count(" tasks, ") == CELLS
    assert "small: propagation, transductive, seed 1: 5-way 1-shot, queries balanced(2): " in out
    records, _ = read_records(tmp_path / "benchmarks" / "results" / "small.jsonl")
    assert len(records) == CELLS
    assert str(tmp_path) not in records[0].command
    assert records[0].command.startswith("graphfew bench ")
    assert records[0].command.endswith("small.toml")
    assert call(path) == (
        0,
        f"small: 0 trainings and 0 experiments to do, {CELLS} experiments done\n",
        "",
    )


def test_list_runs_nothing(call, tmp_path):
    path = written(tmp_path)
    code, out, err = call(path, "--list", "--out", "there")
    assert (code, err) == (0, "")
    assert [
        out.count(word) for word in ("proto, seed 0", "proto, seed 1", "to do", "seconds per step")
    ] == [1, 1, 4, 1]
    assert not (tmp_path / "there").exists()
    call(path, "--out", "there", "--only", "proto")
    out = call(path, "--out", "there", "--list")[1]
    assert (out.count("│ done "), out.count("│ to do ")) == (3, 1)


def test_options_are_kept_in_the_command(call, tmp_path):
    path = written(tmp_path)
    assert call(path, "--out", "there", "--only", "proto", "--tasks", "2", "--keep-going")[0] == 0
    records, _ = read_records(tmp_path / "there" / "small.jsonl")
    assert records[0].command.endswith("small.toml --out=there --only=proto --tasks=2 --keep-going")
    assert {len(record.result.per_task) for record in records} == {2}


def test_without_a_spec_those_there_are_named(call, tmp_path):
    refused(call(), "give one or more specs, TOML files")
    written(tmp_path / "benchmarks" / "specs")
    refused(call(), "such as benchmarks/specs/small.toml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.toml"], ["nowhere.toml does not exist"]),
        (["small.toml", "small.toml"], ["have the same name 'small'"]),
        (["small.toml", "--only", "prot"], ["has no row 'prot'", "proto, propagation"]),
        (["small.toml", "--tasks", "1"], ["--tasks is 1", "at least 2"]),
        (["small.toml", "--root", "omniglot"], ["--root is 'omniglot'", "NAME=FOLDER"]),
        (["small.toml", "--root", "mnist=x"], ["--root names the data set 'mnist'"]),
        (["small.toml", "--root", "glyphs=x"], ["glyphs is part of the library and takes no root"]),
        (["small.toml", "--device", "abacus"], ["the device 'abacus' cannot be used"]),
        (
            ["wrong.toml"],
            ["wrong.toml: train[0].stepps: unknown key; did you mean 'steps'?"],
        ),
    ],
)
def test_a_wrong_command_is_one_line(call, tmp_path, arguments, words):
    written(tmp_path)
    written(tmp_path, SMALL.replace("\nsteps =", "\nstepps ="), "wrong.toml")
    refused(call(*arguments), *words)
    assert not (tmp_path / "benchmarks" / "results" / "runs").exists()


def test_what_fails_makes_the_exit_code(call, tmp_path):
    path = written(tmp_path, SMALL.replace("seeds = [0, 1]", "lr = 1e30"))
    code, _, err = call(path, "--keep-going")
    assert code == 2
    assert "warning: training proto, seed 0: " in err
    assert (
        err.splitlines()[-1]
        == "error: 1 specs, trainings or experiments failed; the others are done"
    )


def process(folder, *arguments):
    code = "from graphfew.cli import app; app()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "bench", *arguments],
        cwd=folder,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no such signals")
def test_an_interrupt_says_how_to_go_on_and_two_at_once_are_refused(tmp_path):
    written(tmp_path, LONG)
    running = process(tmp_path, "small.toml", "--out=here")
    metrics = tmp_path / "here" / "runs" / "small" / "proto-seed0" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not metrics.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    other = process(tmp_path, "small.toml", "--out=here")
    _, err = other.communicate(timeout=60)
    assert (other.returncode, err) == (
        2,
        f"error: another process ({running.pid}) is writing here/small.jsonl; wait "
        "until it ends, or give another --out\n",
    )
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "Stopped after step " in err
    assert "of 4000 of proto, seed 0; resume with: graphfew bench small.toml --out=here\n" in err
    assert "Traceback" not in err
    (session,) = json.loads((metrics.parent / "timing.json").read_text())["sessions"]
    assert 0 < session["to_step"] < 4000


def test_the_module_is_the_command(tmp_path):
    code = "import sys; sys.argv = ['run', *sys.argv[1:]]; from benchmarks.run import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "nowhere.toml"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "error: nowhere.toml does not exist; give a TOML file\n",
    )
