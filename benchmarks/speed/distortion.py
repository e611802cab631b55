"""Seconds of the image distortion model on a 20-way one-shot task of Omniglot's size.

Run: OMP_NUM_THREADS=1 python -m benchmarks.speed.distortion --out benchmarks/speed/results/distortion.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import files
from benchmarks.speed import clock
from graphfew.nn import distortion_table

WAY, CHANNELS, SIDE, WINDOW, PATCH = 20, 9, 28, 3, 3
LIMIT = 0.3  # seconds on two cores; one core suffices
FEW = 4  # queries and supports of the slow implementation


def distort(a: Tensor, b: Tensor) -> Tensor:
    """The distances by the library."""
    return distortion_table(a, b, WINDOW, PATCH)


def patches_of_pairs(a: Tensor, b: Tensor) -> Tensor:
    """The same distances by unfolded patches of every pair, one displacement after the other."""
    height, width = a.shape[2:]
    second = F.pad(b, (WINDOW + PATCH // 2,) * 4)
    # Pixels outside an image never match.
    inside = F.pad(torch.ones(height, width), (WINDOW,) * 4)
    in_b = torch.full((len(a), len(b), height, width), torch.inf)
    in_a = F.pad(in_b, (WINDOW,) * 4, value=torch.inf)
    for dy in range(2 * WINDOW + 1):
        for dx in range(2 * WINDOW + 1):
            rows, columns = slice(dy, dy + height), slice(dx, dx + width)
            wide = slice(dy, dy + height + PATCH - 1), slice(dx, dx + width + PATCH - 1)
            shifted = F.unfold(second[(..., *wide)], PATCH)
            difference = F.unfold(a, PATCH, padding=PATCH // 2)[:, None] - shifted
            costs = difference.square().sum(2).view(len(a), len(b), height, width)
            costs = costs.masked_fill(inside[rows, columns] == 0, torch.inf)
            torch.minimum(in_b, costs, out=in_b)
            part = in_a[..., rows, columns]
            torch.minimum(part, costs, out=part)
    interior = in_a[..., WINDOW:-WINDOW, WINDOW:-WINDOW]
    return (in_b.flatten(2).sum(2) + interior.flatten(2).sum(2)) / 2


def measure(repeats: int) -> dict[str, object]:
    """Time both implementations in turn, and compare their values."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.rand(WAY, CHANNELS, SIDE, SIDE, generator=generator)
    supports = torch.rand(WAY, CHANNELS, SIDE, SIDE, generator=generator)
    with torch.no_grad():
        table = distort(queries, supports)[:FEW, :FEW]
        slow = patches_of_pairs(queries[:FEW], supports[:FEW])
        times = clock.interleaved({"wall": partial(distort, queries, supports)}, repeats)
        begin = time.process_time()
        for _ in range(repeats):
            distort(queries, supports)
        processor = (time.process_time() - begin) / repeats
        slow_seconds = clock.seconds(partial(patches_of_pairs, queries[:FEW], supports[:FEW]))
    seconds = statistics.median(times["wall"])
    return {
        "task": f"{WAY}-way, {WAY} queries, {CHANNELS}x{SIDE}x{SIDE}, window {WINDOW}, patch {PATCH}",
        "seconds": seconds,
        "fastest_seconds": min(times["wall"]),
        "processor_seconds": processor,
        "seconds_of_unfolded_patches": {"pairs": FEW * FEW, "seconds": slow_seconds},
        "limit_seconds": LIMIT,
        "within_limit": processor <= LIMIT,
        "largest_difference": float((table - slow).abs().max() / table.max()),
        "machine": clock.machine(),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    content = measure(arguments.repeats)
    print(content)
    if arguments.out is not None:
        files.write(arguments.out, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
