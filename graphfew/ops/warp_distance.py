"""Distances between images under a smooth warp, found by gradient descent."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# Values of the images of a chunk of pairs.
MAX_VALUES = 400_000


def warp_table(
    a: Float[Tensor, "m c h w"],
    b: Float[Tensor, "n c h w"],
    steps: int = 20,
    smoothness: float = 3.0,
    step_size: float = 1.0,
    penalty: float = 0.0,
) -> Float[Tensor, "m n"]:
    """Compute the distance of every image of `a` to every image of `b` under a smooth warp.

    A displacement field per pair of images starts at 0 and takes steps against the gradient of the
    distance, each smoothed by a Gaussian; the step shrinks to 0. The distance is the smallest on
    the way, averaged over both directions, so that it is never above the squared Euclidean one.

    Formula:
        E(v) = Σ_p ‖a(p + v(p)) - b(p)‖² + penalty Σ_p ‖∇v(p)‖²
        v ← v - η_t s / max_p ‖s(p)‖,  s = Gaussian * ∂E/∂v,  η_t = step_size (1 - t / steps)

    Args:
        a: `[m, c, h, w]` images of c channels.
        b: `[n, c, h, w]`.
        steps: number of steps; with 0 the distance is the squared Euclidean one.
        smoothness: standard deviation of the Gaussian in pixels.
        step_size: largest displacement of a pixel in the first step, in pixels.
        penalty: factor on the squared differences of the displacements of adjacent pixels.

    Returns:
        `[m, n]`, differentiable with the displacements held fixed.

    Example:
        >>> import torch
        >>> from graphfew.ops.warp_distance import warp_table
        >>> bar = torch.zeros(1, 1, 9, 9)
        >>> bar[..., 4] = 1
        >>> shifted = warp_table(bar, bar.roll(1, 3))
        >>> bool(shifted < warp_table(bar, bar.roll(1, 3), steps=0) / 10)
        True

    Source:
        Yu, Mineyev, Varshney, Evans, 2022, Learning from One and Only One Shot.

    Deviations:
        The field has one displacement per pixel and is smoothed by a Gaussian (the paper warps a
        grid of cells); steps have a fixed length; there is no multi-resolution schedule.
    """
    rows = max(1, MAX_VALUES // max(1, a[0].numel() * len(b)))
    parts = []
    for part in torch.split(a, rows):
        first = part.repeat_interleave(len(b), 0)
        second = b.repeat(len(part), 1, 1, 1)
        forward = _warp_distances(first, second, steps, smoothness, step_size, penalty)
        backward = _warp_distances(second, first, steps, smoothness, step_size, penalty)
        parts.append(((forward + backward) / 2).view(len(part), len(b)))
    return torch.cat(parts)


def _warp_distances(
    a: Tensor, b: Tensor, steps: int, smoothness: float, step_size: float, penalty: float
) -> Tensor:
    """Return the distance `[P]` of pairs of images, the first one warped."""
    n_pairs, channels, height, width = a.shape
    # The slopes of `a` are sampled with it: the chain rule gives the gradient of the field.
    images = torch.cat([a, *_slopes(a)], 1)
    identity = torch.eye(2, 3, dtype=a.dtype, device=a.device).expand(n_pairs, 2, 3)
    grid = F.affine_grid(identity, list(images.shape), align_corners=False)
    # Coordinates of the grid run from -1 to 1 over the image.
    unit = a.new_tensor([2 / width, 2 / height])
    kernel = gaussian_kernel(smoothness, a)
    field = a.new_zeros(n_pairs, 2, height, width)
    best = a.new_full((n_pairs,), torch.inf)
    for step in range(steps + 1):
        positions = grid + unit * field.permute(0, 2, 3, 1)
        sampled = F.grid_sample(images, positions, align_corners=False)
        residual = sampled[:, :channels] - b
        best = torch.minimum(best, _energies(residual, field, penalty))
        if step == steps:
            break
        slopes = torch.unflatten(sampled[:, channels:], 1, (2, channels)).detach()
        gradient = (residual.detach()[:, None] * slopes).sum(2) - penalty * _laplacian(field)
        direction = smooth(gradient, kernel)
        length = torch.linalg.vector_norm(direction, dim=1).flatten(1).amax(1)
        # Without a gradient, as between equal images, there is no direction to scale.
        scale = step_size * (1 - step / steps) / length.clamp_min(torch.finfo(a.dtype).tiny)
        field = field - scale[:, None, None, None] * direction
    return best


def _slopes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the central differences along x and along y; outside, all values are 0."""
    padded = F.pad(images, (1, 1, 1, 1))
    along_x = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    along_y = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    return along_x, along_y


def _laplacian(field: Tensor) -> Tensor:
    """Return the sum of differences to the adjacent pixels within the border."""
    padded = F.pad(field, (1, 1, 1, 1), mode="replicate")
    vertical = padded[:, :, 2:, 1:-1] + padded[:, :, :-2, 1:-1]
    horizontal = padded[:, :, 1:-1, 2:] + padded[:, :, 1:-1, :-2]
    return vertical + horizontal - 4 * field


def _energies(residual: Tensor, field: Tensor, penalty: float) -> Tensor:
    distance = residual.square().flatten(1).sum(1)
    vertical = field.diff(dim=2).square().flatten(1).sum(1)
    horizontal = field.diff(dim=3).square().flatten(1).sum(1)
    return distance + penalty * (vertical + horizontal)


def gaussian_kernel(deviation: float, like: Tensor) -> Float[Tensor, " k"]:
    """Return the weights of a Gaussian of three standard deviations; `[1]` if it is 0.

    Args:
        deviation: standard deviation in pixels.
        like: a tensor with dtype and device of the result.

    Returns:
        `[k]`, k odd, of sum 1.
    """
    radius = math.ceil(3 * deviation)
    offsets = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp(-offsets.square() / (2 * max(deviation, 1e-6) ** 2))
    return weights / weights.sum()


def smooth(images: Float[Tensor, "n c h w"], kernel: Float[Tensor, " k"]) -> Tensor:
    """Convolve each channel with a kernel along rows and columns; outside, all values are 0.

    Args:
        images: `[n, c, h, w]`.
        kernel: `[k]`, k odd, from `gaussian_kernel`.

    Returns:
        `[n, c, h, w]`.
    """
    height, width = images.shape[2:]
    radius = len(kernel) // 2
    planes = images.reshape(-1, 1, height, width)
    planes = F.conv2d(planes, kernel.view(1, 1, 1, -1), padding=(0, radius))
    planes = F.conv2d(planes, kernel.view(1, 1, -1, 1), padding=(radius, 0))
    return planes.view(images.shape)
