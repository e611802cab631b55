"""Evaluation mode as a context manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from graphfew.errors import ContractError
from graphfew.nn.method import GraphMethod

Norm = nn.modules.batchnorm._BatchNorm


@contextmanager
def eval_mode(model: GraphMethod, *, transductive_bn: bool = False) -> Iterator[None]:
    """The model in evaluation mode, without gradients; on leaving, every module is back in its own mode.

    Args:
        model: any method.
        transductive_bn: batch norm uses the statistics of the task at hand, queries included, and running statistics
            stay as they were.

    Raises:
        ContractError: a batch norm without running statistics, which would look at the other queries, undeclared.
    """
    norms = [m for m in model.modules() if isinstance(m, Norm)]
    if not transductive_bn and any(m.running_mean is None for m in norms):
        raise ContractError(
            "a batch norm keeps no running statistics, so predictions depend on the other queries; "
            "build it with track_running_stats=True, or declare transductive_bn=True"
        )
    modes = {module: module.training for module in model.modules()}
    kept = {name: value.clone() for name, value in model.named_buffers()} if transductive_bn else {}
    model.eval()
    for norm in norms:
        norm.train(transductive_bn)
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for name, value in kept.items():
            model.get_buffer(name).copy_(value)
