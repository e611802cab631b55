"""The demo: five methods on the glyphs that the library carries, from nothing to a table and a picture."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import nn

from graphfew import backbones, data
from graphfew._utils.atomic_io import atomic_replace, write_text
from graphfew._utils.model_spec import JSON
from graphfew.evaluation.accuracy import Result, evaluate
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import create
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod
from graphfew.serialization.checkpoint import save
from graphfew.training.loop import step_decay, train
from graphfew.visualization.episode_graph import plot_before_after

WAY = 5
SHOTS = (1, 5)
PICTURE_TASK = 3
Advance = Callable[[int, str], None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much the demo does: steps of the encoder, of EGNN and of GNN, tasks per step, test tasks per cell."""

    encoder: int = 500
    egnn: int = 400
    gnn: int = 600
    batch: int = 24
    test_tasks: int = 1000


QUICK = Plan(encoder=5, egnn=5, gnn=5, batch=2, test_tasks=5)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One figure of the table: the method's title, the data's, the shot, and the result."""

    method: str
    where: str
    shot: int
    result: Result


def run(out: Path, seed: int = 0, plan: Plan | None = None) -> None:
    """Train on Latin, Greek and Cyrillic glyphs; test on Armenian and Lao ones and on handwritten digits.

    Prototypes train the encoder; the graph networks then learn on its features of the mirrored glyphs (it has not seen
    them, so they are as hard to tell apart as new ones). The encoder stays as it is, so that lines of the table differ
    by the method alone. EGNN is one model, asked transductively and inductively.

    Writes `egnn.safetensors`, `results.json` and `episode.png` into `out`.
    """
    plan = plan or Plan()
    console = Console()
    source, unseen = data.glyphs(split="train"), data.glyphs(split="test")
    console.print(
        f"Learning from {len(source.classes)} glyphs ({_groups(source)}); tests on {len(unseen.classes)} "
        f"glyphs of scripts never seen ({_groups(unseen)}), and on handwritten digits."
    )
    with _progress(console, "training", plan.encoder + plan.egnn + plan.gnn) as advance:
        began = time.perf_counter()
        models = _train_all(source, seed, plan, advance)
    console.print(f"Training took {time.perf_counter() - began:.0f} seconds.")
    targets = {"unseen scripts": unseen, "handwritten digits": data.digits()}
    with _progress(console, "testing", len(models) * len(targets) * len(SHOTS)) as advance:
        cells = list(_test_all(models, targets, seed, plan, advance))
    console.print(_table(cells, plan))
    egnn = models["EGNN, transductive"]
    save(egnn, out / "egnn")
    content = {"seed": seed, "plan": dataclasses.asdict(plan), "cells": [_json(c) for c in cells]}
    write_text(out / "results.json", json.dumps(content, indent=1))
    _picture(egnn, unseen, seed, out / "episode.png")
    console.print(
        f"Written: {out / 'egnn.safetensors'}, {out / 'results.json'} (every task's accuracy), and "
        f"{out / 'episode.png'} (an episode's graph before and after the layers)."
    )


def _train_all(
    source: data.Dataset, seed: int, plan: Plan, advance: Advance
) -> dict[str, GraphMethod]:
    encoder = backbones.conv4(width=32, seed=seed)
    prototypes = create("prototypical", encoder=encoder, seed=seed)
    tasks = data.Tasks(source, way=20, shot=1, query=5, seed=seed)
    _fit("prototypes", prototypes, tasks, plan.encoder, 3, 2e-3, seed, advance)
    features = data.encode(_mirrored(source), encoder, progress=False)
    # 5-shot tasks teach more than easier mixtures do, also for 1-shot tasks (seen on the validation script).
    tasks = data.Tasks(
        features, way=WAY, shot=max(SHOTS), query=data.varied((1, 30)), seed=seed + 1
    )
    egnn = create("egnn", encoder=encoder, seed=seed)
    gnn = create("gnn", encoder=encoder, seed=seed, way=WAY, transductive=True)
    # EGNN begins as a metric (`pull`): small steps refine that, large ones would lose it.
    _fit("EGNN", egnn.on_features(), tasks, plan.egnn, plan.batch, 1e-3, seed, advance)
    _fit("GNN", gnn.on_features(), tasks, plan.gnn, plan.batch, 2e-3, seed, advance)
    for model, steps in ((prototypes, plan.encoder), (egnn, plan.egnn), (gnn, plan.gnn)):
        model.provenance = {
            "training_seed": seed,
            "trained_on": f"{source.name}/{source.split}",
            "steps": steps,
            "selected_on": None,
        }
    return {
        "EGNN, transductive": egnn,
        "EGNN, inductive": egnn.in_mode(transductive=False),
        "GNN, transductive": gnn,
        "GNN, inductive": gnn.in_mode(transductive=False),
        "prototypes": prototypes,
        "pixels' nearest neighbor": create(
            "nearest_neighbor", encoder=nn.Flatten(), dim=source.x[0].numel()
        ),
    }


def _mirrored(source: data.Dataset) -> data.Dataset:
    return dataclasses.replace(source, x=source.x.flip(3).contiguous())


def _fit(
    title: str,
    model: GraphMethod,
    tasks: data.Tasks,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    advance: Advance,
) -> None:
    rate = step_decay(lr, max(steps // 5, 1))
    for step in train(model, tasks, loss=node_loss, batch=batch, steps=steps, lr=rate, seed=seed):
        advance(1, f"{title}: loss {step.loss:.2f}, accuracy {step.accuracy:.2f}")


def _test_all(
    models: dict[str, GraphMethod],
    targets: dict[str, data.Dataset],
    seed: int,
    plan: Plan,
    advance: Advance,
) -> Iterator[Cell]:
    for where, source in targets.items():
        for shot in SHOTS:
            tasks = data.Tasks(source, way=WAY, shot=shot, query=5, seed=seed + 2)
            for title, model in models.items():
                yield Cell(title, where, shot, evaluate(model, tasks, plan.test_tasks))
                advance(1, f"{title}, {where}, {shot}-shot")


def _table(cells: Sequence[Cell], plan: Plan) -> Table:
    columns = sorted(
        {(c.where, c.shot) for c in cells}, key=lambda key: (key[0] != "unseen scripts", key)
    )
    table = Table(
        title=f"{WAY}-way accuracy in %, {plan.test_tasks} tasks of 5 queries per class, 95 % intervals"
    )
    table.add_column("method")
    for where, shot in columns:
        table.add_column(f"{where}\n{shot}-shot", justify="right")
    for method in dict.fromkeys(c.method for c in cells):
        own = {(c.where, c.shot): c.result for c in cells if c.method == method}
        table.add_row(
            method,
            *[f"{100 * own[key].mean:.1f} ± {100 * own[key].half_width:.1f}" for key in columns],
        )
    return table


def _picture(model: GraphMethod, source: data.Dataset, seed: int, path: Path) -> None:
    tasks = data.Tasks(source, way=WAY, shot=1, query=3, seed=seed + 3)
    episode, target = tasks.batch(range(PICTURE_TASK, PICTURE_TASK + 1))
    with eval_mode(model):
        out = model(episode)
    figure = plot_before_after(out, images=episode.x, target=target, seed=seed)
    with atomic_replace(path) as beside:
        figure.savefig(beside, format="png", dpi=150)


def _groups(source: data.Dataset) -> str:
    return ", ".join(sorted(set(source.groups)))


def _json(cell: Cell) -> dict[str, JSON]:
    return {
        "method": cell.method,
        "where": cell.where,
        "shot": cell.shot,
        "result": cell.result.to_json(),
    }


@contextmanager
def _progress(console: Console, title: str, total: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(count: int, note: str) -> None:
            bar.update(task, advance=count, note=note)

        yield advance
