"""Measure pitfalls of evaluation on glyphs: `python -m benchmarks.pitfalls.run`, minutes on one core, no download.

Each pitfall is a mistake behind published numbers, reproduced on purpose; the correct procedure is
measured on the same tasks. Encoders are small and training is short: the gaps are real, their sizes
hold for this setting only.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import graphfew as gf
from benchmarks import files

RESULTS = Path(__file__).parent / "results.json"
STEPS, EVERY, TASKS, CHOICE, TIMES = 200, 10, 1000, 100, 20
SETTING: dict[str, Any] = {
    "data": "glyphs",
    "encoder": "conv4, 32 channels",
    "steps": STEPS,
    "every": EVERY,
    "way": 10,
    "shot": 1,
    "query": 3,
    "batch": 4,
    "lr": 1e-3,
    "chosen_on_tasks": CHOICE,
    "choices": TIMES,
    "tasks": TASKS,
}
SEEDS = {"train": 1, "choice": 2, "test": 3}
MATCHED_STEP = 20
Models = dict[int, gf.GraphMethod]


def main() -> None:
    """Train once, measure each pitfall, and write the results."""
    torch.set_num_threads(1)
    models = trained()
    pitfalls: dict[str, Callable[[], dict[str, Any]]] = {
        "chosen on test": lambda: chosen(models),
        "answers matched to labels": lambda: matched(models[MATCHED_STEP]),
        "statistics of the test batch": lambda: batch_norm(models[STEPS]),
        "queries among the supports": lambda: overlapping(models[STEPS]),
        "hidden labels vote": hidden_votes,
    }
    found = {name: measure() for name, measure in pitfalls.items()}
    content = {
        "command": "python -m benchmarks.pitfalls.run",
        "setting": SETTING,
        "seeds": SEEDS,
        "pitfalls": found,
    }
    files.write(RESULTS, json.dumps(content, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def trained() -> Models:
    """Prototypical networks by their number of training steps."""
    model = gf.create("prototypical", encoder=gf.backbones.conv4(width=32, seed=0))
    task = {name: SETTING[name] for name in ("way", "shot", "query")}
    tasks = gf.Tasks(gf.data.glyphs("train"), **task, seed=SEEDS["train"])
    kept: Models = {}
    optimizer = torch.optim.Adam(model.parameters(), lr=SETTING["lr"])
    for step in gf.train(
        model,
        tasks,
        loss=gf.node_loss,
        batch=SETTING["batch"],
        steps=STEPS,
        optimizer=optimizer,
    ):
        if (step.index + 1) % EVERY == 0:
            kept[step.index + 1] = copy.deepcopy(model)
    return kept


def tasks_of(split: str, seed: int, **draw: Any) -> gf.Tasks:
    """5-way 1-shot tasks with 5 queries per class, except as given by `draw`."""
    return gf.Tasks(gf.data.glyphs(split), **{"way": 5, "shot": 1, "query": 5, **draw}, seed=seed)


def chosen(models: Models) -> dict[str, Any]:
    """Select the best of the later checkpoints on 100 test tasks or on 100 validation tasks, 20 times.

    Reports how far the selected checkpoint is above the mean of all checkpoints, on the tasks of
    the selection and on the other test tasks.
    """
    late = [step for step in models if step > STEPS // 2]
    n, times = CHOICE, TIMES
    test, val = (
        np.stack([every_task(models[step], split, n * times) for step in late])
        for split in ("test", "val")
    )
    by_test, by_val = (found.reshape(len(late), times, n).mean(2) for found in (test, val))
    elsewhere = (by_test.sum(1, keepdims=True) - by_test) / (times - 1)
    above, above_elsewhere = by_test - by_test.mean(0), elsewhere - elsewhere.mean(0)
    best, at = by_test.argmax(0), np.arange(times)
    return {
        "checkpoints": len(late),
        "choice_tasks": n,
        "times": times,
        "reported": figure(above[best, at]),
        "true": figure(above_elsewhere[best, at]),
        "by validation": figure(above_elsewhere[by_val.argmax(0), at]),
    }


def on_features(model: gf.GraphMethod, split: str) -> tuple[gf.Dataset, gf.GraphMethod]:
    """A split encoded by the model's encoder, and a prototypical network on these features."""
    data = gf.data.encode(gf.data.glyphs(split), model.encoder)
    return data, gf.create("prototypical", encoder=gf.backbones.identity(data.x.shape[1]))


def every_task(model: gf.GraphMethod, split: str, n: int) -> NDArray[np.float64]:
    """Accuracies on `n` tasks."""
    data, head = on_features(model, split)
    source = gf.Tasks(data, way=5, shot=1, query=5, seed=SEEDS["choice"])
    return np.array(gf.evaluate(head, source, n).per_task)


def matched(model: gf.GraphMethod) -> dict[str, Any]:
    """Accuracy after an optimal matching of predictions to labels within each task."""

    def score(predicted: Tensor, target: Tensor) -> tuple[float, float]:
        table = np.zeros((5, 5), dtype=int)
        np.add.at(table, (predicted.numpy(), target.numpy()), 1)
        rows, columns = linear_sum_assignment(-table)
        return float(np.trace(table)) / len(predicted), float(table[rows, columns].sum()) / len(
            predicted
        )

    def both(query: int) -> dict[str, Any]:
        source = tasks_of("test", SEEDS["test"], query=query)
        pairs = [score(predicted, target) for predicted, target in predictions(model, source)]
        return pair([right for right, _ in pairs], [wrong for _, wrong in pairs])

    return {f"{query} per class": both(query) for query in (1, 5, 15)}


def batch_norm(model: gf.GraphMethod) -> dict[str, Any]:
    """Running statistics compared with those of each test task, queries included."""
    glyphs, digits = gf.data.glyphs("test"), gf.data.digits(size=28)
    draws: dict[str, tuple[gf.Dataset, int | gf.data.QuerySampler]] = {
        "glyphs, 5 queries per class": (glyphs, 5),
        "glyphs, 25 of one class": (glyphs, gf.data.single_class(25)),
        "handwritten digits, 5 per class": (digits, 5),
        "handwritten digits, 25 of one class": (digits, gf.data.single_class(25)),
        "handwritten digits, one query": (digits, gf.data.single()),
    }
    out = {}
    for name, (data, query) in draws.items():
        source = gf.Tasks(data, way=5, shot=1, query=query, seed=SEEDS["test"])
        right, wrong = (
            gf.evaluate(model, source, TASKS, transductive_bn=declared)
            for declared in (False, True)
        )
        out[name] = pair(right.per_task, wrong.per_task)
    return out


def overlapping(model: gf.GraphMethod) -> dict[str, Any]:
    """Queries sampled from all items of their class, supports included (20 images per class)."""
    data, head = on_features(model, "test")
    out = {}
    for shot in (1, 5):
        source = gf.Tasks(data, way=5, shot=shot, query=5, seed=SEEDS["test"])
        right = [accuracy(*task) for task in predictions(head, source)]
        rng = np.random.default_rng(SEEDS["test"])
        wrong = [accuracy(*overlapped(head, data, source.draw(i), rng)) for i in range(TASKS)]
        out[f"{shot}-shot"] = pair(right, wrong)
    return out


def overlapped(
    head: gf.GraphMethod, data: gf.Dataset, draw: gf.data.TaskDraw, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Predictions and targets of a task whose queries are resampled without excluding the supports."""
    items = draw.items.copy()
    queries = np.flatnonzero(draw.role == draw.role.max())
    for c in range(len(draw.classes)):
        of_class = queries[draw.label[queries] == c]
        items[of_class] = rng.choice(data.members[draw.classes[c]], len(of_class), replace=False)
    query = torch.zeros(len(items), dtype=torch.bool)
    query[queries] = True
    label = torch.from_numpy(draw.label)
    episode = gf.Episode.single(
        data.gather(items), label.masked_fill(query, -1), query, len(draw.classes)
    )
    with gf.nn.eval_mode(head):
        return gf.predict(head, episode).argmax(1), label[query]


def hidden_votes() -> dict[str, Any]:
    """EGNN with one of five shots labeled: votes of the labeled shots, and votes with all true labels."""
    model = gf.load("egnn-omniglot")
    source = tasks_of("test", SEEDS["test"], shot=5, labeled_ratio=0.2)
    right, wrong = [], []
    with gf.nn.eval_mode(model):
        for i in range(TASKS):
            episode, target = source[i]
            out, label = model(episode), torch.from_numpy(source.draw(i).label)
            right.append(accuracy(out.logits.argmax(1), target))
            edges = out.graphs[-1].topology.matrices(out.graphs[-1].edges[:, :1])
            votes = edges[0][episode.query][:, ~episode.query]
            scores = votes.squeeze(-1) @ torch.nn.functional.one_hot(label[~episode.query], 5).to(
                votes.dtype
            )
            wrong.append(accuracy(scores.argmax(1), target))
    return {"a fifth labeled": pair(right, wrong)}


def predictions(model: gf.GraphMethod, source: gf.Tasks) -> Iterator[tuple[Tensor, Tensor]]:
    """Predictions and targets of each task."""
    with gf.nn.eval_mode(model):
        for i in range(TASKS):
            episode, target = source[i]
            yield gf.predict(model, episode).argmax(1), target


def accuracy(predicted: Tensor, target: Tensor) -> float:
    """Fraction of correct predictions."""
    return float((predicted == target).float().mean())


def figure(values: Any) -> dict[str, float]:
    """Mean and half width of the 95 % interval."""
    mean, half = gf.evaluation.t_interval([float(value) for value in values])
    return {"mean": mean, "half_width": half}


def pair(right: Any, wrong: Any) -> dict[str, Any]:
    """Both procedures and their paired difference on the same tasks."""
    gaps = [w - r for w, r in zip(wrong, right, strict=True)]
    assert math.isfinite(sum(gaps))
    return {"right": figure(right), "wrong": figure(wrong), "gain": figure(gaps)}


if __name__ == "__main__":
    main()
