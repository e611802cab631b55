"""Evaluation mode as a context manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from graphfew.errors import ContractError

_BatchNorm = nn.modules.batchnorm._BatchNorm


def check_running_statistics(model: nn.Module) -> None:
    """Check that every batch norm has running statistics.

    Without them a batch norm normalizes by the batch also in evaluation mode, so that the
    prediction of a query depends on the other queries.

    Args:
        model: any module, such as a method or an encoder.

    Raises:
        ContractError: a batch norm with `track_running_stats=False`.

    Example:
        >>> import graphfew as gf
        >>> gf.nn.check_running_statistics(gf.backbones.conv4(width=4))
    """
    if any(norm.running_mean is None for norm in _batch_norms(model)):
        raise ContractError(
            "a batch norm has no running statistics, so predictions depend on the other queries; "
            "build it with track_running_stats=True, or set transductive_bn=True"
        )


@contextmanager
def eval_mode(model: nn.Module, *, transductive_bn: bool = False) -> Iterator[None]:
    """Switch a model to evaluation mode without gradients, and restore its modes afterwards.

    Args:
        model: any method or encoder.
        transductive_bn: let batch norm use the statistics of the current batch, queries included.
            Running statistics are unchanged afterwards.

    Yields:
        None, once: the model is in evaluation mode in the body of the `with` statement.

    Raises:
        ContractError: a batch norm without running statistics, unless `transductive_bn` is set.

    Example:
        >>> import graphfew as gf
        >>> model = gf.create("egnn", encoder=gf.backbones.conv4(width=4))
        >>> with gf.nn.eval_mode(model):
        ...     model.training
        False
        >>> model.training
        True
    """
    if not transductive_bn:
        check_running_statistics(model)
    modes = {module: module.training for module in model.modules()}
    saved_buffers: dict[str, torch.Tensor] = {}
    if transductive_bn:
        # Batch norm in training mode updates its running statistics, also without gradients.
        saved_buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.eval()
    for norm in _batch_norms(model):
        norm.train(transductive_bn)
    try:
        with torch.no_grad():
            yield
    finally:
        # Attribute by attribute: `module.train(mode)` would also set all submodules.
        for module, mode in modes.items():
            module.training = mode
        for name, buffer in saved_buffers.items():
            model.get_buffer(name).copy_(buffer)


def _batch_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]
