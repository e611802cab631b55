"""Residual networks for images: blocks of few-shot ResNet-12 and of wide residual networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from graphfew.backbones.fuse_batchnorm import Folding

SLOPE = 0.1


@final
class Residual(nn.Module):
    """Three 3x3 convolutions and a 1x1 shortcut, then max-pool: `[N, i, h, w]` to `[N, o, h/2, w/2]`."""

    def __init__(self, inputs: int, outputs: int, drop: float) -> None:
        super().__init__()
        self.branch = Folding(
            *_normed(inputs, outputs),
            nn.LeakyReLU(SLOPE),
            *_normed(outputs, outputs),
            nn.LeakyReLU(SLOPE),
            *_normed(outputs, outputs),
        )
        self.shortcut = Folding(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.after = nn.Sequential(nn.LeakyReLU(SLOPE), nn.MaxPool2d(2), nn.Dropout(drop))

    def forward(self, x: Float[Tensor, "N i h w"]) -> Float[Tensor, "N o H W"]:
        """`[N, o, h/2, w/2]`."""
        y: Tensor = self.after(self.branch(x) + self.shortcut(x))
        return y


@final
class Wide(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions: `[N, i, h, w]` to `[N, o, h/stride, w/stride]`."""

    def __init__(self, inputs: int, outputs: int, stride: int, drop: float) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.branch = Folding(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Dropout(drop),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Float[Tensor, "N i h w"]) -> Float[Tensor, "N o H W"]:
        """`[N, o, h/stride, w/stride]`."""
        ready = self.before(x)
        y: Tensor = self.branch(ready) + (x if self.shortcut is None else self.shortcut(ready))
        return y


def residual_layers(in_channels: int, widths: Sequence[int], drop: float) -> list[nn.Module]:
    """One block for each width, then the mean over places."""
    inputs = [in_channels, *widths[:-1]]
    blocks = [Residual(i, o, drop) for i, o in zip(inputs, widths, strict=True)]
    return [*blocks, nn.AdaptiveAvgPool2d(1)]


def wide_layers(in_channels: int, depth: int, factor: int, drop: float) -> list[nn.Module]:
    """A convolution, three groups of `(depth - 4) / 6` blocks, and the mean over places."""
    each, widths = (depth - 4) // 6, (16, 16 * factor, 32 * factor, 64 * factor)
    blocks = [
        Wide(widths[g] if b == 0 else widths[g + 1], widths[g + 1], 2 if g and b == 0 else 1, drop)
        for g in range(3)
        for b in range(each)
    ]
    return [
        nn.Conv2d(in_channels, 16, 3, padding=1, bias=False),
        *blocks,
        nn.BatchNorm2d(widths[-1]),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
    ]


def _normed(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
