"""Update rules of `train`: how one batch of tasks becomes gradients of the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Loss = Callable[[Any, Tensor], Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class BatchUpdate:
    """What an update rule computes from one batch, before the weights change.

    Attributes:
        loss: scalar, reported by `TrainStep`; training stops if it is not finite.
        logits: `[n, way]` predictions, of which `TrainStep` reports the accuracy.
        target: `[n]` int64, their classes.
        backward: sets the gradient of each parameter; called once, after the loss was checked.

    Example:
        >>> import torch
        >>> weight = torch.ones(1, requires_grad=True)
        >>> loss = 3 * weight.sum()
        >>> BatchUpdate(loss, torch.eye(2), torch.arange(2), loss.backward).backward()
        >>> weight.grad
        tensor([3.])
    """

    loss: Tensor
    logits: Tensor
    target: Tensor
    backward: Callable[[], None]


# `(model, batch, target, loss) -> BatchUpdate`. The weights must be the same after the call: the
# optimizer of `train` changes them.
UpdateRule = Callable[[nn.Module, Any, Tensor, Loss], BatchUpdate]


def query_loss_update(model: nn.Module, batch: Any, target: Tensor, loss: Loss) -> BatchUpdate:
    """Update by the gradient of the loss on the queries, the default rule.

    Args:
        model: the model.
        batch: tasks, or another batch that the model accepts.
        target: `[Q]` int64, the class of each query.
        loss: `(output, target) -> scalar`.

    Returns:
        The update.

    Example:
        >>> import graphfew as gf
        >>> batch, target = gf.Tasks(gf.data.digits(), way=3, query=2)[0]
        >>> model = gf.create("prototypical", encoder=gf.backbones.conv4(width=4))
        >>> query_loss_update(model, batch, target, gf.node_loss).logits.shape
        torch.Size([6, 3])
    """
    output = model(batch)
    value = loss(output, target)
    return BatchUpdate(value, output.logits, target, value.backward)
