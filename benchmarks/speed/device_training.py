"""Episodes per second on one device: training on Omniglot, MAML, and the kernel form of the inner loop."""

from __future__ import annotations

import time
from contextlib import nullcontext

import torch
from torch.nn import functional as F

import graphfew as gf
from benchmarks.speed import clock, inner_loop, maml, shapes
from benchmarks.speed.device_models import TYPES, synchronized
from benchmarks.speed.device_setting import Setting

STEPS, WARM_UP, BATCH = 50, 5, 32


def omniglot(setting: Setting) -> dict[str, object]:
    """Training episodes of EGNN per second, 5-way 5-shot, one query per class, images on the device."""
    steps, warm_up, batch = (2, 1, 2) if setting.small else (STEPS, WARM_UP, BATCH)
    # Omniglot may not be at hand; glyphs have the same size and need no download.
    name, load = "omniglot", gf.data.omniglot
    if setting.small:
        name, load = "glyphs", gf.data.glyphs
    tasks = gf.Tasks(load(split="train").to(setting.device), way=5, shot=5, query=1, seed=0)
    kernels = (False, True) if setting.device.type == "cuda" else (False,)
    out: dict[str, object] = {"data": name}
    for fused in kernels:
        for kind, dtype in TYPES.items():
            setting.check_time()
            encoder = gf.backbones.conv4(width=8) if setting.small else gf.backbones.conv4()
            model = gf.create("egnn", encoder=encoder).to(setting.device)
            context = gf.nn.fused_kernels(model) if fused else nullcontext()
            with context:
                seconds = _training_seconds(model, tasks, dtype, warm_up, steps, batch, setting)
            out[f"{'fused' if fused else 'plain'}, {kind}"] = batch * steps / seconds
    return out


def maml_steps(setting: Setting) -> dict[str, object]:
    """Tasks per second of MAML, 5-way 1-shot with Conv-4, in training and evaluation."""
    n_tasks, n_queries, width, steps = (1, 1, 4, 1) if setting.small else (4, 15, 64, 5)
    episode, target = (part.to(setting.device) for part in maml.batch(n_tasks, n_queries))
    out: dict[str, object] = {}
    for name, rule in (
        ("statistics of the supports", gf.nn.support_moments),
        ("statistics of the queries", gf.nn.transductive_moments),
    ):
        setting.check_time()
        model = maml.model(steps, width, batch_norm=rule).to(setting.device)
        out[name] = _task_rates(model, episode, target, n_tasks, setting)
    return out


def kernel_inner_loop(setting: Setting) -> dict[str, object]:
    """Tasks per second of ANIL, whose inner loop is computed from the kernel matrix of the supports."""
    n_tasks, dim = (2, 8) if setting.small else (32, 640)
    shape = (inner_loop.WAY, inner_loop.SHOT, inner_loop.QUERIES, n_tasks, dim)
    episode, target = (part.to(setting.device) for part in shapes.episode(*shape))
    module, _ = inner_loop.forms(dim)[inner_loop.LIBRARY]
    assert isinstance(module, gf.GraphMethod)
    return _task_rates(module.to(setting.device), episode, target, n_tasks, setting)


def _task_rates(
    model: gf.GraphMethod,
    episode: gf.Episode,
    target: torch.Tensor,
    n_tasks: int,
    setting: Setting,
) -> dict[str, object]:
    def train() -> None:
        model.zero_grad()
        F.cross_entropy(model(episode).logits, target).backward()

    def evaluate() -> None:
        with torch.no_grad():
            model(episode).logits  # noqa: B018 - computed on access by some methods

    calls = {
        "training": synchronized(train, setting.device),
        "evaluation": synchronized(evaluate, setting.device),
    }
    middle = clock.medians(clock.interleaved(calls, setting.repeats))
    return {f"{name}, tasks per second": n_tasks / seconds for name, seconds in middle.items()}


def _training_seconds(
    model: gf.GraphMethod,
    tasks: gf.Tasks,
    dtype: torch.dtype,
    warm_up: int,
    steps: int,
    batch: int,
    setting: Setting,
) -> float:
    def run(start: int, end: int) -> None:
        for _ in gf.train(
            model,
            tasks,
            loss=gf.edge_loss,
            batch=batch,
            precision=dtype,
            autocast_layers=True,
            start=start,
            steps=end,
        ):
            pass
        setting.synchronize()

    run(0, warm_up)
    begin = time.perf_counter()
    run(warm_up, warm_up + steps)
    return time.perf_counter() - begin
