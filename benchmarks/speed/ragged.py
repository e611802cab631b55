"""Sums and maxima over runs of rows, as ragged tasks need them: torch-scatter's, torch-geometric's, torch's own.

Run: python -m benchmarks.speed.ragged --out benchmarks/speed/results/ragged.json
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Mapping
from pathlib import Path

import torch
import torch_scatter
from torch import Tensor
from torch_geometric.utils import scatter

from benchmarks import files
from benchmarks.speed import clock

# Runs, rows of a run at the most, channels: edges of small graphs, of large ones, messages, and few wide rows.
CASES = {
    "2,000 nodes of up to 30 edges": (2000, 30, 2),
    "400 nodes of up to 400 edges": (400, 400, 2),
    "2,000 nodes of up to 30 messages of 96": (2000, 30, 96),
    "64 classes of up to 10 items of 640": (64, 10, 640),
}


def sums(rows: Tensor, ptr: Tensor, index: Tensor) -> Mapping[str, clock.Call]:
    """Ways to sum each run."""
    runs = len(ptr) - 1
    return {
        "torch-scatter": functools.partial(torch_scatter.segment_csr, rows, ptr, reduce="sum"),
        "torch-geometric": functools.partial(scatter, rows, index, 0, runs, "sum"),
        "torch index_add": lambda: rows.new_zeros(runs, rows.shape[1]).index_add_(0, index, rows),
        "torch segment_reduce": functools.partial(
            torch.segment_reduce, rows, "sum", offsets=ptr, axis=0
        ),
    }


def maxima(rows: Tensor, ptr: Tensor, index: Tensor) -> Mapping[str, clock.Call]:
    """Ways to take each run's maximum."""
    runs = len(ptr) - 1
    spread = index[:, None].expand_as(rows)
    return {
        "torch-scatter": functools.partial(torch_scatter.segment_csr, rows, ptr, reduce="max"),
        "torch-geometric": functools.partial(scatter, rows, index, 0, runs, "max"),
        "torch scatter_reduce": lambda: rows.new_zeros(runs, rows.shape[1]).scatter_reduce_(
            0, spread, rows, "amax", include_self=False
        ),
        "torch segment_reduce": functools.partial(
            torch.segment_reduce, rows, "max", offsets=ptr, axis=0
        ),
    }


def case(runs: int, most: int, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, where runs begin and end, and each row's run."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(1, most + 1, (runs,), generator=generator)
    rows = torch.randn(int(counts.sum()), channels, generator=generator)
    return rows, torch.cat([counts.new_zeros(1), counts.cumsum(0)]), torch.repeat_interleave(counts)


def measure(repeats: int) -> dict[str, object]:
    """Microseconds of every way, after a check that they agree."""
    out: dict[str, object] = {}
    for name, shape in CASES.items():
        given = case(*shape)
        for kind, ways in (("sum", sums(*given)), ("maximum", maxima(*given))):
            first, *rest = (call() for call in ways.values())
            if not all(torch.allclose(first, other, rtol=1e-4, atol=1e-4) for other in rest):  # type: ignore[arg-type]
                raise SystemExit(f"{kind} of {name}: the ways do not agree")
            calls = {way: functools.partial(_often, call) for way, call in ways.items()}
            times = clock.medians(clock.interleaved(calls, repeats))
            out[f"{kind}, {name}"] = {way: 1e6 * seconds / OFTEN for way, seconds in times.items()}
    return out


OFTEN = 20


def _often(call: clock.Call) -> None:
    for _ in range(OFTEN):
        call()


def main() -> None:
    """Measure, print, and write the result beside first and then renamed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result = {
        "microseconds": measure(arguments.repeats),
        "repeats": arguments.repeats,
        **clock.machine(),
    }
    print(json.dumps(result, indent=1))
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
