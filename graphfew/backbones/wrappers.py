"""Features averaged over changed copies of an image, jittered, or mirrored and moved; those of several nets joined."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from graphfew._utils.seeding import seeded


@final
class AffineTTA(nn.Module):
    """The mean of a net's features over an image and copies of it under fixed affine changes, the same for every image.

    Args:
        net: `[N, c, h, w] -> [N, F]`.
        copies: how many, the image itself among them.
        strength: of the changes.
        seed: of the changes.
    """

    matrices: Tensor

    def __init__(self, net: nn.Module, copies: int, strength: float, seed: int) -> None:
        super().__init__()
        self.net = net
        with seeded(seed):
            drawn = affine_matrices(torch.rand(6, copies), strength)
        drawn[0] = torch.eye(2, 3)
        self.register_buffer("matrices", drawn, persistent=False)

    def forward(self, x: Float[Tensor, "N c h w"]) -> Float[Tensor, "N F"]:
        """`[N, F]`, one copy of all images after the other, so that memory does not grow with the copies."""
        total = self.net(x)
        for matrix in self.matrices[1:]:
            grid = functional.affine_grid(
                matrix.to(x).expand(len(x), 2, 3), list(x.shape), align_corners=False
            )
            total = total + self.net(functional.grid_sample(x, grid, align_corners=False))
        mean: Tensor = total / len(self.matrices)
        return mean


@final
class FlipTTA(nn.Module):
    """The mean of a net's features over an image and its mirror, each as it is and moved up, down, left and right.

    Args:
        net: `[N, c, h, w] -> [N, F]`.
        shift: pixels to move by; what comes in at the border is black. 0 only mirrors.
    """

    def __init__(self, net: nn.Module, shift: int) -> None:
        super().__init__()
        self.net, self.shift = net, shift

    def forward(self, x: Float[Tensor, "N c h w"]) -> Float[Tensor, "N F"]:
        """`[N, F]`, one copy of all images after the other."""
        k, height, width = self.shift, x.shape[2], x.shape[3]
        places = [(k, k), (0, k), (2 * k, k), (k, 0), (k, 2 * k)] if k else [(0, 0)]
        wide = functional.pad(x, (k, k, k, k))
        copies = [wide[:, :, i : i + height, j : j + width] for i, j in places]
        total = self.net(copies[0]) + self.net(copies[0].flip(3))
        for copy in copies[1:]:
            total = total + self.net(copy) + self.net(copy.flip(3))
        mean: Tensor = total / (2 * len(copies))
        return mean


@final
class ConcatEncoders(nn.Module):
    """The features of several nets of the same items, one after the other.

    Args:
        nets: each `[N, ...] -> [N, F_i]`.
    """

    def __init__(self, nets: Iterable[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N F"]:
        """`[N, sum of F_i]`."""
        return torch.cat([net(x) for net in self.nets], 1)


def affine_matrices(uniform: Float[Tensor, "6 n"], strength: float) -> Float[Tensor, "n 2 3"]:
    """`[n, 2, 3]`: where each place of a changed image is looked up in the image, in half sides from its middle.

    Each is turned by up to 12 degrees, scaled by up to 15 % each way, sheared by 0.2 and moved by 6 % of its side,
    times `strength`.

    Args:
        uniform: `[6, n]` numbers in `[0, 1)`.
        strength: factor on all changes.
    """
    angle, wide, high, shear, right, down = strength * (2 * uniform - 1)
    angle = angle * math.radians(12)
    wide, high, shear, right, down = (
        1 + 0.15 * wide,
        1 + 0.15 * high,
        0.2 * shear,
        0.12 * right,
        0.12 * down,
    )
    first = torch.stack([angle.cos() * wide, (shear - angle.sin()) * high, right], 1)
    second = torch.stack([angle.sin() * wide, angle.cos() * high, down], 1)
    return torch.stack([first, second], 1)
