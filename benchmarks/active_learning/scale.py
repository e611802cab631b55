"""Processor time and memory of suggestions for 100,000 items: `python -m benchmarks.active_learning.scale`."""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from benchmarks import files
from benchmarks.scale.process import peak_memory
from graphfew.labeling import STRATEGIES, build_item_graph, suggest_from_graph
from graphfew.runs import environment

OUT = Path("benchmarks/active_learning/results/scale.json")
RUN = "python -m benchmarks.active_learning.scale"
N_ITEMS, WIDTH, N_CLASSES = 100_000, 128, 100
# The noise has about the length of a class mean.
NOISE = 1.0
N_LATER = 10
LATER = ("recommended", "margin", "vopt", "coverage")


def main() -> None:
    """Measure a cold start and a later round, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=N_ITEMS)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        content = measure(given.items)
    content["command"] = RUN
    content["machine"] = environment.machine_name(torch.device("cpu"))
    content["versions"] = environment.versions()
    files.write(given.out, json.dumps(content, indent=1) + "\n")


def measure(n_items: int) -> dict[str, Any]:
    """Return the processor seconds of each step, and the peak memory in bytes."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(N_CLASSES, WIDTH, generator=generator)
    target = torch.arange(n_items) % N_CLASSES
    x = means[target] + NOISE * torch.randn(n_items, WIDTH, generator=generator)
    before = peak_memory()
    seconds: dict[str, float] = {}
    graph = _timed(seconds, "graph", functools.partial(build_item_graph, x))
    labels = torch.full((n_items,), -1)
    first = _timed(seconds, "cold start", lambda: suggest_from_graph(graph, labels, N_CLASSES))
    found = len(target[first].unique())
    # Two labels per class, so that the recommended strategy uses the classifier.
    labels[: 2 * N_CLASSES] = target[: 2 * N_CLASSES]
    for name in LATER:
        later = functools.partial(
            suggest_from_graph, graph, labels, N_LATER, strategy=STRATEGIES[name]
        )
        _timed(seconds, name, later)
    return {
        "items": n_items,
        "features": WIDTH,
        "classes": N_CLASSES,
        "classes_found": found,
        "seconds": seconds,
        "peak_bytes": peak_memory(),
        "bytes_before": before,
    }


def _timed(seconds: dict[str, float], name: str, run: Callable[[], Any]) -> Any:
    begin = time.process_time()
    result = run()
    seconds[name] = round(time.process_time() - begin, 2)
    print(f"{name}: {seconds[name]} s", flush=True)
    return result


if __name__ == "__main__":
    main()
