"""Augmentation: images changed at random each time a task shows them, as an option of the data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from graphfew._utils.model_spec import JSON
from graphfew.backbones.wrappers import affine_matrices
from graphfew.core.episode import Episode, task_index
from graphfew.data.sources import TaskSource

Change = Callable[[Tensor, Tensor, torch.Generator], Tensor]


@dataclasses.dataclass(frozen=True)
class Augment:
    """A random change of images and its name: `change(images, task, generator)` gives images of the same shape.

    `images` is `[N, c, h, w]` in 0..1 on any device. `task` `[N]`, the number of each image's task, ascends from 0;
    it is on the CPU as the generator is.
    """

    name: str
    change: Change


def affine(strength: float = 1.0) -> Augment:
    """Each image turned (up to 12 degrees), scaled (15 % each way), sheared (0.2) and moved (6 % of its side).

    All are uniform and independent, times `strength`; what comes in at the border is black.

    Raises:
        ValueError: a strength that is not positive.
    """
    value = _positive("affine", strength)

    def change(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        del task
        return _looked_up(
            images, affine_matrices(torch.rand(6, len(images), generator=generator), value)
        )

    return Augment(_named("affine", strength, 1.0), change)


def alphabet(strength: float = 1.0) -> Augment:
    """All images of a task turned by one angle (of the full circle), stretched (by up to 20 %), sheared (0.3) and, in
    half of the tasks, mirrored, as if they were of another alphabet; then each image as `affine` changes it.

    `strength` is of the second change.

    Raises:
        ValueError: a strength that is not positive.
    """
    value = _positive("alphabet", strength)

    def change(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        own = affine_matrices(torch.rand(6, len(images), generator=generator), value)
        shared = _script(torch.rand(5, int(task[-1]) + 1, generator=generator))[task]
        return _looked_up(images, torch.cat([shared @ own[:, :, :2], shared @ own[:, :, 2:]], 2))

    return Augment(_named("alphabet", strength, 1.0), change)


def crop(padding: int = 4) -> Augment:
    """Each image moved by up to `padding` pixels each way; what comes in at the border is black.

    Raises:
        ValueError: a padding below 1.
    """
    if padding < 1:
        raise ValueError(f"crop got padding={padding}; it must be at least 1 pixel")

    def change(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        del task
        n, _, height, width = images.shape
        wide = functional.pad(images, (padding,) * 4)
        down, right = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator)
        rows, columns = (
            (d + torch.arange(side)).to(images.device)
            for d, side in ((down, height), (right, width))
        )
        own = torch.arange(n, device=images.device)
        moved: Tensor = wide[own[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return moved.permute(0, 3, 1, 2)

    return Augment(_named("crop", float(padding), 4.0), change)


def flip() -> Augment:
    """Half of the images, at random, mirrored left to right."""

    def change(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        del task
        mirrored = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
        return torch.where(mirrored.to(images.device), images.flip(3), images)

    return Augment("flip", change)


def color(strength: float = 0.4) -> Augment:
    """Each image's brightness and contrast times `1 ± strength`, each channel moved by `± strength / 4`, within 0..1.

    Raises:
        ValueError: a strength that is not positive.
    """
    value = _positive("color", strength)

    def change(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        del task
        n, channels = images.shape[:2]
        bright, contrast = 1 + value * (2 * torch.rand(2, n, 1, 1, 1, generator=generator) - 1)
        shift = value / 4 * (2 * torch.rand(n, channels, 1, 1, generator=generator) - 1)
        bright, contrast, shift = (part.to(images.device) for part in (bright, contrast, shift))
        lit = images * bright
        middle = lit.mean((1, 2, 3), keepdim=True)
        moved: Tensor = (lit - middle) * contrast + middle + shift
        return moved.clamp(0, 1)

    return Augment(_named("color", strength, 0.4), change)


def several(*parts: Augment) -> Augment:
    """One change after the other. Raises ValueError where there is none."""
    if not parts:
        raise ValueError("several got no augmentation; give at least one")

    def change(images: Tensor, task: Tensor, generator: torch.Generator) -> Tensor:
        for part in parts:
            images = part.change(images, task, generator)
        return images

    return Augment("+".join(part.name for part in parts), change)


KNOWN: Mapping[str, Callable[..., Augment]] = {
    "affine": lambda strength="1": affine(float(strength)),
    "alphabet": lambda strength="1": alphabet(float(strength)),
    "crop": lambda padding="4": crop(int(padding)),
    "flip": flip,
    "color": lambda strength="0.4": color(float(strength)),
}


def parse_augment(text: str) -> Augment:
    """An augmentation from text: `affine:1.5`, `alphabet`, `crop:4`, `flip`, `color:0.4`, or several joined by `+`.

    Raises:
        ValueError: text of another form; the message lists the known ones.
    """
    parts = []
    for part in text.split("+"):
        name, *values = part.split(":")
        try:
            parts.append(KNOWN[name](*values))
        except (KeyError, TypeError, ValueError) as error:
            reason = f" ({error})" if isinstance(error, ValueError) else ""
            raise ValueError(
                f"no augmentation is written {part!r}{reason}; known: affine:1, alphabet:1, crop:4, flip, "
                "color:0.4, and several joined by +"
            ) from error
    return parts[0] if len(parts) == 1 else several(*parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Augmented:
    """Tasks whose images are changed at random.

    What is drawn depends on `seed` and on which tasks are asked together, so training that goes on from a checkpoint
    sees the same images.

    Attributes:
        tasks: of images, `[N, c, h, w]`.
    """

    tasks: TaskSource
    augment: Augment
    seed: int = 0

    def batch(self, indices: range) -> tuple[Episode, Tensor]:
        """The tasks with every image changed.

        Raises:
            ValueError: items that are not images.
        """
        episode, target = self.tasks.batch(indices)
        task = task_index(episode.sizes, torch.device("cpu"))
        return episode.encode(
            lambda images: changed(self.augment, images, task, self.seed, indices)
        ), target

    def describe(self) -> Mapping[str, JSON]:
        """What the tasks say of themselves, and the augmentation."""
        own: Any = self.tasks
        return {**own.describe(), "augment": self.augment.name}


def changed(augment: Augment, images: Tensor, task: Tensor, seed: int, indices: range) -> Tensor:
    """The images `[N, c, h, w]` of tasks `[N]` changed with randomness of `seed` and the first and last index.

    Raises:
        ValueError: items that are not images.
    """
    if images.ndim != 4:
        raise ValueError(
            f"items have shape {tuple(images.shape[1:])}; {augment.name} changes images [c, h, w]: leave "
            "the augmentation out"
        )
    state = np.random.SeedSequence((seed, indices[0], indices[-1])).generate_state(1, np.uint64)[0]
    return augment.change(images, task, torch.Generator().manual_seed(int(state)))


def _looked_up(images: Tensor, matrices: Tensor) -> Tensor:
    """Each image with its places looked up where its matrix `[2, 3]` says."""
    grid = functional.affine_grid(matrices.to(images), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _script(uniform: Tensor) -> Tensor:
    """`[n, 2, 2]` from `[5, n]` numbers in `[0, 1)`: a turn, then stretches, a shear, and a mirror or none."""
    angle, mirror = 2 * math.pi * uniform[0], torch.where(uniform[1] < 0.5, -1.0, 1.0)
    wide, high, shear = (
        0.2 * (2 * uniform[2] - 1),
        0.2 * (2 * uniform[3] - 1),
        0.3 * (2 * uniform[4] - 1),
    )
    turn = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1
    )
    shape = torch.stack(
        [
            torch.stack([mirror * (1 + wide), shear], 1),
            torch.stack([torch.zeros_like(shear), 1 + high], 1),
        ],
        1,
    )
    return turn @ shape


def _positive(name: str, strength: float) -> float:
    if not (math.isfinite(strength) and strength > 0):
        raise ValueError(f"{name} got strength={strength}; it must be positive and finite")
    return float(strength)


def _named(name: str, value: float, default: float) -> str:
    return name if value == default else f"{name}:{value:g}"
