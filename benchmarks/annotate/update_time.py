"""Processor time from a label to the next page, at 20,000 items.

Run: OMP_NUM_THREADS=1 python -m benchmarks.annotate.update_time
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks import files
from graphfew.labeling.annotation import (
    AnnotationItems,
    AnnotationService,
    EventLog,
    LabelItems,
    describe_items,
)

OUT = Path("benchmarks/annotate/results/update_time.json")
DIM = 64


def cluster_items(n_items: int, n_classes: int) -> tuple[AnnotationItems, np.ndarray]:
    """Items of clusters that overlap, and the class of each."""
    rng = np.random.default_rng(0)
    truth = rng.integers(n_classes, size=n_items)
    x = 2 * rng.normal(size=(n_classes, DIM))[truth] + rng.normal(size=(n_items, DIM))
    names = tuple(map(str, range(n_items)))
    items = AnnotationItems("features", names, (), x.astype(np.float32), (None,) * n_items)
    return items, truth


def measure(n_items: int, n_classes: int, n_labels: int) -> list[float]:
    """Seconds of processor time for each label: write, update, choose and predict the next item."""
    items, truth = cluster_items(n_items, n_classes)
    seconds = []
    header = describe_items("clusters", items.names)
    with tempfile.TemporaryDirectory() as folder, EventLog(Path(folder, "log"), header) as log:
        service = AnnotationService(items, log)
        choice = service.next_item("page")
        for number in range(n_labels):
            if choice is None:
                break
            label = f"class {truth[choice.item]}"
            action = LabelItems(
                (items.names[choice.item],), label, number, is_check=choice.is_check
            )
            begin = time.process_time()
            service.submit("page", action)
            choice = service.next_item("page")
            snapshot = service.snapshot()
            if choice is not None:
                snapshot.predictions.likely(choice.item, 9)
            _ = snapshot.progress
            seconds.append(time.process_time() - begin)
    return seconds


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--labels", type=int, default=400)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    seconds = measure(arguments.items, arguments.classes, arguments.labels)
    milliseconds = [1000 * value for value in seconds]
    result = {
        "items": arguments.items,
        "classes": arguments.classes,
        "labels": len(seconds),
        "median_ms": round(float(np.median(milliseconds)), 1),
        "percentile_95_ms": round(float(np.percentile(milliseconds, 95)), 1),
        "largest_ms": round(max(milliseconds), 1),
        "clock": "processor time",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=1))
    files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
