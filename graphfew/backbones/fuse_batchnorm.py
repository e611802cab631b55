"""A sequence of layers that fuses batch norms into convolutions in evaluation."""

from __future__ import annotations

import itertools
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights


@final
class FusedSequential(nn.Sequential):
    """An `nn.Sequential` with faster evaluation and, up to rounding, the same results.

    Without gradients, a batch norm that uses running statistics is fused into the weights of the
    convolution before it, which saves one pass over every feature map. Layers with hooks run
    unfused. The fused weights are computed in every call: they cost little next to a convolution
    of images, and nothing can become stale when weights change.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers."""
        # Fused weights would need gradients to the four tensors they are made of.
        if torch.is_grad_enabled():
            out: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return out
        fused_norm: nn.Module | None = None
        for layer, next_layer in itertools.zip_longest(self, list(self)[1:]):
            # Already applied, as part of the convolution before it.
            if layer is fused_norm:
                continue
            if (
                isinstance(layer, nn.Conv2d)
                and isinstance(next_layer, nn.BatchNorm2d)
                and _can_fuse(layer, next_layer)
            ):
                x = _fused_convolution(layer, next_layer, x)
                fused_norm = next_layer
            else:
                x = layer(x)
        return x


def _can_fuse(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    if norm.training or norm.running_mean is None:
        return False
    has_hooks = any(m._forward_hooks or m._forward_pre_hooks for m in (conv, norm))
    # F.conv2d pads with zeros only; the other modes are code of the module.
    return conv.padding_mode == "zeros" and not has_hooks


def _fused_convolution(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
