"""Seconds of `FewShotClassifier.fit` and of predictions after it, on many items.

Run: OMP_NUM_THREADS=2 python -m benchmarks.speed.fitted --out benchmarks/speed/results/fitted.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock

DIM, NOISE, QUERIES = 128, 1.5, 2000
USING_UNLABELED = ("auto", "pool_prototypes", "label_propagation", "label_spreading", "poisson")
LABELED_ONLY = ("prototypical", "simpleshot", "nearest_neighbor", "matching")
# Name, items, classes, methods.
SETTINGS = (
    ("20,000 labeled items of 150 classes", 20_000, 150, LABELED_ONLY),
    ("10,000 items of 1,000 classes, one label each", 10_000, 1_000, ("auto", "pool_prototypes")),
    ("20,000 items of 150 classes, one label each", 20_000, 150, USING_UNLABELED),
)
Array = NDArray[np.float64]


def data(n_items: int, n_classes: int, *, labeled: bool) -> tuple[Array, NDArray[np.int64], Array]:
    """Items around class centers in float64, their labels, and queries."""
    generator = np.random.default_rng(0)
    centers = generator.standard_normal((n_classes, DIM))
    y = np.arange(n_items + QUERIES) % n_classes
    x = centers[y] + NOISE * generator.standard_normal((len(y), DIM))
    is_labeled = np.arange(n_items) < (n_items if labeled else n_classes)
    return x[:n_items], np.where(is_labeled, y[:n_items], -1), x[n_items:]


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The least of several times, which other load affects least."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def measure(method: str, n_items: int, n_classes: int, repeats: int) -> dict[str, float]:
    """Fit once, then predict one item and all queries."""
    x, y, queries = data(n_items, n_classes, labeled=method in LABELED_ONLY)
    classifier = gf.FewShotClassifier(method)
    fit = seconds(lambda: classifier.fit(x, y), 1)
    return {
        "fit_seconds": fit,
        "one_item_seconds": seconds(lambda: classifier.predict(queries[:1]), 5 * repeats),
        "all_queries_seconds": seconds(lambda: classifier.predict(queries), repeats),
    }


def record(rows: list[dict[str, object]], repeats: int) -> dict[str, object]:
    """The rows with what they were measured on."""
    return {
        "command": "python -m benchmarks.speed.fitted",
        "rows": rows,
        "repeats": repeats,
        "setting": {"dim": DIM, "noise": NOISE, "queries": QUERIES, "dtype": "float64"},
        **clock.machine(),
    }


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    for name, n_items, n_classes, methods in SETTINGS:
        for method in methods:
            row = measure(method, n_items, n_classes, arguments.repeats)
            rows.append({"setting": name, "method": method, **row})
            print(json.dumps(rows[-1]), flush=True)
            if arguments.out:
                # After every method, so that an interrupted run keeps what it has measured.
                files.write(
                    arguments.out, json.dumps(record(rows, arguments.repeats), indent=1) + "\n"
                )


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
