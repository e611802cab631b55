"""A sequence of layers whose batch norms, in evaluation, are part of the convolutions before them."""

from __future__ import annotations

import itertools
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights


@final
class Folding(nn.Sequential):
    """As `nn.Sequential`, with the same names and, to rounding, the same values.

    Without gradients, a batch norm that uses its running statistics is folded into the weights of the convolution
    before it, which saves a pass over every map. Where either layer has hooks both run as they are.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Through all layers."""
        if torch.is_grad_enabled():
            out: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return out
        folded: nn.Module | None = None
        for layer, after in itertools.zip_longest(self, list(self)[1:]):
            if layer is folded:
                continue
            if (
                isinstance(layer, nn.Conv2d)
                and isinstance(after, nn.BatchNorm2d)
                and _foldable(layer, after)
            ):
                x, folded = _convolve(layer, after, x), after
            else:
                x = layer(x)
        return x


def _foldable(layer: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    watched = any(m._forward_hooks or m._forward_pre_hooks for m in (layer, norm))
    return (
        not norm.training
        and norm.running_mean is not None
        and layer.padding_mode == "zeros"
        and not watched
    )


def _convolve(layer: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        layer.weight,
        layer.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
