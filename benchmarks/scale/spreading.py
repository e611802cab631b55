"""Label spreading on nearest-neighbor graphs of 1,000 to 100,000 nodes: seconds and memory.

Run: OMP_NUM_THREADS=1 python -m benchmarks.scale.spreading
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import torch

import graphfew as gf
from benchmarks import files
from benchmarks.scale.process import peak_memory, run_in_subprocess

OUT = Path("benchmarks/scale/results/spreading.json")
CLASSES, DIM, K, ALPHA, NOISE = 150, 384, 10, 0.8, 2.0
SIZES = (1_000, 10_000, 100_000)


def features(nodes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit-length features `[nodes, 384]` around 150 class centers, and their classes."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.nn.functional.normalize(torch.randn(CLASSES, DIM, generator=generator), dim=1)
    y = torch.arange(nodes) % CLASSES
    x = centers[y].add_(torch.randn(nodes, DIM, generator=generator), alpha=NOISE / DIM**0.5)
    return torch.nn.functional.normalize(x, dim=1), y


@torch.no_grad()
def spread(nodes: int) -> dict[str, float]:
    """One label per class: seconds of search and spreading, accuracy on the others, memory in bytes."""
    x, y = features(nodes)
    before = peak_memory()
    begin = time.perf_counter()
    topology, weights = gf.propagation.sparse_cosine_power(x, K)
    searched = time.perf_counter()
    label = torch.zeros(nodes, CLASSES)
    label[torch.arange(CLASSES), y[:CLASSES]] = 1
    mass = gf.propagation.spread_labels(topology, weights, label, ALPHA)
    done = time.perf_counter()
    right = (mass.argmax(1) == y)[CLASSES:].float().mean()
    return {
        "nodes": nodes,
        "edges": len(weights),
        "search_seconds": searched - begin,
        "spread_seconds": done - searched,
        "accuracy": float(right),
        "peak_bytes": peak_memory(),
        "bytes_before": before,
    }


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--nodes", type=int, help="spread once in this process and print the result"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if given.nodes:
        print(json.dumps(spread(given.nodes)))
        return
    rows = []
    for nodes in SIZES:
        rows.append(run_in_subprocess("benchmarks.scale.spreading", "--nodes", str(nodes)))
        print(json.dumps(rows[-1]), flush=True)
    result = {
        "command": "python -m benchmarks.scale.spreading",
        "rows": rows,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor": platform.machine(),
        "setting": {
            "classes": CLASSES,
            "dim": DIM,
            "k": K,
            "alpha": ALPHA,
            "noise": NOISE,
            "dtype": "float32",
        },
    }
    files.write(given.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
