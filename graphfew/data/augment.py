"""Augmentation: random changes of the images of training tasks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from graphfew.backbones.wrappers import affine_matrices
from graphfew.errors import InvalidInputError

ImageTransform = Callable[[Tensor, Tensor, torch.Generator], Tensor]

_KNOWN_FORMS = "affine:1, alphabet:1, crop:4, flip, color:0.4, dropout:0.5, and several joined by +"


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """A random transform of images, and its text form.

    Attributes:
        name: the text form, which `parse_augmentation` reads.
        transform: `(images, task, generator) -> images`. `images` are `[N, c, h, w]` in 0..1 on any
            device; `task` `[N]` is the number of each image's task, ascending from 0, on the CPU
            like the generator.

    Example:
        >>> invert = Augmentation("invert", lambda images, task, generator: 1 - images)
        >>> invert.name
        'invert'
    """

    name: str
    transform: ImageTransform


def affine(strength: float = 1.0) -> Augmentation:
    """Rotate (up to 12 degrees), scale (15 %), shear (0.2) and shift (6 % of the side) each image.

    All four are uniform, independent and multiplied by `strength`. Pixels from outside the image
    are black.

    Args:
        strength: factor of all four.

    Returns:
        The augmentation `affine`.

    Raises:
        InvalidInputError: the strength is not positive.

    Example:
        >>> affine(0.5).name
        'affine:0.5'
    """
    factor = _check_strength("affine", strength)

    def transform(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        del task
        # Drawn on the CPU, so that a seed gives the same transforms on every device.
        uniform = torch.rand(6, len(images), generator=generator)
        return _warp(images, affine_matrices(uniform, factor))

    return Augmentation(_name("affine", strength, 1.0), transform)


def alphabet(strength: float = 1.0) -> Augmentation:
    """Transform all images of a task alike, as if from another alphabet, then each as `affine`.

    The shared transform rotates (by any angle), stretches (up to 20 %), shears (0.3) and, in half
    of the tasks, mirrors.

    Args:
        strength: strength of the second transform.

    Returns:
        The augmentation `alphabet`.

    Raises:
        InvalidInputError: the strength is not positive.

    Example:
        >>> alphabet().name
        'alphabet'
    """
    factor = _check_strength("alphabet", strength)

    def transform(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(6, len(images), generator=generator)
        per_image = affine_matrices(uniform, factor)
        # `task` ascends and is on the CPU, so this needs no synchronization with a GPU.
        n_tasks = int(task[-1]) + 1
        task_uniform = torch.rand(5, n_tasks, generator=generator)
        per_task = _alphabet_matrices(task_uniform)[task]
        # Composition of affine maps [A | b]: the task's linear map applies to both parts of the
        # image's.
        linear = per_task @ per_image[:, :, :2]
        shift = per_task @ per_image[:, :, 2:]
        return _warp(images, torch.cat([linear, shift], 2))

    return Augmentation(_name("alphabet", strength, 1.0), transform)


def crop(padding: int = 4) -> Augmentation:
    """Shift each image by up to `padding` pixels in each direction, and fill with black.

    Args:
        padding: largest shift.

    Returns:
        The augmentation `crop`.

    Raises:
        InvalidInputError: the padding is below 1.

    Example:
        >>> crop(2).name
        'crop:2'
    """
    if padding < 1:
        raise InvalidInputError(f"crop got padding={padding}; it must be at least 1 pixel")

    def transform(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        del task
        n, _, height, width = images.shape
        padded = functional.pad(images, (padding,) * 4)
        top, left = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator)
        # One gather for all images, of `[n, h]` rows and `[n, w]` columns of the padded images.
        rows = (top + torch.arange(height)).to(images.device)
        columns = (left + torch.arange(width)).to(images.device)
        image = torch.arange(n, device=images.device)
        # Indices around a slice put the channels last: [n, h, w, c].
        cropped: Tensor = padded[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return cropped.permute(0, 3, 1, 2)

    return Augmentation(_name("crop", float(padding), 4.0), transform)


def flip() -> Augmentation:
    """Mirror half of the images, at random, left to right.

    Returns:
        The augmentation `flip`.

    Example:
        >>> flip().name
        'flip'
    """

    def transform(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        del task
        is_mirrored = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
        return torch.where(is_mirrored.to(images.device), images.flip(3), images)

    return Augmentation("flip", transform)


def color(strength: float = 0.4) -> Augmentation:
    """Change the brightness, contrast and color balance of each image at random.

    Brightness and contrast are multiplied by up to `1 ± strength`, and each channel is shifted by
    up to `± strength / 4`. The result is clipped to 0..1.

    Args:
        strength: largest change.

    Returns:
        The augmentation `color`.

    Raises:
        InvalidInputError: the strength is not positive.

    Example:
        >>> color(0.2).name
        'color:0.2'
    """
    factor = _check_strength("color", strength)

    def transform(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        del task
        n, channels = images.shape[:2]
        factors = 1 + factor * (2 * torch.rand(2, n, 1, 1, 1, generator=generator) - 1)
        shift = factor / 4 * (2 * torch.rand(n, channels, 1, 1, generator=generator) - 1)
        brightness, contrast = factors.to(images.device)
        brightened = images * brightness
        # Contrast changes around the mean of the brightened image, so that it keeps the brightness.
        mean = brightened.mean((1, 2, 3), keepdim=True)
        changed: Tensor = (brightened - mean) * contrast + mean + shift.to(images.device)
        return changed.clamp(0, 1)

    return Augmentation(_name("color", strength, 0.4), transform)


def dropout(rate: float = 0.5) -> Augmentation:
    """Set each pixel to black at random, in all channels.

    Args:
        rate: probability of black.

    Returns:
        The augmentation `dropout`.

    Raises:
        InvalidInputError: the rate is not between 0 and 1.

    Example:
        >>> dropout(0.3).name
        'dropout:0.3'
    """
    if not 0 < rate < 1:
        raise InvalidInputError(f"dropout got rate={rate}; it must be above 0 and below 1")

    def transform(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        del task
        n, _, height, width = images.shape
        is_visible = torch.rand(n, 1, height, width, generator=generator) >= rate
        return images * is_visible.to(images)

    return Augmentation(_name("dropout", rate, 0.5), transform)


def compose(*parts: Augmentation) -> Augmentation:
    """Apply augmentations one after the other.

    Args:
        *parts: at least one augmentation.

    Returns:
        An augmentation whose name joins theirs by `+`.

    Raises:
        InvalidInputError: there are no augmentations.

    Example:
        >>> compose(crop(), flip()).name
        'crop+flip'
    """
    if not parts:
        raise InvalidInputError("compose got no augmentation; pass at least one")

    def transform(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        for part in parts:
            images = part.transform(images, task, generator)
        return images

    return Augmentation("+".join(part.name for part in parts), transform)


# The defaults have to equal those of the functions, because `_name` omits them from the text form.
_FACTORIES: Mapping[str, Callable[..., Augmentation]] = {
    "affine": lambda strength="1": affine(float(strength)),
    "alphabet": lambda strength="1": alphabet(float(strength)),
    "crop": lambda padding="4": crop(int(padding)),
    "flip": flip,
    "color": lambda strength="0.4": color(float(strength)),
    "dropout": lambda rate="0.5": dropout(float(rate)),
}


def parse_augmentation(text: str) -> Augmentation:
    """Read an augmentation from text.

    Args:
        text: `affine:1.5`, `alphabet`, `crop:4`, `flip`, `color:0.4` or `dropout:0.5`, or several
            joined by `+`.

    Returns:
        The augmentation; its name is `text`, without numbers that are the default.

    Raises:
        InvalidInputError: `text` has another form; the message lists the known ones.

    Example:
        >>> parse_augmentation("crop:4+flip").name
        'crop+flip'
    """
    parts = []
    for part in text.split("+"):
        name, *values = part.split(":")
        try:
            parts.append(_FACTORIES[name](*values))
        # An unknown name, too many values, or a value that is no number or out of range.
        except (KeyError, TypeError, ValueError) as error:
            reason = f" ({error})" if isinstance(error, ValueError) else ""
            raise InvalidInputError(
                f"unknown augmentation {part!r}{reason}; expected one of {_KNOWN_FORMS}"
            ) from error
    return parts[0] if len(parts) == 1 else compose(*parts)


def _warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample each image at the positions that its matrix `[2, 3]` gives."""
    # With align_corners=False, -1 and 1 are the outer borders of the image, so that a shift is a
    # fraction of the side at every size.
    grid = functional.affine_grid(matrices.to(images), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _alphabet_matrices(uniform: Tensor) -> Tensor:
    """Return linear maps: a rotation after stretches, a shear and perhaps a mirror.

    Args:
        uniform: `[5, n]` numbers in `[0, 1)`.

    Returns:
        `[n, 2, 2]` matrices.
    """
    angle = 2 * math.pi * uniform[0]
    # One axis is enough: followed by a rotation by any angle, it gives every reflection.
    mirror = torch.where(uniform[1] < 0.5, -1.0, 1.0)
    stretch_x = 1 + 0.2 * (2 * uniform[2] - 1)
    stretch_y = 1 + 0.2 * (2 * uniform[3] - 1)
    shear = 0.3 * (2 * uniform[4] - 1)
    cos, sin = angle.cos(), angle.sin()
    zero = torch.zeros_like(shear)
    rotation_rows = [torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)]
    shape_rows = [
        torch.stack([mirror * stretch_x, shear], 1),
        torch.stack([zero, stretch_y], 1),
    ]
    rotation = torch.stack(rotation_rows, 1)
    shape = torch.stack(shape_rows, 1)
    return rotation @ shape


def _check_strength(name: str, strength: float) -> float:
    if not (math.isfinite(strength) and strength > 0):
        raise InvalidInputError(f"{name} got strength={strength}; it must be positive and finite")
    return float(strength)


def _name(name: str, value: float, default: float) -> str:
    return name if value == default else f"{name}:{value:g}"
