"""Seconds and memory of `FewShotClassifier.fit`, and of predictions after it, on many items.

Run: OMP_NUM_THREADS=2 python -m benchmarks.speed.fitted --out benchmarks/speed/results/fitted.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import graphfew as gf
from benchmarks import files
from benchmarks.scale.process import peak_memory
from benchmarks.speed import clock

NOISE, QUERIES, THREADS = 1.5, 2000, 2
USING_UNLABELED = ("auto", "pool_prototypes", "label_propagation", "label_spreading", "poisson")
LABELED_ONLY = ("prototypical", "simpleshot", "nearest_neighbor", "matching")
Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Setting:
    """Made-up items in clusters of equal size, one for each class.

    Attributes:
        n_items: number of items of the fit.
        n_classes: number of classes.
        shots: labels per class; None if all items are labeled.
        dim: number of features.
        dtype: of the features.
    """

    n_items: int
    n_classes: int
    shots: int | None = None
    dim: int = 128
    dtype: str = "float64"

    def __str__(self) -> str:
        labeled = "labeled items" if self.shots is None else "items"
        text = f"{self.n_items:,} {labeled} of {self.n_classes:,} classes"
        if self.shots is not None:
            text += f", {self.shots} label{'s' if self.shots > 1 else ''} each"
        return f"{text}, {self.dim} features in {self.dtype}"


CASES = (
    (Setting(20_000, 150), LABELED_ONLY),
    (Setting(10_000, 1_000, shots=1), ("auto", "pool_prototypes")),
    (Setting(20_000, 150, shots=1), USING_UNLABELED),
    (Setting(10_000, 150, shots=2, dim=384, dtype="float32"), ("auto",)),
    (Setting(100_000, 150, shots=2, dim=384, dtype="float32"), ("auto",)),
)


def data(setting: Setting) -> tuple[Array, NDArray[np.int64], Array]:
    """Items around class centers, their labels, and queries."""
    generator = np.random.default_rng(0)
    centers = generator.standard_normal((setting.n_classes, setting.dim)).astype(setting.dtype)
    y = np.arange(setting.n_items + QUERIES) % setting.n_classes
    x = generator.standard_normal((len(y), setting.dim), dtype=setting.dtype)
    x *= NOISE
    # Class by class: all centers of all items at once would be as large as the items.
    for c in range(setting.n_classes):
        x[c :: setting.n_classes] += centers[c]
    n_labeled = setting.n_items if setting.shots is None else setting.n_classes * setting.shots
    is_labeled = np.arange(setting.n_items) < n_labeled
    labels = np.where(is_labeled, y[: setting.n_items], -1)
    return x[: setting.n_items], labels, x[setting.n_items :]


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The least of several times, which other load affects least."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def measure(method: str, setting: Setting, repeats: int) -> dict[str, float]:
    """Fit once, then predict one item and all queries."""
    torch.set_num_threads(THREADS)
    x, y, queries = data(setting)
    before = peak_memory() / 2**30
    classifier = gf.FewShotClassifier(method)
    fit = seconds(lambda: classifier.fit(x, y), 1)
    return {
        "fit_seconds": fit,
        "one_item_seconds": seconds(lambda: classifier.predict(queries[:1]), 5 * repeats),
        "all_queries_seconds": seconds(lambda: classifier.predict(queries), repeats),
        "gigabytes_before": before,
        "peak_gigabytes": peak_memory() / 2**30,
    }


def record(rows: list[dict[str, object]], repeats: int) -> dict[str, object]:
    """The rows with what they were measured on."""
    return {
        "command": "python -m benchmarks.speed.fitted",
        "rows": rows,
        "repeats": repeats,
        "setting": {"noise": NOISE, "queries": QUERIES},
        **clock.machine(),
        "threads": THREADS,
    }


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    context = multiprocessing.get_context("spawn")
    for setting, methods in CASES:
        for method in methods:
            # A process of its own, whose peak memory is that of this fit.
            with ProcessPoolExecutor(1, context) as pool:
                row = pool.submit(measure, method, setting, arguments.repeats).result()
            rows.append({"setting": str(setting), "method": method, **row})
            print(json.dumps(rows[-1]), flush=True)
            if arguments.out:
                # After every method, so that an interrupted run keeps what it has measured.
                content = record(rows, arguments.repeats)
                files.write(arguments.out, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
