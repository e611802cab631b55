"""Tasks per second of heads on features, many tasks at once, interleaved in one process.

Run: OMP_NUM_THREADS=2 python -m benchmarks.speed.heads --out benchmarks/speed/results/heads.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock

WAY, SHOT, QUERIES, DIM, TASKS = 5, 5, 15, 640, 64
# The linear head's solver has threads of its own, which spin a while after it.
REST, CALLS = 0.25, 3
HEADS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "prototypes": ("prototypical", {}),
    "label propagation": ("label_propagation", {}),
    "label spreading": ("label_spreading", {}),
    "LaplacianShot": ("laplacian_shot", {}),
    "BD-CSPN": ("bd_cspn", {}),
    "TIM, 50 steps": ("tim", {"steps": 50}),
    "PT-MAP": ("pt_map", {}),
    "PT-MAP, even": ("pt_map", {"balanced": True}),
    "propagated prototypes": ("propagated_prototypes", {}),
    "matching, full context": ("matching_fce", {}),
    "linear head": ("linear_head", {}),
}


def episode(seed: int = 0) -> gf.Episode:
    """Tasks of 25 supports and 75 queries with features of 640 numbers, not negative, as a network gives."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(WAY).repeat(SHOT + QUERIES)
    query = torch.arange(len(label)) >= WAY * SHOT
    centers = torch.randn(TASKS, WAY, DIM, generator=generator)
    x = (
        (centers[:, label] + 3 * torch.randn(TASKS, len(label), DIM, generator=generator))
        .relu()
        .flatten(0, 1)
    )
    y = label.masked_fill(query, -1).repeat(TASKS)
    return gf.Episode(x, y, query.repeat(TASKS), (len(label),) * TASKS, (WAY,) * TASKS)


def apart(model: gf.GraphMethod, batch: gf.Episode, together: torch.Tensor) -> float:
    """The largest difference in probability between a task in the batch and the same task alone."""
    alone = torch.cat([model(batch.take([t])).logits for t in range(8)])
    return float((together[: len(alone)].softmax(1) - alone.softmax(1)).abs().max())


def seconds(model: gf.GraphMethod, batch: gf.Episode) -> float:
    """How long a call takes, of several in a row."""
    begin = time.perf_counter()
    for _ in range(CALLS):
        model(batch)
    return (time.perf_counter() - begin) / CALLS


def measure(repeats: int) -> dict[str, object]:
    """All heads in turn; each is called once to warm up before it is timed."""
    batch = episode()
    models = {
        name: gf.create(method, encoder=gf.backbones.identity(DIM), **arguments)
        for name, (method, arguments) in HEADS.items()
    }
    times: dict[str, list[float]] = {name: [] for name in models}
    differences = {}
    for round_ in range(repeats):
        for name, model in models.items():
            time.sleep(REST)
            with gf.nn.eval_mode(model):
                logits = model(batch).logits
                if round_ == 0:
                    differences[name] = apart(model, batch, logits)
                times[name].append(seconds(model, batch))
    medians = {name: statistics.median(values) for name, values in times.items()}
    rows = {
        name: {
            "tasks_per_second": TASKS / value,
            "of_prototypes": medians["prototypes"] / value,
            "seconds": times[name],
            "difference_to_alone": differences[name],
        }
        for name, value in medians.items()
    }
    return {
        "heads": rows,
        "repeats": repeats,
        **clock.machine(),
        "setting": {
            "way": WAY,
            "shot": SHOT,
            "queries_per_class": QUERIES,
            "dim": DIM,
            "tasks": TASKS,
            "dtype": "float32",
        },
    }


def main() -> None:
    """Measure, print, and write the result beside first and then renamed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.repeats)
    for name, row in result["heads"].items():  # type: ignore[attr-defined]
        print(
            f"{name:24s} {row['tasks_per_second']:9.0f} tasks/s  {row['of_prototypes']:6.3f} of prototypes  "
            f"{row['difference_to_alone']:.1e} apart"
        )
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
