"""EGNN's prediction on one complete graph of thousands of nodes: memory, seconds, and the answers of the plain path.

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
from benchmarks.scale.process import alone, peak

OUT = Path("benchmarks/scale/results/egnn.json")
WAY, SHOT, DIM, WIDTH, LAYERS = 5, 10, 64, 96, 3


def episode(nodes: int) -> gf.Episode:
    """One task of so many nodes, 50 of them labeled, all others queries."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(WAY).repeat(SHOT)
    query = torch.arange(nodes) >= len(label)
    y = torch.cat([label, torch.full((nodes - len(label),), -1)])
    return gf.Episode.single(torch.randn(nodes, DIM, generator=generator), y, query, WAY)


def model() -> gf.GraphMethod:
    """The published size, untrained."""
    encoder = gf.backbones.identity(DIM)
    return gf.create("egnn", encoder=encoder, width=WIDTH, layers=LAYERS, seed=0).eval()  # type: ignore[no-any-return]


@torch.no_grad()
def forward(nodes: int) -> dict[str, float]:
    """Seconds of one prediction, and the most memory that this process has held, in bytes."""
    asked, net = episode(nodes), model()
    before = peak()
    begin = time.perf_counter()
    net(asked)
    return {
        "nodes": nodes,
        "seconds": time.perf_counter() - begin,
        "peak_bytes": peak(),
        "bytes_before": before,
    }


def apart(nodes: int) -> dict[str, float]:
    """The largest difference in logits and in last edges to the path that sees all pairs at once."""
    asked, net = episode(nodes), model()
    with torch.no_grad():
        ours = net(asked)
        for layer in net.layers.children():
            layer.training = (
                True  # all pairs at once; the norms inside keep their running statistics
            )
        plain = net(asked)
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
        "--compare", type=int, default=300, help="nodes of the graph on which answers are compared"
    )
    parser.add_argument(
        "--forward", action="store_true", help="predict once in this process and print its figures"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.forward:
        print(json.dumps(forward(arguments.nodes)))
        return
    # First, since a child's peak counts what its parent held when it was started.
    blocked = alone("benchmarks.scale.egnn", "--forward", "--nodes", str(arguments.nodes))
    result = {
        "blocked": blocked,
        "difference_to_plain": apart(arguments.compare),
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
