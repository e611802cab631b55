"""Distances between images under local deformation: the image distortion model."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# Values of one map of costs, `[h, w, m, n]`: a megabyte or two, which stays in the cache of a core.
MAX_COSTS = 400_000


def distortion_table(
    a: Float[Tensor, "m c h w"],
    b: Float[Tensor, "n c h w"],
    window: int = 3,
    patch: int = 3,
    penalty: float = 0.0,
) -> Float[Tensor, "m n"]:
    """Compute the distance of every image of `a` to every image of `b` under the distortion model.

    Every pixel of one image takes its best match in a window of the other one, independently of
    its neighbors; then the other way around, so that the distance is symmetric. Pixels are compared
    by the patch around them. Outside an image, all values are 0.

    Formula:
        C(p, u) = Σ_{o in patch} ‖a(p + o) - b(p + u + o)‖² + penalty ‖u‖²
        d(a, b) = ½ (Σ_p min_u C(p, u) + Σ_q min_u C(q - u, u)),  p, q, p + u and q - u in the image

    Args:
        a: `[m, c, h, w]` images of c channels.
        b: `[n, c, h, w]`.
        window: largest displacement in each direction. With 0 and a patch of 1, the distance is
            the squared Euclidean one.
        patch: side of the patches, odd.
        penalty: added for a displacement of one pixel; it grows with the square.

    Returns:
        `[m, n]`, differentiable.

    Example:
        >>> import torch
        >>> from graphfew.ops.distortion import distortion_table
        >>> bar = torch.zeros(1, 1, 5, 5)
        >>> bar[..., 2] = 1
        >>> distortion_table(bar, bar.roll(1, 3), window=0, patch=1).item()
        10.0
        >>> distortion_table(bar, bar.roll(1, 3), window=1, patch=1).item()
        0.0

    Source:
        Keysers, Deselaers, Gollan, Ney, 2007, Deformation Models for Image Recognition.

    Deviations:
        The mean of both directions, where the paper deforms one image.
    """
    pixels = a.shape[2] * a.shape[3]
    rows = max(1, MAX_COSTS // max(1, pixels * len(b)))
    parts = [_table_chunk(part, b, window, patch, penalty) for part in torch.split(a, rows)]
    return torch.cat(parts)


def _table_chunk(a: Tensor, b: Tensor, window: int, patch: int, penalty: float) -> Tensor:
    radius = patch // 2
    height, width = a.shape[2:]
    first, second = _product_factors(_zero_border(a, radius), _zero_border(b, radius))
    shape = (height, width, len(a), len(b))
    best_in_b = a.new_full(shape, torch.inf)
    best_in_a = a.new_full(shape, torch.inf)
    for dy, dx in itertools.product(range(-window, window + 1), repeat=2):
        if abs(dy) >= height or abs(dx) >= width:
            continue
        # The pixels p of `a`, and q = p + u of `b`, for which both are in their image.
        rows_a, rows_b = _overlap(height, dy)
        columns_a, columns_b = _overlap(width, dx)
        # Costs of all pairs of images at one displacement, which both directions share.
        pixels = torch.matmul(
            first[_widen(rows_a, radius), _widen(columns_a, radius)],
            second[_widen(rows_b, radius), _widen(columns_b, radius)],
        )
        costs = _sum_patches(pixels, patch) + penalty * (dy * dy + dx * dx)
        best_in_b = _lower(best_in_b, costs, rows_a, columns_a)
        best_in_a = _lower(best_in_a, costs, rows_b, columns_b)
    table = (best_in_b.sum((0, 1)) + best_in_a.sum((0, 1))) / 2
    # Rounding of the inner products can make the distance of equal images negative.
    return table.clamp_min(0)


def _zero_border(images: Tensor, width: int) -> Tensor:
    return F.pad(images, (width, width, width, width))


def _product_factors(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return factors `[h, w, m, c + 2]` and `[h, w, c + 2, n]` of the squared distances of pixels.

    Their product is `‖a‖² - 2 a·b + ‖b‖²`.
    """
    a, b = a.permute(2, 3, 0, 1), b.permute(2, 3, 1, 0)
    a_squares = a.square().sum(3, keepdim=True)
    b_squares = b.square().sum(2, keepdim=True)
    first = torch.cat([-2 * a, a_squares, torch.ones_like(a_squares)], 3)
    second = torch.cat([b, torch.ones_like(b_squares), b_squares], 2)
    return first, second


def _overlap(length: int, shift: int) -> tuple[slice, slice]:
    """Return the positions p and p + shift for which both are in `0 .. length-1`."""
    first, last = max(0, -shift), length - max(0, shift)
    return slice(first, last), slice(first + shift, last + shift)


def _widen(positions: slice, radius: int) -> slice:
    """Return the positions and their patches in an image with a border of the patches' radius."""
    return slice(positions.start, positions.stop + 2 * radius)


def _sum_patches(pixels: Tensor, patch: int) -> Tensor:
    """Sum `[h + patch - 1, w + patch - 1, ...]` over square patches, to `[h, w, ...]`."""
    height = pixels.shape[0] - patch + 1
    width = pixels.shape[1] - patch + 1
    # By rows, then by columns; slices of whole rows are contiguous, so that the sums are fast.
    rows = pixels[:height]
    for offset in range(1, patch):
        rows = rows + pixels[offset : offset + height]
    sums = rows[:, :width]
    for offset in range(1, patch):
        sums = sums + rows[:, offset : offset + width]
    return sums


def _lower(best: Tensor, costs: Tensor, rows: slice, columns: slice) -> Tensor:
    """Return the minimum of `best` and the costs, which are given for a part of the pixels."""
    if not costs.requires_grad:
        part = best[rows, columns]
        torch.minimum(part, costs, out=part)
        return best
    # The gradient needs the values before the minimum, so nothing is overwritten.
    height, width = best.shape[:2]
    border = (0, 0, 0, 0, columns.start, width - columns.stop, rows.start, height - rows.stop)
    return torch.minimum(best, F.pad(costs, border, value=torch.inf))
