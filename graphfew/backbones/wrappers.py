"""Wrappers of encoders: test-time augmentation and concatenation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew._utils.model_spec import JSON, ModelSpec
from graphfew._utils.seeding import seeded
from graphfew.backbones.backbone_registry import build_inner, register_backbone
from graphfew.backbones.base import Backbone, check_positive
from graphfew.errors import InvalidInputError

# A head may have been trained on features of these copies, so the seed must never change.
_AFFINE_SEED = 0


@register_backbone
def affine_tta(
    encoder: Backbone | Mapping[str, JSON], copies: int = 8, strength: float = 1.0, seed: int = 0
) -> Backbone:
    """Average the features of affine copies of each image (test-time augmentation).

    All images get the same fixed transformations, so features do not depend on the batch.

    Args:
        encoder: a backbone, whose weights are shared, or the name and arguments of one.
        copies: number of copies, the original included; encoding takes that many times as long.
        strength: factor on the transformations, see `affine_matrices`.
        seed: seed of the initial weights of an encoder given by name.

    Returns:
        A backbone from `[N, c, h, w]` to `[N, out_dim]`.

    Raises:
        InvalidInputError: `copies` is below 1, or `strength` is not positive.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> encoder = backbones.affine_tta(backbones.conv4(width=8), copies=2)
        >>> encoder(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 8])
    """
    check_positive("affine_tta", copies=copies)
    if not 0 < strength < math.inf:
        raise InvalidInputError(
            f"affine_tta got strength={strength}; it must be positive and finite"
        )
    inner, spec = build_inner(encoder, seed)
    net = AffineTTA(inner, copies, strength, _AFFINE_SEED)
    arguments: dict[str, JSON] = {"encoder": spec, "copies": copies, "strength": strength}
    return Backbone(net, inner.out_dim, ModelSpec("affine_tta", arguments))


@register_backbone
def flip_tta(encoder: Backbone | Mapping[str, JSON], shift: int = 2, seed: int = 0) -> Backbone:
    """Average the features of each image and its mirror image, unshifted and shifted.

    For images whose meaning does not change in a mirror, such as photographs; not for characters.
    Encoding takes ten times as long, twice as long with `shift=0`.

    Args:
        encoder: a backbone, whose weights are shared, or the name and arguments of one.
        shift: pixels to shift up, down, left and right; 0 only mirrors.
        seed: seed of the initial weights of an encoder given by name.

    Returns:
        A backbone from `[N, c, h, w]` to `[N, out_dim]`.

    Raises:
        InvalidInputError: the shift is negative.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> encoder = backbones.flip_tta(backbones.conv4(width=8), shift=0).eval()
        >>> images = torch.rand(2, 1, 28, 28)
        >>> torch.allclose(encoder(images), encoder(images.flip(3)), atol=1e-5)
        True
    """
    if shift < 0:
        raise InvalidInputError(f"flip_tta got shift={shift}; it must be 0 or more pixels")
    inner, spec = build_inner(encoder, seed)
    arguments: dict[str, JSON] = {"encoder": spec, "shift": shift}
    return Backbone(FlipTTA(inner, shift), inner.out_dim, ModelSpec("flip_tta", arguments))


@register_backbone
def concat(encoders: Sequence[Backbone | Mapping[str, JSON]], seed: int = 0) -> Backbone:
    """Concatenate the features of several encoders of the same items.

    Under squared Euclidean distances the logits of prototypes are the sums of those of each
    encoder, so this is an ensemble of separately trained networks.

    Args:
        encoders: backbones, whose weights are shared, or names and arguments.
        seed: seed of the initial weights of encoders given by name; encoder `i` uses `seed + i`.

    Returns:
        A backbone from `[N, ...]` to `[N, sum of widths]`.

    Raises:
        InvalidInputError: there are no encoders.

    Example:
        >>> from graphfew import backbones
        >>> parts = [backbones.conv4(width=8, seed=0), backbones.conv4(width=8, seed=1)]
        >>> backbones.concat(parts).out_dim
        16
    """
    if not encoders:
        raise InvalidInputError("concat got no encoder; give at least one")
    parts: list[Backbone] = []
    specs: list[JSON] = []
    for number, encoder in enumerate(encoders):
        part, spec = build_inner(encoder, seed + number)
        parts.append(part)
        specs.append(spec)
    out_dim = sum(part.out_dim for part in parts)
    return Backbone(ConcatEncoders(parts), out_dim, ModelSpec("concat", {"encoders": specs}))


@final
class AffineTTA(nn.Module):
    """The mean of a network's features over affine copies of each image.

    Args:
        net: `[N, c, h, w] -> [N, F]`.
        copies: number of copies, the original included.
        strength: factor on the transformations.
        seed: seed of the transformations.
    """

    matrices: Tensor

    def __init__(self, net: nn.Module, copies: int, strength: float, seed: int) -> None:
        super().__init__()
        self.net = net
        with seeded(seed):
            matrices = affine_matrices(torch.rand(6, copies), strength)
        matrices[0] = torch.eye(2, 3)
        # Not in checkpoints: the seed gives the same matrices.
        self.register_buffer("matrices", matrices, persistent=False)

    def forward(self, x: Float[Tensor, "N c h w"]) -> Float[Tensor, "N F"]:
        """Encode images to `[N, F]`, one copy at a time, so that memory does not grow."""
        # The first matrix is the identity, and needs no resampling.
        total = self.net(x)
        for matrix in self.matrices[1:]:
            theta = matrix.to(x).expand(len(x), 2, 3)
            grid = F.affine_grid(theta, list(x.shape), align_corners=False)
            total = total + self.net(F.grid_sample(x, grid, align_corners=False))
        mean: Tensor = total / len(self.matrices)
        return mean


@final
class FlipTTA(nn.Module):
    """The mean of a network's features over each image and its mirror image, shifted.

    Args:
        net: `[N, c, h, w] -> [N, F]`.
        shift: pixels to shift up, down, left and right, filled with zeros; 0 only mirrors.
    """

    def __init__(self, net: nn.Module, shift: int) -> None:
        super().__init__()
        self.net, self.shift = net, shift

    def forward(self, x: Float[Tensor, "N c h w"]) -> Float[Tensor, "N F"]:
        """Encode images to `[N, F]`, one copy at a time."""
        k, height, width = self.shift, x.shape[2], x.shape[3]
        offsets = [(0, 0)]
        if k:
            # In the padded image, (k, k) is the original position.
            offsets = [(k, k), (0, k), (2 * k, k), (k, 0), (k, 2 * k)]
        padded = F.pad(x, (k, k, k, k))
        copies = [padded[:, :, i : i + height, j : j + width] for i, j in offsets]
        total = self.net(copies[0]) + self.net(copies[0].flip(3))
        for copy in copies[1:]:
            total = total + self.net(copy) + self.net(copy.flip(3))
        mean: Tensor = total / (2 * len(offsets))
        return mean


@final
class ConcatEncoders(nn.Module):
    """The concatenated features of several networks.

    Args:
        nets: each `[N, ...] -> [N, F_i]`.
    """

    def __init__(self, nets: Iterable[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N F"]:
        """Encode items to `[N, sum of F_i]`."""
        return torch.cat([net(x) for net in self.nets], 1)


def affine_matrices(uniform: Float[Tensor, "6 n"], strength: float) -> Float[Tensor, "n 2 3"]:
    """Return random affine transformations in the form of `torch.nn.functional.affine_grid`.

    Each rotates by up to 12 degrees, scales by up to 15 % in each direction, shears by up to 0.2
    and translates by up to 6 % of the image size, times `strength`.

    Args:
        uniform: random numbers in `[0, 1)`, `[6, n]`.
        strength: factor on all transformations.

    Returns:
        Matrices `[n, 2, 3]` from output to input coordinates, which run from -1 to 1.
    """
    angle, scale_x, scale_y, shear, shift_x, shift_y = strength * (2 * uniform - 1)
    angle = angle * math.radians(12)
    cos, sin = angle.cos(), angle.sin()
    scale_x = 1 + 0.15 * scale_x
    scale_y = 1 + 0.15 * scale_y
    shear = 0.2 * shear
    # Coordinates run over two units, so 0.12 is 6 % of the size.
    shift_x = 0.12 * shift_x
    shift_y = 0.12 * shift_y
    row_x = torch.stack([cos * scale_x, (shear - sin) * scale_y, shift_x], 1)
    row_y = torch.stack([sin * scale_x, cos * scale_y, shift_y], 1)
    return torch.stack([row_x, row_y], 1)
