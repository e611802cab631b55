"""Weights & Biases."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any, final

from graphfew.loggers.logger_protocol import RunRequest

PROJECT = "graphfew"
STEP = "step"


@final
class _WandbLogger:
    """A `RunLogger` on a run of wandb."""

    def __init__(self, run: Any) -> None:
        self._run = run

    @property
    def run_id(self) -> str:
        return str(self._run.id)

    def log(self, values: Mapping[str, float], step: int, /) -> None:
        # wandb's own step must not go back, as it does after resuming from a checkpoint. Steps that
        # are repeated have the same values.
        self._run.log({**values, STEP: step})

    def close(self, *, succeeded: bool) -> None:
        self._run.finish(exit_code=0 if succeeded else 1)


def open_wandb(request: RunRequest) -> _WandbLogger:
    """Start or continue a run; wandb's environment variables have precedence."""
    # An optional package.
    wandb: Any = importlib.import_module("wandb")
    request.folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=request.name,
        dir=str(request.folder),
        config=dict(request.config),
        id=request.run_id,
        resume=None if request.run_id is None else "allow",
    )
    run.define_metric(STEP, hidden=True)
    run.define_metric("*", step_metric=STEP)
    return _WandbLogger(run)
