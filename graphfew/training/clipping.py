"""Gradient clipping, as a wrapper of optimizer factories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from graphfew.errors import InvalidInputError
from graphfew.training.loop import OptimizerFactory


def clip_gradients(
    optimizer: OptimizerFactory,
    *,
    value: float | None = None,
    tensor_norm: float | None = None,
    norm: float | None = None,
) -> OptimizerFactory:
    """Clip gradients before every step of an optimizer, in the order of the arguments.

    LEO clips with `value=0.1, tensor_norm=0.1`, and trains unstably without.

    Args:
        optimizer: factory that is called with the parameters, such as `functools.partial(
            torch.optim.Adam, lr=1e-3)`.
        value: largest absolute value of every number.
        tensor_norm: largest Euclidean norm of the gradient of each parameter tensor.
        norm: largest Euclidean norm of all gradients together.

    Returns:
        A factory of the same optimizers, which clip.

    Raises:
        InvalidInputError: no limit is given, or one is not positive.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> adam = gf.training.clip_gradients(torch.optim.Adam, norm=0.25)
        >>> tasks = gf.Tasks(gf.data.digits(), way=3, query=2)
        >>> model = gf.create("prototypical", encoder=gf.backbones.conv4(width=4))
        >>> steps = gf.train(model, tasks, loss=gf.node_loss, optimizer=adam, batch=2, steps=2)
        >>> len(list(steps))
        2
    """
    limits = {"value": value, "tensor_norm": tensor_norm, "norm": norm}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if not given or min(given.values()) <= 0:
        raise InvalidInputError(
            f"clip_gradients got {given or 'no limit'}; give value, tensor_norm or norm, each "
            "positive"
        )

    def clip(built: Optimizer, args: Any, kwargs: Any) -> None:
        del args, kwargs
        parameters = _with_gradients(built)
        if value is not None:
            nn.utils.clip_grad_value_(parameters, value)
        if tensor_norm is not None:
            for parameter in parameters:
                nn.utils.clip_grad_norm_([parameter], tensor_norm)
        if norm is not None:
            nn.utils.clip_grad_norm_(parameters, norm)

    def build(parameters: Iterable[nn.Parameter]) -> Optimizer:
        built = optimizer(parameters)
        built.register_step_pre_hook(clip)
        return built

    return build


def _with_gradients(optimizer: Optimizer) -> list[torch.Tensor]:
    parameters = []
    for group in optimizer.param_groups:
        parameters += [parameter for parameter in group["params"] if parameter.grad is not None]
    return parameters
