"""Second-order inner loop on a linear classifier: tasks per processor-second against loops over tasks.

The loops are written as learn2learn's MAML: one task after the other, autograd for each step. If
learn2learn is installed, its MAML is measured too. All forms have the same weights and tasks, and
features that need no gradient; their losses and gradients are compared before the measurement.

Run: OMP_NUM_THREADS=1 python -m benchmarks.speed.inner_loop --out benchmarks/speed/results/inner_loop.json
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock, shapes

WAY, SHOT, QUERIES, DIM, TASKS = 5, 5, 15, 640, 32
STEPS, RATE = 5, 0.05
LIBRARY = "graphfew"
# The logits of all queries `[Q, way]`; with the second argument, with gradients of second order.
Logits = Callable[[gf.Episode, bool], Tensor]


class TaskLoop(nn.Module):
    """MAML of a linear layer as a loop over tasks.

    Args:
        head: the linear layer, whose weights are the start of every task.
        adapt: `(head, x, y, second_order) -> function`, from features to logits.
    """

    def __init__(self, head: nn.Linear, adapt: Callable[..., Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.head = head
        self.adapt = adapt

    def forward(self, episode: gf.Episode, second_order: bool) -> Tensor:
        """Return the logits of all queries."""
        logits = []
        for x, y, query in zip(*_tasks(episode), strict=True):
            with torch.enable_grad():
                predict = self.adapt(self.head, x[~query], y[~query], second_order)
            logits.append(predict(x[query]))
        return torch.cat(logits)


def _tasks(episode: gf.Episode) -> tuple[tuple[Tensor, ...], ...]:
    sizes = list(episode.sizes)
    return episode.x.split(sizes), episode.y.split(sizes), episode.query.split(sizes)


def by_autograd(
    head: nn.Linear, x: Tensor, y: Tensor, second_order: bool
) -> Callable[[Tensor], Tensor]:
    """Adapt weights by `torch.autograd.grad`."""
    weight, bias = head.weight, head.bias
    for _ in range(STEPS):
        loss = F.cross_entropy(F.linear(x, weight, bias), y)
        slope = torch.autograd.grad(loss, (weight, bias), create_graph=second_order)
        weight, bias = weight - RATE * slope[0], bias - RATE * slope[1]
    return lambda features: F.linear(features, weight, bias)


def by_functional(
    head: nn.Linear, x: Tensor, y: Tensor, second_order: bool
) -> Callable[[Tensor], Tensor]:
    """Adapt weights by `torch.func.grad`, which is of any order."""
    del second_order

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(head, weights, (x,)), y)

    weights: dict[str, Tensor] = dict(head.named_parameters())
    for _ in range(STEPS):
        slopes = torch.func.grad(loss)(weights)
        weights = {name: value - RATE * slopes[name] for name, value in weights.items()}
    return lambda features: torch.func.functional_call(head, weights, (features,))


def by_learn2learn(
    head: nn.Linear, x: Tensor, y: Tensor, second_order: bool
) -> Callable[[Tensor], Tensor]:
    """Adapt a clone by learn2learn's MAML."""
    algorithms: Any = importlib.import_module("learn2learn.algorithms")
    learner = algorithms.MAML(head, lr=RATE, first_order=not second_order).clone()
    for _ in range(STEPS):
        learner.adapt(F.cross_entropy(learner(x), y))
    return lambda features: learner(features)


def forms(dim: int) -> dict[str, tuple[nn.Module, Logits]]:
    """The library's model, and the loops, all with the same weights."""
    model = gf.create(
        "anil",
        encoder=gf.backbones.identity(dim),
        way=WAY,
        steps=STEPS,
        rate=RATE,
        rate_unit=gf.nn.absolute_unit,
    )
    head = nn.Linear(dim, WAY)
    head.load_state_dict(model.layers.get_submodule("0.fit.start").state_dict())

    def library(episode: gf.Episode, second_order: bool) -> Tensor:
        return model(episode).logits if second_order else model.predict_logits(episode)

    result: dict[str, tuple[nn.Module, Logits]] = {LIBRARY: (model, library)}
    adapted = {"loop of torch.autograd": by_autograd, "loop of torch.func": by_functional}
    if importlib.util.find_spec("learn2learn") is not None:
        adapted["learn2learn"] = by_learn2learn
    for name, adapt in adapted.items():
        loop = TaskLoop(head, adapt)
        result[name] = (loop, loop)
    return result


def calls(
    measured: Mapping[str, tuple[nn.Module, Logits]], episode: gf.Episode, target: Tensor
) -> dict[str, dict[str, Callable[[], Tensor]]]:
    """A training step and an evaluation of each form."""

    def training(module: nn.Module, logits: Logits) -> Callable[[], Tensor]:
        def call() -> Tensor:
            module.zero_grad()
            loss = F.cross_entropy(logits(episode, True), target)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        return call

    def evaluation(logits: Logits) -> Callable[[], Tensor]:
        def call() -> Tensor:
            with torch.no_grad():
                return logits(episode, False)

        return call

    return {
        "training": {name: training(*form) for name, form in measured.items()},
        "evaluation": {name: evaluation(logits) for name, (_, logits) in measured.items()},
    }


def largest_differences(
    measured: Mapping[str, tuple[nn.Module, Logits]], episode: gf.Episode, target: Tensor
) -> dict[str, float]:
    """How much the loops' gradients and logits differ from the library's, relative to the largest."""
    results = {}
    stages = calls(measured, episode, target)
    for name, (module, _) in measured.items():
        stages["training"][name]()
        gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        results[name] = (flat, stages["evaluation"][name]().detach())
    differences = {}
    for name, values in results.items():
        pairs = zip(values, results[LIBRARY], strict=True)
        relative = [((a - b).abs().max() / b.abs().max()).item() for a, b in pairs]
        differences[name] = max(relative)
    return differences


def measure(repeats: int, tasks: int = TASKS, dim: int = DIM) -> dict[str, object]:
    """Tasks per processor-second of each form, in turn."""
    episode, target = shapes.episode(WAY, SHOT, QUERIES, tasks, dim)
    measured = forms(dim)
    differences = largest_differences(measured, episode, target)
    rows: dict[str, object] = {}
    for stage, by_name in calls(measured, episode, target).items():
        times = clock.interleaved(by_name, repeats, time.process_time)
        rows[stage] = {
            "tasks_per_processor_second": {
                name: tasks / statistics.median(values) for name, values in times.items()
            },
            "graphfew_times_as_fast": {
                name: statistics.median(a / b for a, b in zip(values, times[LIBRARY], strict=True))
                for name, values in times.items()
                if name != LIBRARY
            },
            "seconds": times,
        }
    return {
        **rows,
        "largest_relative_difference": differences,
        "repeats": repeats,
        **clock.machine(),
        "setting": {
            "way": WAY,
            "shot": SHOT,
            "queries_per_class": QUERIES,
            "dim": dim,
            "tasks": tasks,
            "steps": STEPS,
            "order": 2,
            "dtype": "float32",
        },
    }


def main() -> None:
    """Measure, print, and write the result beside first and then renamed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.repeats)
    shown = {key: value for key, value in result.items() if key not in ("training", "evaluation")}
    for stage in ("training", "evaluation"):
        row: Any = result[stage]
        shown[stage] = {key: value for key, value in row.items() if key != "seconds"}
    print(json.dumps(shown, indent=1))
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
