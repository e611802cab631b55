"""The features: CLINC150's utterances and CIFAR-FS's images, from a local folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
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
    content = np.load(root / "clinc150" / "minilm_embeddings.npz", allow_pickle=False)
    return _dataset("clinc150-minilm", "all", content["x"], content["y"])


def cifar_fs(root: Path, split: str) -> gf.Dataset:
    """A split of CIFAR-FS: features of a network trained on the training classes alone; their square roots."""
    content = np.load(root / "cifar100" / "cifarfs_features.npz", allow_pickle=False)
    names = [str(name) for name in content["split_name"]]
    own = content["split"] == next(i for i, name in enumerate(names) if name.startswith(split))
    return _dataset("cifar-fs-features", split, np.sqrt(content["features"][own].astype(np.float32)),
                    content["label"][own])


def centre(data: gf.Dataset) -> list[float]:
    """The mean of a split's features, each brought to length 1."""
    middle: list[float] = torch.nn.functional.normalize(data.x, dim=1).mean(0).tolist()
    return middle


def _dataset(name: str, split: str, x: Any, label: Any) -> gf.Dataset:
    names, y = np.unique(label, return_inverse=True)
    return gf.Dataset(name, split, torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.int64)),
                      tuple(map(str, names)))
