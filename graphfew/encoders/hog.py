"""`hog`: images by the directions of their edges and by their colors, without pretrained weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F

from graphfew.encoders.embedding_cache import cache_key
from graphfew.encoders.images import resize, stack_images
from graphfew.encoders.item_encoder import Features, ItemEncoder
from graphfew.encoders.lazy_model import PretrainedFit

NAME = "hog"
# Part of the key of the cache: increase it if the features change.
VERSION = 1


def hog_encoder() -> ItemEncoder:
    """Build the encoder `hog`: histograms of gradients and of colors.

    The image is stretched to 48 by 48 pixels. Edges are counted by direction in cells of 8 by 8
    pixels, and each block of 2 by 2 cells is scaled to length 1. Hue, saturation and brightness are
    counted in a grid of 4 by 4 parts. Gray images have no histogram of hues.

    Returns:
        The encoder.

    Example:
        >>> import numpy as np
        >>> encoder = hog_encoder()
        >>> features = encoder.fit(np.ones((2, 8, 8))).encode(np.ones((2, 8, 8)))
        >>> features.shape[0]
        2

    Source:
        Dalal, Triggs 2005, Histograms of oriented gradients for human detection.

    Deviations:
        Histograms of colors are appended, blocks are scaled twice with a limit between them, and a
        constant is subtracted from all values.
    """
    function = HistogramFeatures()
    key = cache_key(NAME, VERSION, function)
    return ItemEncoder(NAME, ("image",), PretrainedFit(function), 256, key)


@final
@dataclasses.dataclass(frozen=True)
class HistogramFeatures:
    """Histograms of gradients and of colors.

    Attributes:
        size: side in pixels of the square that images are stretched to.
        cell: side of a cell of gradients.
        n_directions: number of directions, half a turn in total.
        n_parts: parts of the image along each side that have a histogram of colors.
        n_colors: bins of hue, of saturation and of brightness.
        color_weight: length of the histograms of colors relative to that of gradients.
    """

    size: int = 48
    cell: int = 8
    n_directions: int = 9
    n_parts: int = 4
    n_colors: tuple[int, int, int] = (12, 4, 4)
    color_weight: float = 0.5

    def __call__(self, images: Sequence[Any]) -> Features:
        """Encode RGB images to `[n, F]`."""
        pixels = stack_images([resize(image, self.size) for image in images])
        gradients = gradient_histograms(pixels, self.cell, self.n_directions)
        colors = color_histograms(pixels, self.n_parts, self.n_colors)
        parts = [F.normalize(gradients, dim=1), self.color_weight * F.normalize(colors, dim=1)]
        # All values are positive, so all images would be similar to each other.
        centered = [part - _typical_value(part) for part in parts]
        features: Features = torch.cat(centered, dim=1).numpy()
        return features


def gradient_histograms(pixels: Tensor, cell: int, n_directions: int) -> Tensor:
    """Count edges by direction.

    Args:
        pixels: `[n, 3, s, s]` in `[0, 1]`.
        cell: side of a cell in pixels.
        n_directions: number of directions.

    Returns:
        `[n, blocks * 4 * n_directions]`, each block of 2 by 2 cells of length at most 1.
    """
    # The square root makes edges in dark parts count like those in bright ones.
    levels = F.pad(pixels.sqrt(), (1, 1, 1, 1), mode="replicate")
    dx = levels[:, :, 1:-1, 2:] - levels[:, :, 1:-1, :-2]
    dy = levels[:, :, 2:, 1:-1] - levels[:, :, :-2, 1:-1]
    magnitude, channel = (dx.square() + dy.square()).max(1, keepdim=True)
    dx, dy = dx.gather(1, channel), dy.gather(1, channel)
    # Directions without sign: a dark object on white has the edges of a white one on dark.
    position = torch.atan2(dy, dx).remainder(math.pi) * (n_directions / math.pi)
    low = position.floor()
    weight_high = position - low
    strength = magnitude.sqrt()
    n, _, height, width = strength.shape
    bins = strength.new_zeros(n, n_directions, height, width)
    low_bin = low.long() % n_directions
    bins.scatter_add_(1, low_bin, strength * (1 - weight_high))
    bins.scatter_add_(1, (low_bin + 1) % n_directions, strength * weight_high)
    cells = F.avg_pool2d(bins, cell)
    corners = [
        cells[:, :, :-1, :-1],
        cells[:, :, :-1, 1:],
        cells[:, :, 1:, :-1],
        cells[:, :, 1:, 1:],
    ]
    blocks = torch.cat(corners, dim=1)
    # A single strong edge must not hide all others, hence the limit.
    limited = _normalize_blocks(blocks).clamp_max(0.2)
    return _normalize_blocks(limited).flatten(1)


def color_histograms(pixels: Tensor, n_parts: int, n_colors: tuple[int, int, int]) -> Tensor:
    """Count hues, saturations and brightnesses.

    Args:
        pixels: `[n, 3, s, s]` in `[0, 1]`.
        n_parts: parts along each side.
        n_colors: bins of hue, saturation and brightness.

    Returns:
        `[n, n_parts * n_parts * sum(n_colors)]` square roots of frequencies; pixels count for hue
        by their saturation.
    """
    brightness, low = pixels.amax(1), pixels.amin(1)
    chroma = brightness - low
    saturation = chroma / brightness.clamp_min(1e-6)
    hue = _hue(pixels, brightness, chroma)
    ones = torch.ones_like(brightness)
    channels = zip((hue, saturation, brightness), n_colors, (chroma, ones, ones), strict=True)
    histograms = []
    for values, n_bins, weights in channels:
        index = (values * n_bins).long().clamp_max(n_bins - 1)
        counts = F.one_hot(index, n_bins).permute(0, 3, 1, 2) * weights[:, None]
        histograms.append(F.adaptive_avg_pool2d(counts.float(), n_parts).flatten(1))
    return torch.cat(histograms, dim=1).sqrt()


def _typical_value(part: Tensor) -> Tensor:
    """The value of all columns if they were equal, `[n, 1]`."""
    lengths: Tensor = part.norm(dim=1, keepdim=True)
    return lengths / math.sqrt(part.shape[1])


def _hue(pixels: Tensor, brightness: Tensor, chroma: Tensor) -> Tensor:
    """Hue in `[0, 1)`; 0 for gray."""
    red, green, blue = pixels.unbind(1)
    safe = chroma.clamp_min(1e-6)
    sector = torch.where(
        brightness == red,
        (green - blue) / safe,
        torch.where(brightness == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    return (sector / 6).remainder(1)


def _normalize_blocks(blocks: Tensor) -> Tensor:
    # Flat parts stay near zero instead of amplifying noise.
    return blocks / (blocks.square().sum(1, keepdim=True) + 1e-4).sqrt()
