"""The full demo: train an encoder, EGNN and GNN from scratch, and compare six methods."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch import nn

from graphfew import backbones, data
from graphfew._utils.atomic_io import write_text
from graphfew._utils.model_spec import JSON
from graphfew.cli.demos.demo_files import save_figure
from graphfew.cli.demos.stage_progress import Advance, demo_console, stage
from graphfew.cli.demos.step_decay_training import fit
from graphfew.evaluation.accuracy import Result, evaluate
from graphfew.methods.registry import create
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod
from graphfew.serialization.checkpoint import save
from graphfew.visualization.episode_graph import plot_before_after

WAY = 5
SHOTS = (1, 5)
PLOTTED_TASK = 3
UNSEEN_SCRIPTS, DIGITS = "unseen scripts", "handwritten digits"


@dataclasses.dataclass(frozen=True)
class FullDemoPlan:
    """Sizes of the full demo.

    Attributes:
        encoder: training steps of the encoder.
        egnn: training steps of EGNN.
        gnn: training steps of GNN.
        batch: tasks per step of EGNN and GNN.
        test_tasks: test tasks for each model, data set and shot.
    """

    encoder: int = 500
    egnn: int = 400
    gnn: int = 600
    batch: int = 24
    test_tasks: int = 1000


QUICK_FULL = FullDemoPlan(encoder=5, egnn=5, gnn=5, batch=2, test_tasks=5)


@dataclasses.dataclass(frozen=True)
class FullDemoResult:
    """Accuracy of one method on one data set at one shot.

    Attributes:
        method: title of the method.
        data: title of the data set.
        shot: labeled items per class.
        result: accuracy over the tasks.
    """

    method: str
    data: str
    shot: int
    result: Result


def run_full_demo(out: Path, seed: int = 0, plan: FullDemoPlan | None = None) -> None:
    """Train on Latin, Greek and Cyrillic glyphs; test on Armenian and Lao ones and on digits.

    Prototypes train the encoder. EGNN and GNN then learn on its features of mirrored glyphs: the
    encoder has not seen them, so they are as hard to distinguish as new classes. The encoder
    stays frozen, so the methods are the only difference. EGNN is one model, evaluated
    transductively and inductively.

    Writes `egnn.safetensors`, `episode.png` and, last, `results.json` into `out`.
    """
    plan = plan or FullDemoPlan()
    console = demo_console()
    train_glyphs, test_glyphs = data.glyphs(split="train"), data.glyphs(split="test")
    console.print(
        f"Training on {len(train_glyphs.classes)} glyphs ({_scripts(train_glyphs)}); tests on "
        f"{len(test_glyphs.classes)} glyphs of unseen scripts ({_scripts(test_glyphs)}) and on "
        "handwritten digits."
    )
    models = _train_models(console, train_glyphs, seed, plan)
    datasets = {UNSEEN_SCRIPTS: test_glyphs, DIGITS: data.digits()}
    with stage(console, "Testing", len(models) * len(datasets) * len(SHOTS)) as advance:
        results = list(_evaluate_models(models, datasets, seed, plan, advance))
    console.print(_result_table(results, plan))
    egnn = models["EGNN, transductive"]
    save(egnn, out / "egnn")
    _plot_episode(egnn, test_glyphs, seed, out / "episode.png")
    content = {
        "command": f"graphfew demo --full --seed {seed}",
        "seed": seed,
        "plan": dataclasses.asdict(plan),
        "cells": [_result_json(result) for result in results],
    }
    write_text(out / "results.json", json.dumps(content, indent=1))
    console.print(
        f"Wrote {out / 'egnn.safetensors'}, {out / 'results.json'} and {out / 'episode.png'}.",
        soft_wrap=True,
    )


def _train_models(
    console: Console, glyphs: data.Dataset, seed: int, plan: FullDemoPlan
) -> dict[str, GraphMethod]:
    encoder = backbones.conv4(width=32, seed=seed)
    prototypes = create("prototypical", encoder=encoder, seed=seed)
    tasks = data.Tasks(glyphs, way=20, shot=1, query=5, seed=seed)
    with stage(console, "Training prototypes", plan.encoder) as advance:
        fit(
            prototypes,
            tasks,
            plan.encoder,
            batch=3,
            lr=2e-3,
            n_stages=5,
            seed=seed,
            advance=advance,
        )
    # As hard to distinguish as new classes, because the encoder was not trained on them.
    mirrored = dataclasses.replace(glyphs, x=glyphs.x.flip(3).contiguous())
    features = data.encode(mirrored, encoder, progress=False)
    # On the validation script, training with 5-shot tasks was best also for 1-shot tasks.
    tasks = data.Tasks(
        features, way=WAY, shot=max(SHOTS), query=data.varied((1, 30)), seed=seed + 1
    )
    egnn = create("egnn", encoder=encoder, seed=seed)
    gnn = create("gnn", encoder=encoder, seed=seed, way=WAY, transductive=True)
    # EGNN is initialized as a metric (`pull`), which larger steps would destroy.
    for title, model, n_steps, lr in (
        ("EGNN", egnn, plan.egnn, 1e-3),
        ("GNN", gnn, plan.gnn, 2e-3),
    ):
        with stage(console, f"Training {title}", n_steps) as advance:
            fit(
                # The encoder is not trained here: the tasks hold its features already.
                model.on_features(),
                tasks,
                n_steps,
                batch=plan.batch,
                lr=lr,
                n_stages=5,
                seed=seed,
                advance=advance,
            )
    steps = ((prototypes, plan.encoder), (egnn, plan.egnn), (gnn, plan.gnn))
    for model, n_steps in steps:
        model.provenance = {
            "training_seed": seed,
            "trained_on": f"{glyphs.name}/{glyphs.split}",
            "steps": n_steps,
            "selected_on": None,
        }
    pixels = create("nearest_neighbor", encoder=nn.Flatten(), dim=glyphs.x[0].numel())
    return {
        "EGNN, transductive": egnn,
        # `in_mode` shares the weights: one training serves both modes.
        "EGNN, inductive": egnn.in_mode(transductive=False),
        "GNN, transductive": gnn,
        "GNN, inductive": gnn.in_mode(transductive=False),
        "prototypes": prototypes,
        "nearest neighbor of pixels": pixels,
    }


def _evaluate_models(
    models: dict[str, GraphMethod],
    datasets: dict[str, data.Dataset],
    seed: int,
    plan: FullDemoPlan,
    advance: Advance,
) -> Iterator[FullDemoResult]:
    for data_title, dataset in datasets.items():
        for shot in SHOTS:
            # `seed` and `seed + 1` are those of training tasks; tests and the plot have others.
            tasks = data.Tasks(dataset, way=WAY, shot=shot, query=5, seed=seed + 2)
            for method, model in models.items():
                result = evaluate(model, tasks, plan.test_tasks)
                yield FullDemoResult(method, data_title, shot, result)
                advance(f"{method}, {data_title}, {shot}-shot")


def _result_table(results: Sequence[FullDemoResult], plan: FullDemoPlan) -> Table:
    table = Table(
        title=f"{WAY}-way accuracy in %, {plan.test_tasks:,} tasks of 5 queries per class, "
        "95 % intervals"
    )
    table.add_column("method")
    columns = list(dict.fromkeys((r.data, r.shot) for r in results))
    for data_title, shot in columns:
        table.add_column(f"{data_title}\n{shot}-shot", justify="right")
    for method in dict.fromkeys(r.method for r in results):
        by_column = {(r.data, r.shot): r.result for r in results if r.method == method}
        cells = [
            f"{100 * by_column[column].mean:.1f} ± {100 * by_column[column].half_width:.1f}"
            for column in columns
        ]
        table.add_row(method, *cells)
    return table


def _plot_episode(model: GraphMethod, glyphs: data.Dataset, seed: int, path: Path) -> None:
    tasks = data.Tasks(glyphs, way=WAY, shot=1, query=3, seed=seed + 3)
    episode, target = tasks.batch(range(PLOTTED_TASK, PLOTTED_TASK + 1))
    with eval_mode(model):
        output = model(episode)
    save_figure(plot_before_after(output, images=episode.x, target=target, seed=seed), path)


def _scripts(glyphs: data.Dataset) -> str:
    return ", ".join(sorted(set(glyphs.groups)))


def _result_json(result: FullDemoResult) -> dict[str, JSON]:
    return {
        "method": result.method,
        "where": result.data,
        "shot": result.shot,
        "result": result.result.to_json(),
    }
