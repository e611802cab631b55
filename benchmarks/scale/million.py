"""One million items through `FewShotClassifier`: seconds, peak memory and accuracy of three methods.

Run: OMP_NUM_THREADS=2 python -m benchmarks.scale.million
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import graphfew as gf
from benchmarks import files
from benchmarks.scale.features import few_labels, made_items
from benchmarks.scale.process import peak_memory, run_in_subprocess

OUT = Path("benchmarks/scale/results/million.json")
METHODS = ("auto", "poisson", "label_spreading")


def fit(method: str, n_items: int, folder: Path) -> dict[str, Any]:
    """Fit in this process, to memory-mapped features: seconds, bytes, and accuracy."""
    x, y = _items(n_items, folder)
    given = few_labels(y)
    before, wall, processor = peak_memory(), time.perf_counter(), time.process_time()
    classifier = gf.FewShotClassifier(method).fit(x, given)
    row = {
        "method": method,
        "items": n_items,
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "peak_bytes": peak_memory(),
        "bytes_before": before,
        "search": classifier.neighbor_search_,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
    }
    is_unlabeled = given < 0
    correct = classifier.transduction_[is_unlabeled] == y[is_unlabeled]
    return {**row, "accuracy": float(correct.mean())}


def _items(n_items: int, folder: Path) -> tuple[Any, Any]:
    """Features as a memory-mapped file, which is made once, and classes."""
    paths = [folder / f"{name}-{n_items}.npy" for name in ("features", "classes")]
    if not paths[1].exists():
        folder.mkdir(parents=True, exist_ok=True)
        for path, array in zip(paths, made_items(n_items), strict=True):
            np.save(path, array)
    return np.load(paths[0], mmap_mode="r"), np.load(paths[1])


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/graphfew-scale"))
    parser.add_argument("--method", choices=METHODS, help="fit once in this process and print")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.method:
        print(json.dumps(fit(arguments.method, arguments.items, arguments.folder)))
        return
    _items(arguments.items, arguments.folder)
    rows = []
    for method in METHODS:
        options = ("--items", str(arguments.items), "--folder", str(arguments.folder))
        row = run_in_subprocess("benchmarks.scale.million", "--method", method, *options)
        rows.append(row)
        print(json.dumps(row), flush=True)
    result = {"command": "python -m benchmarks.scale.million", "rows": rows}
    files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
