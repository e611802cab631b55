"""A simulated annotator: labels needed until 90 % of a pool of CLINC150 is right.

An item is right if it is labeled, or predicted correctly by the graph. Items are chosen by the
recommended strategy of `gf.labeling.suggest`, or at random.

Run: OMP_NUM_THREADS=1 python -m benchmarks.annotate.simulate
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import graphfew as gf
from benchmarks import files
from graphfew.labeling.annotation import (
    AnnotationItems,
    AnnotationService,
    EventLog,
    LabelItems,
    describe_items,
    suggest_items,
)

OUT = Path("benchmarks/annotate/results/clinc150.json")
TARGET = 0.9
# Suggestions are computed for so many items at a time, as on the page while labels come in.
BATCH = 10
# Items from the service and the generator to items of the next labels.
ChooseItems = Callable[[AnnotationService, np.random.Generator], list[int]]


def suggested(service: AnnotationService, rng: np.random.Generator) -> list[int]:
    """The next items by the recommended strategy."""
    del rng
    return suggest_items(service.item_graph, service.snapshot(), BATCH)


def at_random(service: AnnotationService, rng: np.random.Generator) -> list[int]:
    """Random undecided items."""
    open_items = sorted(set(range(len(service.items))) - service.snapshot().decided)
    return [int(item) for item in rng.permutation(open_items)[:BATCH]]


CHOICES: dict[str, ChooseItems] = {"suggest": suggested, "random": at_random}


def pool(n_items: int, seed: int) -> tuple[AnnotationItems, np.ndarray]:
    """A random part of CLINC150, and the class of each item."""
    data = gf.data.clinc150()
    rng = np.random.default_rng(seed)
    chosen = torch.from_numpy(rng.permutation(len(data.y))[:n_items])
    names = tuple(str(index) for index in chosen.tolist())
    x = data.x[chosen].numpy()
    items = AnnotationItems("features", names, (), x, (None,) * n_items)
    return items, data.y[chosen].numpy()


def fraction_right(service: AnnotationService, truth: np.ndarray) -> float:
    """The fraction of the pool that is labeled or predicted correctly."""
    snapshot = service.snapshot()
    names = snapshot.state.class_names
    of_column = np.array([int(names[class_id]) for class_id in snapshot.predictions.class_ids])
    predicted = of_column[snapshot.predictions.probs.argmax(1).numpy()]
    return float((predicted == truth).mean())


def simulate(n_items: int, seed: int, choose: ChooseItems) -> list[tuple[int, float]]:
    """Number of labels and fraction that is right after each batch, until the target."""
    items, truth = pool(n_items, seed)
    rng = np.random.default_rng(seed)
    curve: list[tuple[int, float]] = []
    header = describe_items("clinc150", items.names)
    with tempfile.TemporaryDirectory() as folder, EventLog(Path(folder, "log"), header) as log:
        service = AnnotationService(items, log, check_every=0)
        while not curve or curve[-1][1] < TARGET:
            for item in choose(service, rng):
                number = service.snapshot().state.last_number
                action = LabelItems((items.names[item],), str(truth[item]), number)
                service.submit("page", action)
            n_labels = service.snapshot().state.last_number
            curve.append((n_labels, round(fraction_right(service, truth), 4)))
    return curve


def main() -> None:
    """Simulate, print and write the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=4500, help="size of the pool")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    records = []
    for seed in range(arguments.seeds):
        for name, choose in CHOICES.items():
            curve = simulate(arguments.items, seed, choose)
            records.append({"choice": name, "seed": seed, "labels": curve[-1][0], "curve": curve})
            print(name, seed, curve[-1], flush=True)
            # After each run: later ones take as long as the first.
            result = {"items": arguments.items, "target": TARGET, "batch": BATCH, "runs": records}
            files.write(arguments.out, json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
