"""What the processes of `test_cache_processes.py` run."""

import os
import time
from pathlib import Path

import numpy as np

from graphfew.benchmark.lock import results_lock
from graphfew.data.io import cache
from graphfew.data.io.download import download
from graphfew.encoders.item_encoder import ItemEncoder


def run(connection, folder, function, *arguments):
    """Send what a function returns, or its error, with a cache folder of this process's own."""
    os.environ["GRAPHFEW_CACHE"] = str(folder)
    # Downloads come from this machine.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    try:
        connection.send(function(connection, *arguments))
    except Exception as error:
        connection.send(error)
        raise SystemExit(1) from error


def build_repeatedly(connection, count):
    """Load or build the same arrays several times; return how many were right."""
    del connection
    expected = np.arange(200_000) % 251

    def build():
        time.sleep(0.3)
        return {"a": expected, "b": np.array(["x", "y"])}

    n_right = 0
    for _ in range(count):
        found = cache.load_or_build("key", ("a", "b"), build)
        n_right += np.array_equal(found["a"], expected) and found["b"].tolist() == ["x", "y"]
    return n_right


def write_large_file(connection):
    """Write a file that takes so long that the process can be killed meanwhile."""
    del connection
    noise = np.random.default_rng(0).random(30_000_000)
    cache.load_or_build("key", ("a",), lambda: {"a": noise})


def download_file(connection, url, checksum):
    """Return the size of the downloaded file."""
    del connection
    return len(download(url, checksum, False).read_bytes())


def hold_lock(connection, path):
    """Hold the lock of a results file until the process is killed."""
    with results_lock(Path(path)):
        connection.send("held")
        time.sleep(60)


def encode_repeatedly(connection, seed, limit_mb):
    """Encode texts that others encode, too, while all remove each other's files; count what is right."""
    del connection
    os.environ["GRAPHFEW_EMBEDDINGS_MB"] = limit_mb

    def text_lengths(texts):
        return np.array([[len(text), 1.0] for text in texts])

    encoder = ItemEncoder("lengths", ("text",), lambda items: text_lengths, 4, "lengths-1")
    fitted = encoder.fit(["a"])
    generator = np.random.default_rng(seed)
    n_right = 0
    for _ in range(20):
        texts = ["x" * int(n) for n in generator.integers(1, 60, 8)]
        n_right += fitted.encode(texts)[:, 0].tolist() == [len(text) for text in texts]
    return n_right
