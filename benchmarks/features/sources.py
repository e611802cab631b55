"""The features: CLINC150's utterances and CIFAR-FS's images, from a local folder."""

from __future__ import annotations

import os
from pathlib import Path

import torch

import graphfew as gf


def folder(root: str | None) -> Path:
    """The folder of the data sets: `root`, else `GRAPHFEW_DATA`. Raises ValueError where neither is given."""
    place = root or os.environ.get("GRAPHFEW_DATA")
    if not place:
        raise ValueError("the benchmark needs a folder with clinc150/ and cifar100/; give --root, or set GRAPHFEW_DATA")
    return Path(place)


def clinc150(root: Path) -> gf.Dataset:
    """22,500 utterances of 150 intents, embedded by all-MiniLM-L6-v2, length 1, as they are."""
    return gf.data.clinc150(root / "clinc150")


def cifar_fs(root: Path, split: str) -> gf.Dataset:
    """A split of CIFAR-FS: features of a network trained on the training classes alone; their square roots."""
    return gf.data.cifar_fs_features(root / "cifar100", split)


def centre(data: gf.Dataset) -> list[float]:
    """The mean of a split's features, each brought to length 1."""
    middle: list[float] = torch.nn.functional.normalize(data.x, dim=1).mean(0).tolist()
    return middle
