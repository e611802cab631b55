"""Made features with the neighborhoods of real embeddings: heavy-tailed, overlapping clusters, and hubs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIM, CLASSES = 384, 150
# Classes lie around super-classes and have sub-clusters, in the few directions of their super-class.
SUPER_CLASSES, SUB_CLUSTERS, DIRECTIONS = 20, 8, 24
# Class sizes fall like a power of their rank; distances in a cluster have the tails of Student's t.
SIZE_EXPONENT, DEGREES_OF_FREEDOM = 0.7, 4
# This fraction of items is close to the center of its cluster, and so near to many others.
HUB_FRACTION, HUB_RADIUS = 0.02, 0.15
CLASS_RADIUS, SUB_RADIUS, MEDIAN_RADIUS = 1.0, 0.5, 0.8
NOISE, BLOCK = 0.25, 50_000
MOST_LABELS = 10

Array = NDArray[np.float32]


def made_items(n_items: int, seed: int = 0) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Features `[n, 384]` of length 1 in float16, and their classes, from 150 classes."""
    rng = np.random.default_rng(seed)
    super_class = rng.integers(0, SUPER_CLASSES, CLASSES)
    directions = _directions(rng)
    centers = _sub_centers(rng, super_class, directions)
    weights = rng.dirichlet(np.full(SUB_CLUSTERS, 0.7), CLASSES)
    radius = MEDIAN_RADIUS * np.exp(rng.normal(0, 0.3, (CLASSES, SUB_CLUSTERS)))
    sizes = np.arange(1, CLASSES + 1) ** -SIZE_EXPONENT
    y = rng.choice(CLASSES, n_items, p=sizes / sizes.sum())
    x = np.empty((n_items, DIM), np.float16)
    for start in range(0, n_items, BLOCK):
        classes = y[start : start + BLOCK]
        generator = np.random.default_rng([seed, start])
        draws = generator.random(len(classes))[:, None] > weights.cumsum(1)[classes]
        sub = draws.sum(1).clip(0, SUB_CLUSTERS - 1)
        spread = radius[classes, sub] * _heavy_tails(generator, len(classes))
        block = centers[classes, sub].astype(np.float32)
        block += NOISE / DIM**0.5 * generator.standard_normal(block.shape, dtype=np.float32)
        z = generator.standard_normal((len(classes), DIRECTIONS), dtype=np.float32)
        for c in np.unique(classes):
            rows = classes == c
            block[rows] += spread[rows, None] * (z[rows] @ directions[super_class[c]])
        x[start : start + BLOCK] = _unit(block)
    return x, y


def few_labels(y: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """The labels with one to ten labels of each class, and -1 for all other items."""
    rng = np.random.default_rng([seed, 1])
    given = np.full(len(y), -1)
    for c in np.unique(y):
        members = np.flatnonzero(y == c)
        rows = rng.permutation(members)[: rng.integers(1, MOST_LABELS + 1)]
        given[rows] = c
    return given


def _directions(rng: np.random.Generator) -> Array:
    """The directions in which the items of a super-class differ, and in which its classes overlap."""
    directions = rng.standard_normal((SUPER_CLASSES, DIRECTIONS, DIM)) / DIM**0.5
    decay = np.arange(1, DIRECTIONS + 1) ** -0.5
    scaled: Array = directions * (decay / np.linalg.norm(decay))[:, None]
    return scaled


def _sub_centers(
    rng: np.random.Generator, super_class: NDArray[np.int64], directions: Array
) -> Array:
    common = _unit(rng.standard_normal(DIM))
    super_centers = _unit(rng.standard_normal((SUPER_CLASSES, DIM)))
    z = rng.standard_normal((CLASSES, 1 + SUB_CLUSTERS, DIRECTIONS))
    offsets = CLASS_RADIUS * z[:, :1] + SUB_RADIUS * z[:, 1:]
    centers = 0.5 * common + 0.8 * super_centers[super_class]
    centers = centers[:, None] + offsets @ directions[super_class]
    return centers  # type: ignore[no-any-return]


def _heavy_tails(generator: np.random.Generator, n: int) -> Array:
    spread = (DEGREES_OF_FREEDOM / generator.chisquare(DEGREES_OF_FREEDOM, n)) ** 0.5
    spread[generator.random(n) < HUB_FRACTION] *= HUB_RADIUS
    return spread.astype(np.float32)


def _unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
