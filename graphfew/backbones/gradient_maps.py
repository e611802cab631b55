"""Gradient maps: size-normalized ink and the directions of its edges, without training."""

from __future__ import annotations

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew._utils.model_spec import ModelSpec
from graphfew.backbones.backbone_registry import register_backbone
from graphfew.backbones.base import Backbone, check_positive
from graphfew.errors import InvalidInputError
from graphfew.ops.warp_distance import gaussian_kernel, smooth

N_DIRECTIONS = 8
# Smallest spread of ink: a dot, or an empty image, is not enlarged beyond it.
MIN_SPREAD = 0.05


@register_backbone
def gradient_maps(
    size: int = 28,
    spread: float = 0.38,
    proportion: float = 0.5,
    blur: float = 0.7,
    ink_weight: float = 0.3,
    seed: int = 0,
) -> Backbone:
    """Return normalized ink and its gradient in eight directions, for deformation distances.

    The ink of each image, which is bright on black, is moved to the center of its mass and scaled
    by its spread, blurred, and differentiated. The maps are flattened: channel, row, column.

    Args:
        size: side of the maps in pixels.
        spread: standard deviation of the ink in the result, as a part of half of its side.
        proportion: 0 scales both axes alike, 1 each by its own spread; a value between by that
            power of its spread.
        blur: standard deviation of the Gaussian before and after the gradient, in pixels.
        ink_weight: factor on the ink, which is the last map, relative to the gradients.
        seed: unused, because there are no weights; every factory takes it.

    Returns:
        A backbone from `[N, 1, h, w]` of any size to `[N, 9 * size * size]`.

    Raises:
        InvalidInputError: a number is out of range; later, the images have several channels.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> encoder = backbones.gradient_maps()
        >>> encoder(torch.rand(2, 1, 105, 105)).unflatten(1, (9, 28, 28)).shape
        torch.Size([2, 9, 28, 28])

    Source:
        Keysers, Deselaers, Gollan, Ney, 2007, Deformation Models for Image Recognition; Liu,
        Nakashima, Sako, Fujisawa, 2003, Handwritten Digit Recognition: Benchmarking of
        State-of-the-art Techniques (eight directions).

    Deviations:
        Gradients are projected on eight directions and their negative parts dropped, instead of
        the horizontal and vertical gradient of the first paper.
    """
    del seed
    check_positive("gradient_maps", size=size)
    if not (0 < spread < 2 and 0 <= proportion <= 1 and blur >= 0 and ink_weight >= 0):
        raise InvalidInputError(
            f"gradient_maps got spread={spread}, proportion={proportion}, blur={blur} and "
            f"ink_weight={ink_weight}; spread must be in 0..2, proportion in 0..1, and the others "
            "0 or more"
        )
    net = GradientMaps(size, spread, proportion, blur, ink_weight)
    arguments = {
        "size": size,
        "spread": spread,
        "proportion": proportion,
        "blur": blur,
        "ink_weight": ink_weight,
    }
    return Backbone(net, net.num_maps * size * size, ModelSpec("gradient_maps", arguments))


@final
class GradientMaps(nn.Module):
    """The network of `gradient_maps`; it has no weights.

    Args:
        size: side of the maps.
        spread: of the ink in the result.
        proportion: how far each axis is scaled on its own.
        blur: standard deviation of the Gaussian.
        ink_weight: factor on the ink.
    """

    num_maps = N_DIRECTIONS + 1

    def __init__(
        self, size: int, spread: float, proportion: float, blur: float, ink_weight: float
    ) -> None:
        super().__init__()
        self.size, self.spread, self.proportion = size, spread, proportion
        self.blur, self.ink_weight = blur, ink_weight

    def forward(self, x: Float[Tensor, "N c h w"]) -> Float[Tensor, "N F"]:
        """Compute the maps of images, flattened."""
        if x.ndim != 4 or x.shape[1] != 1:
            raise InvalidInputError(
                f"gradient_maps got items of shape {tuple(x.shape[1:])}; it takes images of one "
                "channel, bright on black: convert them to gray"
            )
        ink = normalize_ink(x, self.size, self.spread, self.proportion)
        kernel = gaussian_kernel(self.blur, x)
        ink = smooth(ink, kernel)
        directions = smooth(directional_gradients(ink), kernel)
        return torch.cat([directions, self.ink_weight * ink], 1).flatten(1)


def normalize_ink(
    images: Float[Tensor, "N 1 h w"], size: int, spread: float, proportion: float
) -> Float[Tensor, "N 1 s s"]:
    """Move ink to the center of the image and scale it to a common spread.

    Args:
        images: bright ink on black.
        size: side of the result in pixels.
        spread: standard deviation of the ink in the result, as a part of half of its side.
        proportion: how far each axis is scaled by its own spread, 0..1.

    Returns:
        `[N, 1, size, size]`.
    """
    n_images, _, height, width = images.shape
    y, var_y = _moments(images.sum((1, 3)))
    x, var_x = _moments(images.sum((1, 2)))
    std_y, std_x = var_y.sqrt().clamp_min(MIN_SPREAD), var_x.sqrt().clamp_min(MIN_SPREAD)
    # Each axis by a power of its own spread, then both so that the mean variance is the given one.
    scale_y, scale_x = std_y**proportion, std_x**proportion
    mean_variance = ((std_y / scale_y).square() + (std_x / scale_x).square()) / 2
    zoom = mean_variance.sqrt() / spread
    zero = torch.zeros_like(x)
    rows = [
        torch.stack([zoom * scale_x, zero, x], 1),
        torch.stack([zero, zoom * scale_y, y], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [n_images, 1, size, size], align_corners=False)
    # Sampling a large image at few points would lose strokes between them.
    kernel = gaussian_kernel(0.5 * max(height, width) / size, images)
    return F.grid_sample(smooth(images, kernel), grid, align_corners=False)


def _moments(profile: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of the ink along an axis, in units of half of the side."""
    length = profile.shape[1]
    positions = torch.arange(length, dtype=profile.dtype, device=profile.device)
    positions = (positions + 0.5) * 2 / length - 1
    mass = profile / profile.sum(1, keepdim=True).clamp_min(torch.finfo(profile.dtype).tiny)
    mean = mass @ positions
    variance = mass @ positions.square() - mean.square()
    return mean, variance.clamp_min(0)


def directional_gradients(images: Float[Tensor, "N 1 h w"]) -> Float[Tensor, "N 8 h w"]:
    """Return the positive parts of the gradient along eight directions, from +x on by 45 degrees.

    Args:
        images: of one channel; outside, all values are 0.

    Returns:
        `[N, 8, h, w]`.
    """
    # Sobel's operator, scaled to the difference of adjacent pixels.
    along_x = images.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    filters = torch.stack([along_x, along_x.T])[:, None]
    gradient = F.conv2d(images, filters, padding=1)
    angles = torch.arange(N_DIRECTIONS, dtype=images.dtype, device=images.device)
    angles = angles * 2 * math.pi / N_DIRECTIONS
    directions = torch.stack([angles.cos(), angles.sin()], 1)
    return F.conv2d(gradient, directions[:, :, None, None]).relu()
