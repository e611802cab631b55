"""The settings of the suite, and random partially labeled sets of a setting."""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.unlabeled_sets.datasets import Array, FeatureSet
from benchmarks.unlabeled_sets.spec import SuiteSpec

# Every class keeps so many unlabeled items at least, so that its accuracy is defined.
MIN_UNLABELED = 2
LONG_TAIL = 10.0
NATURAL, NO_OUTLIERS = "natural", "none"
SPREAD, COMPACT = "spread", "compact"


@dataclasses.dataclass(frozen=True)
class Setting:
    """A kind of partially labeled set.

    Attributes:
        dataset: name of the data set.
        shots: number of labels per class.
        balance: a name in `BALANCES`.
        outliers: "none", "spread" (from a third of the classes) or "compact" (from one class).
    """

    dataset: str
    shots: int
    balance: str
    outliers: str = NO_OUTLIERS

    def __str__(self) -> str:
        labels = f"{self.shots} label{'s' if self.shots > 1 else ''}"
        text = f"{self.dataset}, {labels}, {self.balance.replace('_', ' ')}"
        return text if self.outliers == NO_OUTLIERS else f"{text}, {self.outliers} outliers"


@dataclasses.dataclass(frozen=True, eq=False)
class LabeledSet:
    """A partially labeled set.

    Attributes:
        x: `[n, F]` features.
        y: `[n]` given labels, from 0 to C - 1; -1 for unlabeled items.
        target: `[n]` true labels; -1 for outliers.
    """

    x: Array
    y: Array
    target: Array


def list_settings(spec: SuiteSpec) -> list[Setting]:
    """Return all settings of a spec; outliers are added to the natural balance only."""
    kinds = [(balance, NO_OUTLIERS) for balance in spec.balances]
    kinds += [(NATURAL, outliers) for outliers in spec.outlier_kinds]
    settings = []
    for dataset, shots in itertools.product(spec.datasets, spec.shots):
        settings += [Setting(dataset, shots, balance, outliers) for balance, outliers in kinds]
    return settings


def sample_set(data: FeatureSet, setting: Setting, draw: int, spec: SuiteSpec) -> LabeledSet | None:
    """Sample a partially labeled set.

    Classes are numbered at random, so that a method that returns class 0 in doubt gains nothing.

    Args:
        data: the data set of the setting.
        setting: the setting.
        draw: number of the draw; the result depends on it, the setting and the spec's seed only.
        spec: seed, cap and share of outliers.

    Returns:
        The set, or None if the data set has too few items or classes for the setting.
    """
    rng = np.random.default_rng([spec.seed, draw, zlib.crc32(str(setting).encode())])
    n_classes = int(data.y.max()) + 1
    items = [rng.permutation(np.flatnonzero(data.y == c)) for c in range(n_classes)]
    classes, outlier_classes = _split_classes(n_classes, setting, rng)
    if len(classes) < 2:
        return None
    cap = spec.cap
    if len(outlier_classes):
        cap = round(spec.cap * (1 - spec.outlier_share))
    available = np.array([len(items[c]) for c in classes])
    sizes = _class_sizes(available, setting, cap, rng)
    if sizes is None:
        return None

    # Each class's number in the set is its position in the shuffled `classes`.
    members = [items[c][:size] for c, size in zip(classes, sizes, strict=True)]
    target = np.repeat(np.arange(len(classes)), sizes)
    labeled = np.concatenate([np.arange(size) < setting.shots for size in sizes])
    n_outliers = round(sizes.sum() * spec.outlier_share / (1 - spec.outlier_share))
    candidates = rng.permutation(np.concatenate([*(items[c] for c in outlier_classes), []]))
    outliers = candidates[:n_outliers].astype(np.int64)
    rows = np.concatenate([*members, outliers])
    target = np.concatenate([target, np.full(len(outliers), -1)])
    labeled = np.concatenate([labeled, np.zeros(len(outliers), bool)])
    order = rng.permutation(len(rows))
    y = np.where(labeled, target, -1)
    return LabeledSet(data.x[rows[order]], y[order], target[order])


def _split_classes(
    n_classes: int, setting: Setting, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return the classes of the set in random order, and the classes of its outliers."""
    order = rng.permutation(n_classes)
    n_outlier_classes = 0
    if setting.outliers == COMPACT:
        n_outlier_classes = 1
    elif setting.outliers == SPREAD:
        n_outlier_classes = max(1, n_classes // 3)
    outlier_classes, classes = np.split(order, [n_outlier_classes])
    if setting.balance in TWO_CLASSES:
        classes = classes[:2]
    return classes, outlier_classes


def _class_sizes(
    available: Array, setting: Setting, cap: int, rng: np.random.Generator
) -> Array | None:
    """Return the number of items of each class, or None if the balance cannot be reached."""
    minimum = setting.shots + MIN_UNLABELED
    if available.min() < minimum:
        return None
    weights = BALANCES[setting.balance](available, rng)
    # The largest scale at which every class has enough items.
    scale = float((available / weights).min())

    def sizes(scale: float) -> Array:
        return np.maximum(np.round(weights * scale), minimum).astype(np.int64)

    # The number of items grows with the scale, and rounding makes it a step function: bisect.
    low, high = 0.0, scale
    if sizes(scale).sum() <= cap:
        low = scale
    for _ in range(50):
        middle = (low + high) / 2
        if sizes(middle).sum() <= cap:
            low = middle
        else:
            high = middle
    found = np.minimum(sizes(low), available)
    # A minimum per class makes small sets more even than the setting says: reject them.
    if setting.balance != NATURAL:
        wanted_ratio = weights.max() / weights.min()
        if found.max() / found.min() < wanted_ratio / 2:
            return None
    return found


def _natural(available: Array, rng: np.random.Generator) -> Array:
    del rng
    return available.astype(float)


def _long_tail(available: Array, rng: np.random.Generator) -> Array:
    ranks = rng.permutation(len(available))
    return LONG_TAIL ** (-ranks / (len(available) - 1))


def _two_classes(percent: int) -> Callable[[Array, np.random.Generator], Array]:
    def weights(available: Array, rng: np.random.Generator) -> Array:
        del available
        return rng.permutation([percent / 100, 1 - percent / 100])

    return weights


TWO_CLASSES = ("80:20", "95:5", "99:1")
# Relative sizes `[C]` of the classes, from the available items `[C]` and a generator.
BALANCES: Mapping[str, Callable[[Array, np.random.Generator], Array]] = {
    NATURAL: _natural,
    "long_tail": _long_tail,
    "80:20": _two_classes(80),
    "95:5": _two_classes(95),
    "99:1": _two_classes(99),
}
