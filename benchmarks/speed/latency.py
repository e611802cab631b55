"""Processor time of one episode at a time, from tensors to logits, compared with EasyFSL.

Both libraries get the same features of 5-way 5-shot tasks with 75 queries, one task per call: ours
checks and builds the episode and predicts it; EasyFSL processes the support set and predicts the
queries. Without EasyFSL only our times are measured.

Run: OMP_NUM_THREADS=1 python -m benchmarks.speed.latency --out benchmarks/speed/results/latency.json
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock

WAY, SHOT, QUERIES, DIM = 5, 5, 15, 640
# Calls per measurement, which is then long compared with the clock's resolution.
CALLS = 40
# Our method, and the module and class of EasyFSL's form of it.
METHODS: Mapping[str, tuple[str, str]] = {
    "prototypical": ("prototypical_networks", "PrototypicalNetworks"),
    "simpleshot": ("simple_shot", "SimpleShot"),
    "bd_cspn": ("bd_cspn", "BDCSPN"),
}
EASYFSL = "EasyFSL"


def task(dim: int = DIM) -> tuple[Tensor, Tensor, Tensor]:
    """Features, labels and query mask of one task, supports first."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(WAY).repeat(SHOT + QUERIES)
    query = torch.arange(len(label)) >= WAY * SHOT
    centers = torch.randn(WAY, dim, generator=generator)
    x = (centers[label] + 3 * torch.randn(len(label), dim, generator=generator)).relu()
    return x, label.masked_fill(query, -1), query


def easyfsl_class(module: str, name: str) -> Any:
    """A class of EasyFSL, or None if EasyFSL is not installed."""
    spec = importlib.util.find_spec("easyfsl")
    if spec is None or spec.submodule_search_locations is None:
        return None
    # The package's `__init__` imports torchvision, which these modules do not need.
    package = types.ModuleType("easyfsl.methods")
    package.__path__ = [f"{spec.submodule_search_locations[0]}/methods"]
    sys.modules.setdefault("easyfsl.methods", package)
    return getattr(importlib.import_module(f"easyfsl.methods.{module}"), name)


def calls(dim: int = DIM) -> dict[str, dict[str, Callable[[], Tensor]]]:
    """For each method, the call of each library, and ours on an episode that exists already."""
    x, y, query = task(dim)
    supports, labels, queries = x[~query], y[~query], x[query]
    episode = gf.Episode.single(x, y, query, way=WAY)
    result: dict[str, dict[str, Callable[[], Tensor]]] = {}
    for method, (module, name) in METHODS.items():
        model = gf.create(method, encoder=gf.backbones.identity(dim)).eval()
        result[method] = {
            "graphfew": _from_tensors(model, x, y, query),
            "graphfew, existing episode": _from_episode(model, episode),
        }
        theirs = easyfsl_class(module, name)
        if theirs is not None:
            result[method][EASYFSL] = _easyfsl(theirs().eval(), supports, labels, queries)
    return result


def _from_tensors(
    model: gf.GraphMethod, x: Tensor, y: Tensor, query: Tensor
) -> Callable[[], Tensor]:
    return lambda: model(gf.Episode.single(x, y, query, way=WAY)).logits


def _from_episode(model: gf.GraphMethod, episode: gf.Episode) -> Callable[[], Tensor]:
    return lambda: model(episode).logits


def _easyfsl(model: Any, supports: Tensor, labels: Tensor, queries: Tensor) -> Callable[[], Tensor]:
    def call() -> Tensor:
        model.process_support_set(supports, labels)
        logits: Tensor = model(queries)
        return logits

    return call


def repeated(call: Callable[[], object], n_calls: int) -> Callable[[], None]:
    """The call, several times in a row."""

    def run() -> None:
        with torch.no_grad():
            for _ in range(n_calls):
                call()

    return run


def measure(repeats: int, n_calls: int = CALLS, dim: int = DIM) -> dict[str, object]:
    """Milliseconds per episode of each library, in turn, and how many times as fast ours is."""
    rows: dict[str, object] = {}
    for method, forms in calls(dim).items():
        runs = {name: repeated(call, n_calls) for name, call in forms.items()}
        times = clock.interleaved(runs, repeats, time.process_time)
        row: dict[str, object] = {
            "milliseconds": {
                name: 1000 * value / n_calls for name, value in clock.medians(times).items()
            }
        }
        if EASYFSL in times:
            row["times_as_fast_as_easyfsl"] = clock.ratios(times, EASYFSL)
        rows[method] = row
    return {
        "methods": rows,
        "repeats": repeats,
        "calls": n_calls,
        **clock.machine(),
        "setting": {
            "way": WAY,
            "shot": SHOT,
            "queries_per_class": QUERIES,
            "dim": dim,
            "dtype": "float32",
        },
    }


def main() -> None:
    """Measure, print, and write the result beside first and then renamed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=61)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.repeats)
    print(json.dumps(result, indent=1))
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
