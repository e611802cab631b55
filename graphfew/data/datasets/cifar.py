"""CIFAR-FS and FC100: the two few-shot splits of the classes of CIFAR-100."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
import torch

from graphfew.data.dataset import Dataset
from graphfew.data.datasets import cifar_files
from graphfew.data.datasets.rotations import N_ROTATIONS, rotate_classes
from graphfew.data.io.paths import Root
from graphfew.data.splits import Splits

CIFAR_SPLITS = Splits(("train", "val", "test"))


def cifar_fs(
    root: Root = None, split: str = "train", rotations: bool = False, progress: bool = True
) -> Dataset:
    """Load CIFAR-FS, 600 images per class, grouped by superclass; 64, 16 and 20 classes.

    The images are read from class folders (`apple/*.png`, or webp or jpg, also in a folder
    `cifar100`), from `cifar100.zip` with such folders, or from the published
    `cifar-100-binary.tar.gz`. The latter is downloaded if the folder is missing. Decoded images are
    cached. The images of a class are in the order of their names; those of the binary archive are
    in its order, training before test.

    Args:
        root: the folder of CIFAR-100; None takes `$GRAPHFEW_DATA/cifar100`, or downloads.
        split: train, val or test, with disjoint classes.
        rotations: make four classes of each, rotated counter-clockwise and named `apple/rot090`.
        progress: show bars.

    Returns:
        A data set with `x` `[n, 3, 32, 32]` uint8.

    Raises:
        InvalidInputError: an unknown split.
        DatasetNotFoundError: `root` contains none of the formats.
        DatasetError: files are damaged or incomplete.
        DownloadError: the download failed.

    Example:
        >>> cifar_fs("cifar100/", split="test")  # doctest: +SKIP
        Dataset('cifar-fs', split='test', 20 classes, 12000 items of shape [3, 32, 32] uint8)

    Source:
        Bertinetto, Henriques, Torr and Vedaldi, 2019, "Meta-learning with differentiable
        closed-form solvers". Images of Krizhevsky, 2009, "Learning multiple layers of features from
        tiny images" (no formal license: research use with citation).
    """
    return _load("cifar_fs", root, split, rotations, progress)


def fc100(
    root: Root = None, split: str = "train", rotations: bool = False, progress: bool = True
) -> Dataset:
    """Load FC100, 600 images per class, grouped by superclass; 60, 20 and 20 classes.

    No superclass is in two splits. Files are those of `cifar_fs`.

    Args:
        root: the folder of CIFAR-100; None takes `$GRAPHFEW_DATA/cifar100`, or downloads.
        split: train, val or test, with disjoint superclasses.
        rotations: make four classes of each, rotated counter-clockwise and named `apple/rot090`.
        progress: show bars.

    Returns:
        A data set with `x` `[n, 3, 32, 32]` uint8.

    Raises:
        InvalidInputError: an unknown split.
        DatasetNotFoundError: `root` contains none of the formats.
        DatasetError: files are damaged or incomplete.
        DownloadError: the download failed.

    Example:
        >>> fc100("cifar100/", split="test")  # doctest: +SKIP
        Dataset('fc100', split='test', 20 classes, 12000 items of shape [3, 32, 32] uint8)

    Source:
        Oreshkin, Rodríguez López and Lacoste, 2018, "TADAM: task dependent adaptive metric for
        improved few-shot learning". Images of Krizhevsky, 2009, "Learning multiple layers of
        features from tiny images" (no formal
        license: research use with citation).
    """
    return _load("fc100", root, split, rotations, progress)


def load_class_lists() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Return the classes of each superclass, and of each split of CIFAR-FS and FC100."""
    file = resources.files("graphfew.data.datasets").joinpath("cifar100.json")
    content: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _load(name: str, root: Root, split: str, rotations: bool, progress: bool) -> Dataset:
    CIFAR_SPLITS.check(name, split)
    class_lists = load_class_lists()
    superclass_of = {}
    for superclass, members in class_lists["superclasses"].items():
        for member in members:
            superclass_of[member] = superclass
    classes = list(class_lists[name][split])
    groups = [superclass_of[class_name] for class_name in classes]
    images = cifar_files.load_images(root, sorted(superclass_of), classes, progress)
    class_size = images.shape[1]
    if rotations:
        images, classes = rotate_classes(images, classes)
        # The four rotations of a class are adjacent, so groups are repeated rather than tiled.
        groups = np.repeat(groups, N_ROTATIONS).tolist()
    return Dataset(
        name=name.replace("_", "-"),
        split=split,
        x=torch.from_numpy(images.reshape(-1, *images.shape[2:])),
        y=torch.arange(len(classes)).repeat_interleave(class_size),
        classes=tuple(classes),
        groups=tuple(groups),
    )
