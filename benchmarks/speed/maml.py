"""MAML on Omniglot's Conv-4 against a plain loop of `torch.func.functional_call`, and memory against inner steps.

Run: OMP_NUM_THREADS=1 python -m benchmarks.speed.maml --out benchmarks/speed/results/maml.json
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock, memory

WAY, SHOT, QUERIES, TASKS, WIDTH = 5, 1, 15, 4, 64
STEPS, STEP_SIZE = 5, 0.4
MEMORY_STEPS = (1, 2, 5, 10)
SIZE = 28


def batch(tasks: int = TASKS, queries: int = QUERIES) -> tuple[gf.Episode, Tensor]:
    """Tasks of random images, supports first, and the classes of the queries."""
    n_supports = WAY * SHOT
    label = torch.arange(WAY).repeat(SHOT + queries)
    query = torch.arange(len(label)) >= n_supports
    x = torch.rand(tasks * len(label), 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    y = label.masked_fill(query, -1).repeat(tasks)
    sizes, ways = (len(label),) * tasks, (WAY,) * tasks
    return gf.Episode(x, y, query.repeat(tasks), sizes, ways), label[query].repeat(tasks)


def model(steps: int, width: int = WIDTH, **arguments: object) -> gf.GraphMethod:
    """MAML with its published start, a row for each class."""
    encoder = gf.backbones.conv4(width=width)
    return gf.create(
        "maml",
        encoder=encoder,
        steps=steps,
        step_size=STEP_SIZE,
        start=gf.nn.own_rows,
        way=WAY,
        **arguments,
    )


class PlainLoop(nn.Module):
    """MAML as a loop over tasks and steps, with batch norms that use the statistics of their input.

    Without second derivatives (`first_order`), gradients are constants.
    """

    def __init__(self, maml: gf.GraphMethod, steps: int, first_order: bool = False) -> None:
        super().__init__()
        encoder = copy.deepcopy(maml.encoder)
        for norm in encoder.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.track_running_stats = False
                norm.running_mean = norm.running_var = norm.num_batches_tracked = None
        head = nn.Linear(encoder.out_dim, WAY)
        start = maml.condition.head_start  # type: ignore[union-attr]
        head.load_state_dict(start.state_dict())
        self.net = nn.Sequential(encoder, head)
        self.steps, self.first_order = steps, first_order
        norms = {name for name, m in self.net.named_modules() if isinstance(m, nn.BatchNorm2d)}
        self.adapted = [
            name for name, _ in self.net.named_parameters() if name.rpartition(".")[0] not in norms
        ]

    def forward(self, episode: gf.Episode) -> Tensor:
        """Return the logits of all queries."""
        second_order = torch.is_grad_enabled() and not self.first_order
        logits = []
        for task in range(episode.n_tasks):
            one = episode.take([task])
            x, y = one.x[~one.query], one.y[~one.query]
            weights = {name: self.net.get_parameter(name) for name in self.adapted}
            for _ in range(self.steps):
                with torch.enable_grad():
                    loss = F.cross_entropy(torch.func.functional_call(self.net, weights, (x,)), y)
                    gradients = torch.autograd.grad(
                        loss, list(weights.values()), create_graph=second_order
                    )
                    pairs = zip(weights.items(), gradients, strict=True)
                    weights = {name: value - STEP_SIZE * g for (name, value), g in pairs}
            logits.append(torch.func.functional_call(self.net, weights, (one.x[one.query],)))
        return torch.cat(logits)


def calls(
    steps: int, width: int = WIDTH, tasks: int = TASKS, queries: int = QUERIES
) -> Mapping[str, Callable[[], object]]:
    """Evaluation and training steps of both forms; the library's also with its inductive batch norm."""
    episode, target = batch(tasks, queries)
    result: dict[str, Callable[[], object]] = {}
    for order, first_order in (("second order", False), ("first order", True)):
        library = {
            name: model(steps, width, first_order=first_order, batch_norm=rule)
            for name, rule in (
                ("graphfew", gf.nn.support_moments),
                ("graphfew, statistics of the queries", gf.nn.transductive_moments),
            )
        }
        plain = PlainLoop(library["graphfew"], steps, first_order)
        forms: dict[str, tuple[nn.Module, Callable[[gf.Episode], Tensor]]] = {
            "plain loop": (plain, plain)
        }
        for name, method in library.items():
            forms[name] = (method, _logits(method))
        for name, (module, logits) in forms.items():
            result[f"training, {order}: {name}"] = _training(module, logits, episode, target)
            if not first_order:
                result[f"evaluation: {name}"] = _evaluation(logits, episode)
    return result


def _logits(method: gf.GraphMethod) -> Callable[[gf.Episode], Tensor]:
    return lambda episode: method(episode).logits


def _evaluation(
    logits: Callable[[gf.Episode], Tensor], episode: gf.Episode
) -> Callable[[], Tensor]:
    def call() -> Tensor:
        with torch.no_grad():
            return logits(episode)

    return call


def _training(
    module: nn.Module,
    logits: Callable[[gf.Episode], Tensor],
    episode: gf.Episode,
    target: Tensor,
) -> Callable[[], None]:
    def call() -> None:
        module.zero_grad()
        F.cross_entropy(logits(episode), target).backward()

    return call


def one(form: str, steps: int) -> dict[str, float]:
    """Bytes of a training step above those before it, in this process; the largest it has held."""
    call = calls(steps)[form]
    memory.CLEAR.write_text("5", encoding="ascii")
    before = memory.held("VmRSS")
    call()
    return {"bytes": memory.held("VmHWM") - before, "steps": steps}


def memory_table() -> dict[str, list[dict[str, float]]]:
    """Memory of a training step for each number of inner steps, each in a process of its own."""
    rows: dict[str, list[dict[str, float]]] = {}
    forms = [f"training, {o}: {n}" for o in ("second order", "first order") for n in FORMS]
    for form in forms:
        rows[form] = []
        for steps in MEMORY_STEPS:
            command = [sys.executable, "-m", "benchmarks.speed.maml", "--one", form, str(steps)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            rows[form].append(json.loads(run.stdout))
    return rows


FORMS = ("plain loop", "graphfew")


def measure(
    repeats: int,
    steps: int = STEPS,
    width: int = WIDTH,
    tasks: int = TASKS,
    queries: int = QUERIES,
) -> dict[str, object]:
    """Processor-seconds of each form in turn, and how much faster the library is than the plain loop."""
    times = clock.interleaved(calls(steps, width, tasks, queries), repeats, time.process_time)
    speedup: dict[str, dict[str, float]] = {}
    for form in ("evaluation", "training, second order", "training, first order"):
        own = {
            name.removeprefix(f"{form}: "): values
            for name, values in times.items()
            if name.startswith(f"{form}: ")
        }
        speedup[form] = clock.ratios(own, "plain loop")
    return {
        "seconds": times,
        "speedup": speedup,
        "repeats": repeats,
        **clock.machine(),
        "setting": {
            "way": WAY,
            "shot": SHOT,
            "queries_per_class": queries,
            "tasks": tasks,
            "width": width,
            "steps": steps,
            "dtype": "float32",
        },
    }


def main() -> None:
    """Measure, print, and write the result beside first and then renamed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("FORM", "STEPS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one[0], int(arguments.one[1]))))
        return
    result = measure(arguments.repeats)
    result["memory"] = memory_table()
    print(json.dumps({key: result[key] for key in ("speedup", "memory")}, indent=1))
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
