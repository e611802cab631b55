"""CIFAR-FS and FC100: the two few-shot splits of CIFAR-100's classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import torch

from graphfew.data.dataset import Dataset
from graphfew.data.datasets import cifar_files
from graphfew.data.datasets.rotations import TURNS, rotated
from graphfew.data.io.paths import Root, check_split


def cifar_fs(
    root: Root = None, split: str = "train", rotations: bool = False, progress: bool = True
) -> Dataset:
    """CIFAR-FS, `[n, 3, 32, 32]` uint8, 600 images per class, grouped by superclass; 64, 16 and 20 classes.

    It is read from `root`, else from `$GRAPHFEW_DATA/cifar100`, whichever is there: class folders (`apple/*.png`, or
    webp or jpg, also below a folder `cifar100`), `cifar100.zip` with such folders, or the published
    `cifar-100-binary.tar.gz`, which is downloaded once where neither folder is there. Decoded images are cached. A
    class's images stand in the order of their names, in the binary files training before test.

    Args:
        root: the folder of CIFAR-100.
        split: train, val or test; no class is in two of them.
        rotations: four classes of each, turned counter-clockwise, called `apple/rot090`.
        progress: show bars.

    Raises:
        ValueError: an unknown split, or files that are damaged or incomplete.
        FileNotFoundError: `root` holds none of the formats.
        OSError: the download failed.

    Source: Bertinetto, Henriques, Torr and Vedaldi, 2019, "Meta-learning with differentiable closed-form solvers";
    images of Krizhevsky, 2009, "Learning multiple layers of features from tiny images" (no formal licence: research
    use with citation). Deviations: none.
    """
    return _dataset("cifar_fs", root, split, rotations, progress)


def fc100(
    root: Root = None, split: str = "train", rotations: bool = False, progress: bool = True
) -> Dataset:
    """FC100, `[n, 3, 32, 32]` uint8, 600 images per class, grouped by superclass; 60, 20 and 20 classes.

    No superclass is in two splits. Files, arguments and refusals are those of `cifar_fs`.

    Source: Oreshkin, Rodríguez López and Lacoste, 2018, "TADAM: task dependent adaptive metric for improved few-shot
    learning"; images of Krizhevsky, 2009, "Learning multiple layers of features from tiny images" (no formal licence:
    research use with citation). Deviations: none.
    """
    return _dataset("fc100", root, split, rotations, progress)


def lists() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """The classes of each superclass, and of each split of CIFAR-FS and FC100."""
    file = resources.files("graphfew.data").joinpath("cifar100.json")
    content: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _dataset(name: str, root: Root, split: str, rotations: bool, progress: bool) -> Dataset:
    known = lists()
    check_split(name, split, known[name])
    superclass = {own: group for group, classes in known["superclasses"].items() for own in classes}
    classes = list(known[name][split])
    images = cifar_files.images(root, sorted(superclass), classes, progress)
    each, groups = images.shape[1], [superclass[own] for own in classes]
    if rotations:
        images, classes = rotated(images, classes)
        groups = [group for group in groups for _ in range(TURNS)]
    return Dataset(
        name=name.replace("_", "-"),
        split=split,
        x=torch.from_numpy(images.reshape(-1, *images.shape[2:])),
        y=torch.arange(len(classes)).repeat_interleave(each),
        classes=tuple(classes),
        groups=tuple(groups),
    )
