"""EGNN on one complete graph of thousands of nodes: memory, seconds, and agreement with the plain path.

Run: OMP_NUM_THREADS=1 python -m benchmarks.scale.egnn
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

OUT = Path("benchmarks/scale/results/egnn.json")
WAY, SHOT, DIM, WIDTH, LAYERS = 5, 10, 64, 96, 3


def episode(nodes: int) -> gf.Episode:
    """One task with 50 labeled nodes; all others are queries."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(WAY).repeat(SHOT)
    query = torch.arange(nodes) >= len(label)
    y = torch.cat([label, torch.full((nodes - len(label),), -1)])
    return gf.Episode.single(torch.randn(nodes, DIM, generator=generator), y, query, WAY)


def model() -> gf.GraphMethod:
    """An untrained EGNN of the published size."""
    encoder = gf.backbones.identity(DIM)
    return gf.create("egnn", encoder=encoder, width=WIDTH, layers=LAYERS, seed=0).eval()  # type: ignore[no-any-return]


@torch.no_grad()
def forward(nodes: int) -> dict[str, float]:
    """Seconds of one prediction, and the peak memory of this process in bytes."""
    task, net = episode(nodes), model()
    before = peak_memory()
    begin = time.perf_counter()
    net(task)
    return {
        "nodes": nodes,
        "seconds": time.perf_counter() - begin,
        "peak_bytes": peak_memory(),
        "bytes_before": before,
    }


def difference_to_plain(nodes: int) -> dict[str, float]:
    """Largest difference in logits and final edges from the path without chunks."""
    task, net = episode(nodes), model()
    with torch.no_grad():
        ours = net(task)
        for layer in net.layers.children():
            layer.training = True  # disables chunks; the norms inside keep their running statistics
        plain = net(task)
    return {
        "nodes": nodes,
        "logits": float((ours.logits - plain.logits).abs().max()),
        "edges": float((ours.graphs[-1].edges - plain.graphs[-1].edges).abs().max()),
    }


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=2000)
    parser.add_argument(
        "--compare",
        type=int,
        default=300,
        help="nodes of the graph on which both paths are compared",
    )
    parser.add_argument(
        "--forward", action="store_true", help="predict once in this process and print the result"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.forward:
        print(json.dumps(forward(arguments.nodes)))
        return
    # First, because the peak of a child process includes the memory of its parent at the start.
    blocked = run_in_subprocess(
        "benchmarks.scale.egnn", "--forward", "--nodes", str(arguments.nodes)
    )
    result = {
        "blocked": blocked,
        "difference_to_plain": difference_to_plain(arguments.compare),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor": platform.machine(),
        "setting": {
            "way": WAY,
            "shot": SHOT,
            "dim": DIM,
            "width": WIDTH,
            "layers": LAYERS,
            "dtype": "float32",
        },
    }
    print(json.dumps(result, indent=1))
    files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
