"""Several processes with one cache folder at once: whole files, right answers, nothing left of one that was killed."""

import functools
import hashlib
import http.server
import multiprocessing
import os
import sys
import threading
import time
from multiprocessing import forkserver

import cache_processes
import numpy as np
import pytest

from graphfew.data.io import cache

# A server process imports graphfew once; the processes of the tests are forks of it.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([cache_processes.__name__])


@pytest.fixture(scope="module", autouse=True)
def server():
    """Start the server process, which does not take this process's module search path over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The cache folder of this process; those of the others are arguments."""
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def start(folder, function, *arguments):
    """Start a process that runs a function; return it and the end of a pipe with its results."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(
        target=cache_processes.run, args=(theirs, folder, function, *arguments), daemon=True
    )
    process.start()
    theirs.close()
    return process, ours


def results(processes):
    """The result of each process; all of them must succeed."""
    received = [receive(connection) for _, connection in processes]
    for process, _ in processes:
        process.join(300)
    assert [process.exitcode for process, _ in processes] == [0] * len(processes), received
    return received


def receive(connection):
    """The next result of a process."""
    assert connection.poll(300)
    return connection.recv()


def kill(process):
    process.kill()
    process.join()


@pytest.mark.parametrize("state", ["no folder", "a half file", "a file of another content"])
def test_four_processes_build_and_read_one_file(folder, state):
    file = folder / f"key-v{cache.FORMAT_VERSION}.npz"
    if state != "no folder":
        folder.mkdir()
        np.savez(file, a=np.arange(9))
        if state == "a half file":
            file.write_bytes(file.read_bytes()[:100])
    processes = [start(folder, cache_processes.build_repeatedly, 3) for _ in range(4)]
    assert results(processes) == [3] * 4
    assert [path.name for path in folder.iterdir()] == [file.name]


def test_the_partial_file_of_a_killed_process_is_harmless_and_removed_later(folder):
    killed, _ = start(folder, cache_processes.write_large_file)
    deadline = time.monotonic() + 120
    while (
        not list(folder.glob(".key-*.partial"))
        and killed.is_alive()
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    kill(killed)
    (rest,) = folder.glob(".key-*.partial")
    assert not (folder / f"key-v{cache.FORMAT_VERSION}.npz").exists()
    build = functools.partial(dict, a=np.ones(3))
    assert cache.load_or_build("key", ("a",), build)["a"].sum() == 3
    assert rest.exists()  # another process may still be at it
    os.utime(rest, (0, 0))
    (folder / f"key-v{cache.FORMAT_VERSION}.npz").unlink()
    cache.load_or_build("key", ("a",), build)
    assert [path.name for path in folder.iterdir()] == [f"key-v{cache.FORMAT_VERSION}.npz"]


@pytest.mark.parametrize("limit_mb", ["0.01", "100"])
def test_three_processes_share_features(folder, limit_mb):
    processes = [
        start(folder, cache_processes.encode_repeatedly, seed, limit_mb) for seed in range(3)
    ]
    assert results(processes) == [20] * 3
    files = list((folder / "embeddings").glob("*/*"))
    assert sum(file.stat().st_size for file in files) <= float(limit_mb) * 1e6


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
    processes = [start(folder, cache_processes.download_file, *served) for _ in range(4)]
    assert results(processes) == [300_000] * 4
    assert [path.name for path in folder.iterdir()] == ["archive.zip"]


def test_a_file_with_another_checksum_is_rejected_and_removed(folder, served):
    checksum = "sha256:" + "0" * 64
    process, connection = start(folder, cache_processes.download_file, served[0], checksum)
    assert isinstance(receive(connection), ValueError)
    process.join(120)
    assert process.exitcode == 1
    assert list(folder.iterdir()) == []


def test_a_benchmark_lock_is_exclusive_and_released_when_its_process_is_killed(folder, tmp_path):
    path = tmp_path / "small.jsonl"
    first, connection = start(folder, cache_processes.hold_lock, path)
    assert receive(connection) == "held"
    second, connection = start(folder, cache_processes.hold_lock, path)
    error = receive(connection)
    assert f"another process ({first.pid}) is writing" in str(error)
    second.join(120)
    assert second.exitcode == 1
    kill(first)
    third, connection = start(folder, cache_processes.hold_lock, path)
    assert receive(connection) == "held"
    kill(third)
