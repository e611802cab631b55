"""Exact and approximate neighbor search: time, recall, and the labels that depend on it.

Run: OMP_NUM_THREADS=1 python -m benchmarks.scale.neighbors
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import graphfew as gf
from benchmarks import files
from benchmarks.scale.features import few_labels, made_items
from benchmarks.scale.process import peak_memory
from graphfew.estimators import default_weights, fit_ensemble, member_graph_of
from graphfew.propagation import Neighbors, sample_recall

OUT = Path("benchmarks/scale/results/neighbors.json")
K, ALPHA = 10, 0.8
Row = dict[str, Any]


def measure(name: str, search: Callable[[], Any]) -> tuple[Any, Row]:
    """Run a search and return its result with its seconds of wall and processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    result = search()
    row = {
        "search": name,
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
    }
    return result, row


def compare(x: Tensor, progress: Callable[[Row], None]) -> dict[str, Neighbors]:
    """Search by both searches, and measure recall."""
    found = {}
    for name in ("cell_search", "exact_search"):
        search = getattr(gf.propagation, name)
        (index, distance), row = measure(name, lambda search=search: search(x, K))
        found[name] = Neighbors(index, distance)
        progress({**row, "recall": sample_recall(x, index, n_samples=2000)})
    return found


def labels_by_method(x: Tensor, given: Tensor, neighbors: Neighbors) -> dict[str, Tensor]:
    """The labels of three methods on one graph."""
    n_classes = int(given.max()) + 1
    scaling = gf.propagation.fit_scaling(x)
    graph = member_graph_of(scaling, scaling(x), neighbors)
    fit = fit_ensemble(x, given, n_classes, default_weights(), graph)
    label = torch.zeros(len(x), n_classes)
    labeled = torch.nonzero(given >= 0).flatten()
    label[labeled, given[labeled]] = 1
    edges = graph.topology, graph.edge_weights
    cosines = (1 - neighbors.distance.square() / 2).clamp_min(0).pow(3).view(-1, 1)
    spreading = gf.propagation.union_graph(neighbors.topology, cosines, lambda a, b: (a + b) / 2)
    return {
        "auto": fit.logits.argmax(1),
        "poisson": gf.propagation.poisson_learning(*edges, label).argmax(1),
        "label_spreading": gf.propagation.spread_labels(*spreading, label, ALPHA).argmax(1),
    }


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    items, classes = made_items(arguments.items)
    x = torch.nn.functional.normalize(torch.from_numpy(items).float(), dim=1)
    y, given = torch.from_numpy(classes), torch.from_numpy(few_labels(classes))
    rows: list[Row] = []

    def progress(row: Row) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)

    found = compare(x, progress)
    by_search = {name: labels_by_method(x, given, found[name]) for name in found}
    unlabeled = given < 0
    methods = []
    for method, exact in by_search["exact_search"].items():
        cell = by_search["cell_search"][method]
        methods.append(
            {
                "method": method,
                "agreement": float((cell == exact).float().mean()),
                "accuracy_exact": float((exact == y)[unlabeled].float().mean()),
                "accuracy_cell": float((cell == y)[unlabeled].float().mean()),
            }
        )
        print(json.dumps(methods[-1]), flush=True)
    result = {
        "command": "python -m benchmarks.scale.neighbors",
        "items": arguments.items,
        "rows": rows,
        "methods": methods,
        "peak_bytes": peak_memory(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
