"""Interrupted processes save, print how to continue, and resume exactly."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from small_training import SMALL_EGNN
from typer.testing import CliRunner

from graphfew.cli import app
from graphfew.cli.error_handling import interruptible

TRAIN = [
    *SMALL_EGNN,
    *("--set", "p=0.3", "--steps", "200", "--validate-every", "20", "--save-every", "999"),
]
SAME = ("metrics.jsonl", "best.safetensors", "last.safetensors")


def start_process(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from graphfew.cli import app; app()", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def interrupt(out, number):
    """Send a signal to a run after its first validation."""
    running = start_process(*TRAIN, "--out", out)
    deadline = time.monotonic() + 300
    while (
        not (out / "metrics.jsonl").exists()
        and running.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    running.send_signal(number)
    return running.communicate(timeout=300), running.returncode


def run_to_the_end(*arguments):
    """Run a command in this process, which no signal interrupts."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, one_thread):
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    run_to_the_end(*TRAIN, "--out", out)
    return out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_process_saves_and_resumes_exactly(uninterrupted, tmp_path, number, one_thread):
    (_, err), code = interrupt(tmp_path / "run", number)
    assert code == 130, err
    assert "Stopped after step " in err
    assert f"graphfew train --resume --out {tmp_path / 'run'}" in err
    assert "Traceback" not in err
    assert (tmp_path / "run" / "last.safetensors").exists()
    run_to_the_end("train", "--resume", "--out", tmp_path / "run")
    for name in SAME:
        assert (tmp_path / "run" / name).read_bytes() == (uninterrupted / name).read_bytes()
    first, second = json.loads((tmp_path / "run" / "timing.json").read_text())["sessions"]
    assert 0 < first["to_step"] == second["from_step"] < 200


def test_second_interrupt_acts_immediately(tmp_path):
    code = (
        "import os, signal, time\nfrom graphfew.cli.error_handling import interruptible\n"
        "with interruptible() as stop:\n    os.kill(os.getpid(), signal.SIGINT); assert stop()\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGINT); time.sleep(30)\n"
        "    except KeyboardInterrupt:\n        print('at once')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "at once\n"


def test_signal_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with interruptible() as stop:
        assert not stop()
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
