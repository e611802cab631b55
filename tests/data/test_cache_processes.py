"""Several processes with one cache folder at once: whole files, right answers, nothing left of one that was killed."""

import functools
import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from graphfew.data.io import cache

CACHED = """
import sys, time
import numpy as np
from graphfew.data.io import cache
def build():
    time.sleep(0.3)
    return {"a": np.arange(200_000) % 251, "b": np.array(["x", "y"])}
for _ in range(int(sys.argv[1])):
    found = cache.load_or_build("key", ("a", "b"), build)
    assert found["a"].sum() == (np.arange(200_000) % 251).sum() and found["b"].tolist() == ["x", "y"]
print("right")
"""
# Writes without end, so that it is killed while it does.
WRITING = """
import numpy as np
from graphfew.data.io import cache
noise = np.random.default_rng(0).random(30_000_000)
cache.load_or_build("key", ("a",), lambda: {"a": noise})
"""
FETCHED = """
import sys
from pathlib import Path
from graphfew.data.io.download import download
print(len(download(sys.argv[1], sys.argv[2], False).read_bytes()))
"""
LOCKED = """
import sys, time
from pathlib import Path
from graphfew.benchmark.lock import results_lock
with results_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    return tmp_path / "cache"


def started(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )


def ended(processes):
    """What each of them printed; all have to have gone well."""
    told = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), [
        err for _, err in told
    ]
    return [out.strip() for out, _ in told]


@pytest.mark.parametrize("state", ["no folder", "a half file", "a file of another content"])
def test_four_processes_build_and_read_one_file(folder, state):
    file = folder / f"key-v{cache.FORMAT_VERSION}.npz"
    if state != "no folder":
        folder.mkdir()
        np.savez(file, a=np.arange(9))
        if state == "a half file":
            file.write_bytes(file.read_bytes()[:100])
    assert ended([started(CACHED, 3) for _ in range(4)]) == ["right"] * 4
    assert [path.name for path in folder.iterdir()] == [file.name]


def test_the_partial_file_of_a_killed_process_is_harmless_and_removed_later(folder):
    killed = started(WRITING)
    deadline = time.monotonic() + 120
    while (
        not list(folder.glob(".key-*.partial"))
        and killed.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (rest,) = folder.glob(".key-*.partial")
    assert not (folder / f"key-v{cache.FORMAT_VERSION}.npz").exists()
    build = functools.partial(dict, a=np.ones(3))
    assert cache.load_or_build("key", ("a",), build)["a"].sum() == 3
    assert rest.exists()  # another process may still be at it
    os.utime(rest, (0, 0))
    (folder / f"key-v{cache.FORMAT_VERSION}.npz").unlink()
    cache.load_or_build("key", ("a",), build)
    assert [path.name for path in folder.iterdir()] == [f"key-v{cache.FORMAT_VERSION}.npz"]


@pytest.fixture
def served(tmp_path):
    """The address of a file, and its checksum."""
    content = np.random.default_rng(0).bytes(300_000)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "archive.zip").write_bytes(content)
    handler = functools.partial(_Quiet, directory=str(tmp_path / "web"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield (
        f"http://127.0.0.1:{server.server_address[1]}/archive.zip",
        f"sha256:{hashlib.sha256(content).hexdigest()}",
    )
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *arguments):
        del format, arguments


@pytest.mark.parametrize("half", [False, True])
def test_four_processes_download_one_file(folder, served, half):
    if half:
        folder.mkdir()
        (folder / "archive.zip").write_bytes(b"half")
    assert ended([started(FETCHED, *served) for _ in range(4)]) == ["300000"] * 4
    assert [path.name for path in folder.iterdir()] == ["archive.zip"]


def test_a_file_with_another_checksum_is_rejected_and_removed(folder, served):
    process = started(FETCHED, served[0], "sha256:" + "0" * 64)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "ValueError" in err
    assert list(folder.iterdir()) == []


def test_a_benchmark_lock_is_exclusive_and_released_when_its_process_is_killed(folder, tmp_path):
    first = started(LOCKED, tmp_path / "small.jsonl")
    assert first.stdout.readline() == "held\n"
    _, err = (second := started(LOCKED, tmp_path / "small.jsonl")).communicate(timeout=120)
    assert second.returncode == 1
    assert f"another process ({first.pid}) is writing" in err
    first.send_signal(signal.SIGKILL)
    first.communicate()
    third = started(LOCKED, tmp_path / "small.jsonl")
    assert third.stdout.readline() == "held\n"
    third.kill()
    third.communicate()
