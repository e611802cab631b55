"""The effect of bfloat16 on accuracy: EGNN on Omniglot's test tasks, in float32 and under autocast.

Run: python -m benchmarks.speed.precision --out benchmarks/speed/results/precision.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock

TASKS, QUERIES, SHOTS = 1000, 5, (1, 5)


def main() -> None:
    """Measure, print, and write the result atomically."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model = gf.load("egnn-omniglot").eval()
    features = gf.data.encode(gf.data.omniglot(split="test"), model.encoder, progress=False)
    head = model.on_features()
    cells = {}
    for shot in SHOTS:
        tasks = gf.Tasks(features, way=5, shot=shot, query=QUERIES, seed=0)
        whole = gf.evaluate(head, tasks, TASKS)
        with torch.autocast("cpu", torch.bfloat16):
            low = gf.evaluate(head, tasks, TASKS)
        cells[f"5-way {shot}-shot"] = {
            "float32": whole.mean,
            "bfloat16": low.mean,
            "half_width": whole.half_width,
            "difference": gf.compare_results(low, whole).difference,
        }
    result = {"cells": cells, "tasks": TASKS, "queries_per_class": QUERIES, **clock.machine()}
    print(json.dumps(result, indent=1))
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
