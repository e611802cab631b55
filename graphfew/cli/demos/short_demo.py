"""The demo of about a minute: label an unlabeled set, then compare EGNN with prototypes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from graphfew.cli.demos import few_labels, unseen_scripts
from graphfew.cli.demos.demo_files import (
    DemoRecord,
    write_accuracy_plot,
    write_episode_plot,
    write_record,
)
from graphfew.cli.demos.few_labels import LabelingResult
from graphfew.cli.demos.stage_progress import demo_console, stage
from graphfew.cli.demos.unseen_scripts import ADAPTED, EGNN, PRETRAINED, PROTOTYPES, EpisodeResult
from graphfew.data.dataset import Dataset
from graphfew.data.datasets.glyphs import glyphs
from graphfew.nn.method import GraphMethod

PIXELS = "digits (pixels)"
UNSEEN_GLYPHS = "unseen glyphs (pretrained features)"


@dataclasses.dataclass(frozen=True)
class DemoPlan:
    """Sizes of the demo.

    Attributes:
        n_draws: draws of the labeled items in the first part.
        head_steps: training steps of the head on the frozen encoder.
        egnn_steps: training steps of the EGNN layers.
        one_shot_tasks: test tasks with one labeled item per class.
        five_shot_tasks: test tasks with five labeled items per class; their graphs are larger.
        train_classes: number of glyphs to train on; None takes all.
    """

    n_draws: int = 20
    head_steps: int = 300
    egnn_steps: int = 100
    one_shot_tasks: int = 2000
    five_shot_tasks: int = 500
    train_classes: int | None = None


QUICK = DemoPlan(
    n_draws=2, head_steps=3, egnn_steps=2, one_shot_tasks=3, five_shot_tasks=2, train_classes=40
)


def run_demo(
    out: Path, seed: int = 0, plan: DemoPlan | None = None, console: Console | None = None
) -> None:
    """Run both parts, print their tables, and write `results.json` and two pictures into `out`.

    Nothing is written before both parts are done, and `results.json` is written last: if it
    exists, the run is complete.
    """
    plan = plan or DemoPlan()
    console = console or demo_console()
    start = time.perf_counter()
    with _single_thread():
        with stage(console, "Draw the glyphs", 3) as advance:
            images = {}
            for split in ("train", "test"):
                images[split] = glyphs(split=split, progress=False)
                advance(split)
            features = unseen_scripts.encode_images(images["test"])
            advance("encode")
        labeling = _label_items(console, features, plan, seed)
        egnn, episodes = _run_episodes(console, images["train"], features, plan, seed)
        # `process_time` counts all threads, and everything since the start of the process.
        seconds = {"wall": time.perf_counter() - start, "processor": time.process_time()}
        record = DemoRecord(seed, dataclasses.asdict(plan), seconds, labeling, episodes)
        write_accuracy_plot(out / "accuracy.png", record)
        write_episode_plot(out / "episode.png", egnn, images["test"], features, seed)
        # Last, so that the results exist only if the pictures do.
        write_record(out / "results.json", record)
    console.print(
        f"Wrote {out / 'results.json'}, {out / 'accuracy.png'} and {out / 'episode.png'} "
        f"({seconds['wall']:.0f} s, {seconds['processor']:.0f} s of processor time).",
        highlight=False,
        soft_wrap=True,
    )


def _label_items(
    console: Console, features: Dataset, plan: DemoPlan, seed: int
) -> list[LabelingResult]:
    sources = {
        PIXELS: few_labels.digit_tasks(plan.n_draws, seed),
        UNSEEN_GLYPHS: few_labels.glyph_tasks(features, plan.n_draws, seed),
    }
    results = []
    with stage(console, "Part 1: one label per class", len(sources) * plan.n_draws) as advance:
        for title, tasks in sources.items():
            results.extend(few_labels.compare_labeling(title, tasks, advance))
    console.print(_labeling_table(results, plan))
    return results


def _run_episodes(
    console: Console, train_images: Dataset, features: Dataset, plan: DemoPlan, seed: int
) -> tuple[GraphMethod, list[EpisodeResult]]:
    n_steps = 1 + plan.head_steps + plan.egnn_steps
    with stage(console, "Part 2: train on Latin, Greek and Cyrillic", n_steps) as advance:
        train_images = unseen_scripts.select_classes(train_images, plan.train_classes)
        train_features = unseen_scripts.encode_images(train_images)
        advance("encode")
        prototypes = unseen_scripts.train_head(train_features, plan.head_steps, seed, advance)
        egnn = unseen_scripts.train_egnn(prototypes, train_features, plan.egnn_steps, seed, advance)
    pretrained = unseen_scripts.pretrained_models()
    adapted = {PROTOTYPES: prototypes, EGNN: egnn}
    # Inductive episodes make one graph per query, which takes too long with five shots.
    one_shot_only = {"EGNN, inductive": egnn.in_mode(transductive=False)}
    evaluations = [
        (PRETRAINED, pretrained, 1, plan.one_shot_tasks),
        (ADAPTED, {**adapted, **one_shot_only}, 1, plan.one_shot_tasks),
        (PRETRAINED, pretrained, 5, plan.five_shot_tasks),
        (ADAPTED, adapted, 5, plan.five_shot_tasks),
    ]
    n_models = sum(len(models) for _, models, _, _ in evaluations)
    results = []
    with stage(console, "Part 2: test on Armenian and Lao", n_models) as advance:
        for training, models, shot, n_tasks in evaluations:
            results += unseen_scripts.evaluate_models(
                training, models, features, shot=shot, n_tasks=n_tasks, seed=seed, advance=advance
            )
    console.print(_episode_table(results, plan))
    return egnn, results


def _labeling_table(results: list[LabelingResult], plan: DemoPlan) -> Table:
    table = Table(
        title=f"Accuracy on unlabeled items in %, one label per class, {plan.n_draws} draws, "
        "95 % intervals",
        caption="Every method with the default arguments of its library; nothing was tuned.",
    )
    table.add_column("method")
    datasets = list(dict.fromkeys(result.data for result in results))
    for data in datasets:
        table.add_column(data, justify="right")
    for method in dict.fromkeys(result.method for result in results):
        intervals = {r.data: r.interval() for r in results if r.method == method}
        table.add_row(method, *[_percent(*intervals[data]) for data in datasets])
    return table


def _episode_table(results: list[EpisodeResult], plan: DemoPlan) -> Table:
    n_tasks = {1: plan.one_shot_tasks, 5: plan.five_shot_tasks}
    table = Table(
        title="5-way accuracy on Armenian and Lao glyphs in %, 95 % intervals over tasks",
        caption="All models share one frozen encoder. Adapted: an MLP head, and on it the EGNN "
        "layers, were trained on Latin, Greek and Cyrillic glyphs.",
    )
    table.add_column("training")
    table.add_column("method")
    for shot, n in n_tasks.items():
        table.add_column(f"{shot}-shot ({n:,} tasks)", justify="right")
    for training, method in dict.fromkeys((r.training, r.method) for r in results):
        cells = {
            r.shot: _percent(r.result.mean, r.result.half_width)
            for r in results
            if (r.training, r.method) == (training, method)
        }
        table.add_row(training, method, *[cells.get(shot, "–") for shot in n_tasks])
    return table


def _percent(mean: float, half_width: float) -> str:
    return f"{100 * mean:.1f} ± {100 * half_width:.1f}"


@contextmanager
def _single_thread() -> Iterator[None]:
    # These tensors are so small that threads cost more than they gain: on a busy machine they spin
    # while they wait for each other, which takes ten times the processor time.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(n_threads)
