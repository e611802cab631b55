"""Tasks a second from Omniglot, and what encoding every image once saves an evaluation.

Run: python -m benchmarks.speed.tasks --out benchmarks/speed/results/tasks.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock

WAY, SHOT, QUERIES, TASKS, DRAWN, BATCH = 5, 5, 15, 1000, 2000, 32


def sampling(tasks: gf.data.Tasks, repeats: int) -> dict[str, float]:
    """Tasks a second: their indices, single tasks with their images, and several as one episode."""
    times = clock.interleaved(
        {
            "indices": lambda: [tasks.draw(i) for i in range(DRAWN)],
            "one by one": lambda: [tasks[i] for i in range(DRAWN)],
            f"{BATCH} at once": lambda: [
                tasks.batch(range(i, i + BATCH)) for i in range(0, DRAWN, BATCH)
            ],
        },
        repeats,
    )
    return {name: DRAWN / middle for name, middle in clock.medians(times).items()}


def evaluation(data: gf.data.Dataset, repeats: int) -> dict[str, object]:
    """Prototypes on 1,000 tasks: every task's images encoded, and all images once beforehand; and their accuracies."""
    model = gf.create("prototypical", encoder=gf.backbones.conv4()).eval()
    plan = {"way": WAY, "shot": SHOT, "query": QUERIES, "seed": 0}
    means = {}

    def task_by_task() -> None:
        means["task by task"] = gf.evaluate(model, gf.data.Tasks(data, **plan), TASKS, batch=1).mean

    def once() -> None:
        features = gf.data.encode(data, model.encoder, progress=False)
        means["once"] = gf.evaluate(
            model.on_features(), gf.data.Tasks(features, **plan), TASKS
        ).mean

    times = clock.interleaved({"task by task": task_by_task, "once": once}, repeats)
    return {
        "times_as_fast": clock.ratios(times, "task by task")["once"],
        "median_seconds": clock.medians(times),
        "seconds": times,
        "means": means,
        "images": len(data),
        "images_task_by_task": TASKS * WAY * (SHOT + QUERIES),
    }


def main() -> None:
    """Measure, print, and write the result beside first and then renamed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    data = gf.data.omniglot(split="test")
    upright = gf.data.omniglot(split="test", rotations=False)
    result = {
        "tasks_per_second": sampling(
            gf.data.Tasks(data, way=WAY, shot=SHOT, query=QUERIES, seed=0), arguments.repeats
        ),
        "evaluation": {
            "test, turned characters as classes": evaluation(data, arguments.repeats),
            "test, upright": evaluation(upright, arguments.repeats),
        },
        "repeats": arguments.repeats,
        **clock.machine(),
    }
    print(json.dumps(result, indent=1))
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
