"""`graphfew methods` and `graphfew data`: what the library knows by name."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

from rich.table import Table

from graphfew.cli import console
from graphfew.data import DATASETS
from graphfew.data.io import cache
from graphfew.methods.registry import METHODS

SPLITS = {
    "omniglot": "train, train-mirrored, train-doubled, val, trainval, test, background, evaluation, small1, small2",
    "glyphs": "train, val, test",
    "fewrel": "train, val, test, all",
    "cifar_fs": "train, val, test",
    "fc100": "train, val, test",
    "cifar_fs_features": "val, test",
    "clinc150": "all, train, val, test",
    "mini_imagenet": "train, val, test",
    "tiered_imagenet": "train, val, test",
    "cub": "train, val, test",
    "class_folders": "all, and its folders",
}
CIFAR = ("cifar100.zip", "cifar-100-binary.tar.gz", "apple", "cifar100/apple")
PICTURES = ("train", "*.pkl", "*.pickle", "*.csv", "*.npz")
# folder in GRAPHFEW_DATA, the files that show that it is there, and whether it is downloaded
FILES: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "omniglot": ("omniglot", ("images_*.zip",), True),
    "fewrel": ("fewrel", ("*.json",), False),
    "cifar_fs": ("cifar100", CIFAR, True),
    "fc100": ("cifar100", CIFAR, True),
    "cifar_fs_features": ("cifar100", ("cifarfs_features.npz",), False),
    "clinc150": ("clinc150", ("minilm_embeddings.npz",), False),
    "mini_imagenet": ("mini_imagenet", PICTURES, False),
    "tiered_imagenet": ("tiered_imagenet", PICTURES, False),
    "cub": ("cub", ("CUB_200_2011/images", "images", "001.*"), False),
    "class_folders": ("class_folders", ("*/*",), False),
}


def methods() -> None:
    """The methods: source, modes, and what they can be asked."""
    table = Table()
    for name in ("method", "source", "modes", "trained with", "way", "shot", "unlabeled nodes"):
        table.add_column(name)
    for name, method in sorted(METHODS.items()):
        modes = [mode for mode in ("inductive", "transductive") if getattr(method, mode)]
        table.add_row(
            name,
            method.paper,
            ", ".join(modes),
            getattr(method.loss, "__name__", "needs no training"),
            "fixed" if method.fixed_way else "any",
            "fixed" if method.fixed_shot else "any",
            "used" if method.unlabeled else "refused",
        )
    console.stdout_console().print(table)


def data() -> None:
    """The data sets: splits, what they are, and whether they are on this computer. Downloads nothing."""
    table = Table()
    for name in ("data set", "splits", "what it is", "where"):
        table.add_column(name)
    for name, loader in DATASETS.items():
        what = (
            (inspect.getdoc(loader) or "")
            .split("\n\n")[0]
            .replace("\n", " ")
            .replace("`", "")
            .replace("[", r"\[")
        )
        table.add_row(name, SPLITS.get(name, "all"), what, _where(name))
    console.stdout_console().print(table)


def _where(name: str) -> str:
    if name not in FILES:
        return "comes with the library"
    folder, patterns, downloaded = FILES[name]
    places = [Path(os.environ["GRAPHFEW_DATA"]) / folder] if os.environ.get("GRAPHFEW_DATA") else []
    places += [cache.folder()] if downloaded else []
    found = [
        place for place in places if any(next(place.glob(pattern), None) for pattern in patterns)
    ]
    if found:
        return f"here: {found[0]}"
    looked = f" (looked in {' and '.join(map(str, places))})" if places else ""
    return f"not here{looked}; {'downloaded at first use, or ' if downloaded else ''}give --root"
