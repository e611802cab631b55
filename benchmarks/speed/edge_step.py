"""A training step of EGNN against the naive form of it, interleaved in one process.

Run: python -m benchmarks.speed.edge_step --out benchmarks/speed/results/edge_step.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import graphfew as gf
from benchmarks import files
from benchmarks.speed import naive

WAY, SHOT, QUERIES, TASKS, DIM, WIDTH, LAYERS = 5, 5, 1, 40, 128, 96, 3


def episode(seed: int = 0) -> tuple[gf.Episode, torch.Tensor]:
    """40 tasks, 5-way 5-shot with one query per class, of 128 features each; and the targets."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(WAY).repeat(SHOT + QUERIES)
    query = torch.arange(len(label)) >= WAY * SHOT
    y = label.masked_fill(query, -1).repeat(TASKS)
    x = torch.randn(TASKS * len(label), DIM, generator=generator)
    batch = gf.Episode(x, y, query.repeat(TASKS), (len(label),) * TASKS, (WAY,) * TASKS)
    return batch, label[query].repeat(TASKS)


def library_step(model: gf.GraphMethod, batch: gf.Episode, target: torch.Tensor) -> Callable[[], None]:
    """Forward, edge loss, backward and an Adam step of the library's model."""
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        gf.edge_loss(model(batch), target).backward()
        optimizer.step()

    return step


def naive_step(model: naive.NaiveEgnn, batch: gf.Episode, target: torch.Tensor) -> Callable[[], None]:
    """The same of the naive model; its inputs are laid out beforehand."""
    optimizer = torch.optim.Adam(model.parameters())
    nodes, edges = naive.tensors(batch)
    nodes = nodes.contiguous()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        naive.edge_loss(model(nodes, edges), batch, target).backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def measure(repeats: int) -> dict[str, object]:
    """Both steps in turn, after two of each to warm up."""
    batch, target = episode()
    model = gf.create("egnn", encoder=gf.backbones.identity(DIM), layers=LAYERS, width=WIDTH)
    slow = naive_step(naive.from_model(model), batch, target)
    steps = {"naive": slow, "graphfew": library_step(model, batch, target)}
    for step in [*steps.values()] * 2:
        step()
    times = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            times[name].append(seconds(step))
    ratios = [other / own for other, own in zip(times["naive"], times["graphfew"], strict=True)]
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {"ratio": medians["naive"] / medians["graphfew"], "ratios": ratios, "median_seconds": medians,
            "repeats": repeats, "threads": torch.get_num_threads(), "torch": torch.__version__,
            "processor": platform.machine(), "malloc": os.environ.get("MALLOC_MMAP_MAX_", "default"),
            "setting": {"way": WAY, "shot": SHOT, "queries_per_class": QUERIES, "tasks": TASKS, "dim": DIM,
                        "width": WIDTH, "layers": LAYERS, "dtype": "float32"}}


def main() -> None:
    """Measure, print, and write the result beside first and then renamed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.repeats)
    print(json.dumps(result, indent=1))
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
