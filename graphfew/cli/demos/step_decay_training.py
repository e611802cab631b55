"""The training stage that the short and the full demo share."""

from __future__ import annotations

from functools import partial

import torch
from torch.optim.lr_scheduler import StepLR

from graphfew.cli.demos.stage_progress import Advance
from graphfew.data.tasks import Tasks
from graphfew.methods.losses import node_loss
from graphfew.nn.method import GraphMethod
from graphfew.training.loop import train


def fit(
    model: GraphMethod,
    tasks: Tasks,
    n_steps: int,
    *,
    batch: int,
    lr: float,
    n_stages: int,
    seed: int,
    advance: Advance,
) -> None:
    """Train with Adam and a learning rate that is halved after each of `n_stages` equal stages."""
    steps = train(
        model,
        tasks,
        loss=node_loss,
        batch=batch,
        steps=n_steps,
        optimizer=partial(torch.optim.Adam, lr=lr),
        scheduler=partial(StepLR, step_size=max(n_steps // n_stages, 1), gamma=0.5),
        seed=seed,
    )
    for step in steps:
        advance(f"loss {step.loss:.2f}, accuracy {step.accuracy:.2f}")
