"""The demo: five methods on the glyphs that the library carries, from nothing to a table and a picture."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import nn

from graphfew import backbones, data
from graphfew.audit import evaluating
from graphfew.checkpoint import save
from graphfew.evaluate import Result, evaluate
from graphfew.losses import Loss, edge_loss, node_loss
from graphfew.model import GraphMethod
from graphfew.plot import before_and_after
from graphfew.recipe import JSON
from graphfew.registry import create
from graphfew.train import halve_every, train

WAY = 5
SHOTS = (1, 5)
PICTURE_TASK = 3
Advance = Callable[[int, str], None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much the demo does: steps of encoder training, steps of each method, tasks per step, test tasks per cell."""

    warm_up: int = 700
    steps: int = 500
    batch: int = 12
    test_tasks: int = 400


@dataclasses.dataclass(frozen=True)
class Cell:
    """One figure of the table: the method's title, the data's, the shot, and the result."""

    method: str
    where: str
    shot: int
    result: Result


def run(out: Path, seed: int = 0, plan: Plan | None = None) -> None:
    """Train on Latin, Greek and Cyrillic glyphs; test on Armenian and Lao ones and on handwritten digits.

    Prototypes train an encoder first; each method then goes on from it for the same number of steps, with its own loss
    and its own way of drawing queries, so that what differs between lines of the table is the method.

    Writes `egnn.safetensors`, `results.json` and `episode.png` into `out`.
    """
    plan = plan or Plan()
    console = Console()
    source, unseen = data.glyphs(split="train"), data.glyphs(split="test")
    console.print(f"Learning from {len(source.classes)} glyphs ({_groups(source)}); tests on {len(unseen.classes)} "
                  f"glyphs of scripts never seen ({_groups(unseen)}), and on handwritten digits.")
    with _progress(console, "training", plan.warm_up + 4 * plan.steps) as advance:
        models = _train_all(source, seed, plan, advance)
    targets = {"unseen scripts": unseen, "handwritten digits": data.digits()}
    with _progress(console, "testing", len(models) * len(targets) * len(SHOTS)) as advance:
        cells = list(_test_all(models, targets, seed, plan, advance))
    out.mkdir(parents=True, exist_ok=True)
    console.print(_table(cells, plan))
    egnn = models["EGNN, transductive"]
    save(egnn, out / "egnn")
    _write(out / "results.json", {"seed": seed, "plan": dataclasses.asdict(plan), "cells": [_json(c) for c in cells]})
    _picture(egnn, unseen, seed, out / "episode.png")
    console.print(f"Written: {out / 'egnn.safetensors'}, {out / 'results.json'} (every task's accuracy), and "
                  f"{out / 'episode.png'} (an episode's graph before and after the layers).")


def _train_all(source: data.Dataset, seed: int, plan: Plan, advance: Advance) -> dict[str, GraphMethod]:
    encoder = backbones.conv4(width=32, seed=seed)
    tasks = data.Tasks(source, way=20, shot=1, query=5, seed=seed)
    first = create("prototypical", encoder=encoder, seed=seed)
    _fit(first, tasks, node_loss, plan.warm_up, 3, seed, advance, "encoder")

    def go_on(title: str, method: str, query: data.Queries | int, loss: Loss, **arguments: Any) -> GraphMethod:
        own = backbones.create(encoder.recipe)
        own.load_state_dict(encoder.state_dict())
        model = create(method, encoder=own, seed=seed, **arguments)
        drawn = data.Tasks(source, way=WAY, shot=SHOTS, query=query, seed=seed + 1)
        return _fit(model, drawn, loss, plan.steps, plan.batch, seed, advance, title)

    return {
        "EGNN, transductive": go_on("EGNN, transductive", "egnn", data.varied((1, 8 * WAY)), edge_loss),
        "EGNN, inductive": go_on("EGNN, inductive", "egnn", 2, edge_loss, transductive=False),
        "GNN, inductive": go_on("GNN, inductive", "gnn", 2, node_loss, way=WAY),
        "prototypes": go_on("prototypes", "prototypical", 5, node_loss),
        "pixels' nearest neighbour": create("nearest_neighbour", encoder=nn.Flatten(), dim=source.x[0].numel()),
    }


def _fit(model: GraphMethod, tasks: data.Tasks, loss: Loss, steps: int, batch: int, seed: int, advance: Advance,
         title: str) -> GraphMethod:
    rate = halve_every(2e-3, max(steps // 4, 1))
    for step in train(model, tasks, loss=loss, batch=batch, steps=steps, lr=rate, seed=seed):
        advance(1, f"{title}: loss {step.loss:.2f}, accuracy {step.accuracy:.2f}")
    model.provenance = {"training_seed": seed, "trained_on": f"{tasks.data.name}/{tasks.data.split}", "steps": steps}
    return model


def _test_all(models: dict[str, GraphMethod], targets: dict[str, data.Dataset], seed: int, plan: Plan,
              advance: Advance) -> Iterator[Cell]:
    for where, source in targets.items():
        for shot in SHOTS:
            tasks = data.Tasks(source, way=WAY, shot=shot, query=5, seed=seed + 2)
            for title, model in models.items():
                yield Cell(title, where, shot, evaluate(model, tasks, plan.test_tasks))
                advance(1, f"{title}, {where}, {shot}-shot")


def _table(cells: Sequence[Cell], plan: Plan) -> Table:
    columns = sorted({(c.where, c.shot) for c in cells}, key=lambda key: (key[0] != "unseen scripts", key))
    table = Table(title=f"{WAY}-way accuracy in %, {plan.test_tasks} tasks of 5 queries per class, 95 % intervals")
    table.add_column("method")
    for where, shot in columns:
        table.add_column(f"{where}\n{shot}-shot", justify="right")
    for method in dict.fromkeys(c.method for c in cells):
        own = {(c.where, c.shot): c.result for c in cells if c.method == method}
        table.add_row(method, *[f"{100 * own[key].mean:.1f} ± {100 * own[key].half_width:.1f}" for key in columns])
    return table


def _picture(model: GraphMethod, source: data.Dataset, seed: int, path: Path) -> None:
    tasks = data.Tasks(source, way=WAY, shot=1, query=3, seed=seed + 3)
    episode, target = tasks.batch(range(PICTURE_TASK, PICTURE_TASK + 1))
    with evaluating(model):
        out = model(episode)
    figure = before_and_after(out, images=episode.x, target=target, seed=seed)
    beside = path.with_name(f".{path.name}")
    figure.savefig(beside, format="png", dpi=150)
    os.replace(beside, path)


def _groups(source: data.Dataset) -> str:
    return ", ".join(sorted(set(source.groups)))


def _json(cell: Cell) -> dict[str, JSON]:
    return {"method": cell.method, "where": cell.where, "shot": cell.shot, "result": cell.result.to_json()}


def _write(path: Path, content: JSON) -> None:
    beside = path.with_name(f".{path.name}")
    beside.write_text(json.dumps(content, indent=1))
    os.replace(beside, path)


@contextmanager
def _progress(console: Console, title: str, total: int) -> Iterator[Advance]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
               TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(count: int, note: str) -> None:
            bar.update(task, advance=count, note=note)

        yield advance
