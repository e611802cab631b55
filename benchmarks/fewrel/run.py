"""Induction, hybrid attention, prototypes and EGNN on FewRel's `val_wiki`: `python -m benchmarks.fewrel.run`.

Trained from scratch on word indices of ten relations, tested on six others. Every model is trained for the same number
of steps at the same rate, chosen with prototypes on seven of the ten relations against the other three. Each cell is a
JSON file, written when it is done; finished ones are skipped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

import graphfew as gf
from benchmarks import files

RESULTS = Path("benchmarks/fewrel/results")
STEPS, BATCH, TRAIN_WAY = 1000, 2, 8
RATE, DECAY = 1e-3, 1e-4
Loss = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A method, its encoder and its loss."""

    name: str
    encoder: str
    loss: Loss


PROTOTYPES = Recipe("prototypical", "conv_text", gf.node_loss)
HYBRID = Recipe("hybrid_attention", "conv_text", gf.node_loss)
PLAIN = (PROTOTYPES, Recipe("prototypical", "bilstm", gf.node_loss), Recipe("induction", "bilstm", gf.relation_loss),
         Recipe("egnn", "conv_text", gf.joint_loss), HYBRID)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training and the tests of it."""

    recipe: Recipe
    shot: int
    noise: float

    @property
    def key(self) -> str:
        """The name of the file."""
        return f"{self.recipe.name}-{self.recipe.encoder}-{self.shot}shot-noise{round(100 * self.noise)}.json"


def cells() -> Iterator[Cell]:
    """Everything that the tables show."""
    for shot in (1, 5):
        yield from (Cell(recipe, shot, 0.0) for recipe in PLAIN)
    for shot in (5, 10):
        for noise in (0.0, 0.3, 0.5):
            yield from (Cell(recipe, shot, noise) for recipe in (PROTOTYPES, HYBRID))


def train(cell: Cell, root: str | None, steps: int, tick: Callable[[], None]) -> gf.GraphMethod:
    """The method trained on tasks of the ten training relations, support noise as in the test."""
    recipe = cell.recipe
    arguments = {"shot": cell.shot} if recipe.name == "hybrid_attention" else {}
    model = gf.create(recipe.name, encoder=gf.backbones.create(recipe.encoder), **arguments)
    tasks = gf.Tasks(gf.data.fewrel(root, "train"), way=TRAIN_WAY, shot=cell.shot, query=5, seed=0,
                     label_noise=cell.noise)
    # Decay is for word vectors, which few sentences have seen; a method's own small weights would vanish under it.
    optimizer = torch.optim.Adam([{"params": model.encoder.parameters(), "weight_decay": DECAY},
                                  {"params": model.layers.parameters()}])
    rate = gf.halve_every(RATE, max(1, steps // 4))
    for _ in gf.train(model, tasks, loss=recipe.loss, steps=steps, batch=BATCH, lr=rate, optimizer=optimizer):
        tick()
    return model


def run(cell: Cell, root: str | None, count: int, steps: int, out: Path, tick: Callable[[], None]) -> None:
    """Train, test on the six other relations, and write the file beside, then in place."""
    start = time.perf_counter()
    model = train(cell, root, steps, tick)
    seconds = time.perf_counter() - start
    tasks = gf.Tasks(gf.data.fewrel(root, "test"), way=5, shot=cell.shot, query=5, seed=0, label_noise=cell.noise)
    result = gf.evaluate(model, tasks, n=count)
    content = {"command": "python -m benchmarks.fewrel.run", "shot": cell.shot, "noise": cell.noise,
               "encoder": cell.recipe.encoder, "steps": steps, "training_seconds": round(seconds, 1),
               **result.to_json()}
    files.write(out / cell.key, json.dumps(content, separators=(",", ":"), default=str) + "\n")


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", help="folder with val_wiki.json; GRAPHFEW_DATA/fewrel where it is left out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--shot", type=int, action="append", help="only these shots; may be given several times")
    given = parser.parse_args()
    todo = [c for c in dict.fromkeys(cells()) if given.shot is None or c.shot in given.shot]
    todo = [c for c in todo if not (given.out / c.key).exists()]
    with Progress() as progress:
        bar = progress.add_task("fewrel", total=len(todo) * given.steps)
        for cell in todo:
            progress.update(bar, description=cell.key)
            run(cell, given.root, given.tasks, given.steps, given.out, lambda: progress.advance(bar))


if __name__ == "__main__":
    main()
