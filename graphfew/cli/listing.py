"""`graphfew methods` and `graphfew data`: the registered methods and data sets."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from graphfew.cli import console
from graphfew.cli.error_handling import one_line_errors
from graphfew.data import DATASETS, SPLITS, Dataset
from graphfew.data.io import cache
from graphfew.methods.registry import METHODS

# `apple` is the first class of CIFAR-100: its folder shows that class folders are there.
CIFAR_FILES = ("cifar100.zip", "cifar-100-binary.tar.gz", "apple", "cifar100/apple")
IMAGENET_FILES = ("train", "*.pkl", "*.pickle", "*.csv", "*.npz")
# Folder in GRAPHFEW_DATA, patterns (one must match), and whether it can be downloaded.
FILES: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "omniglot": ("omniglot", ("images_*.zip",), True),
    "fewrel": ("fewrel", ("*.json",), False),
    "cifar_fs": ("cifar100", CIFAR_FILES, True),
    "fc100": ("cifar100", CIFAR_FILES, True),
    "cifar_fs_features": ("cifar100", ("cifarfs_features.npz",), False),
    "clinc150": ("clinc150", ("minilm_embeddings.npz",), False),
    "mini_imagenet": ("mini_imagenet", IMAGENET_FILES, False),
    "tiered_imagenet": ("tiered_imagenet", IMAGENET_FILES, False),
    "cub": ("cub", ("CUB_200_2011/images", "images", "001.*"), False),
    "class_folders": ("class_folders", ("*/*",), False),
}


def methods() -> None:
    """List the methods: paper, evaluation modes, loss and requirements."""
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
            "used" if method.unlabeled else "rejected",
        )
    console.stdout_console().print(table)


def data(
    show_cache: Annotated[
        bool,
        typer.Option("--cache", help="List the cached features of texts and images instead."),
    ] = False,
    clear_cache: Annotated[
        bool,
        typer.Option("--clear-cache", help="Remove the cached features of texts and images."),
    ] = False,
) -> None:
    """List the data sets: splits, content, and whether their files are found. Downloads nothing."""
    if show_cache or clear_cache:
        with one_line_errors():
            _show_cache(clear_cache)
        return
    table = Table()
    for name in ("data set", "splits", "content", "files"):
        table.add_column(name)
    for name, loader in DATASETS.items():
        table.add_row(name, str(SPLITS[name]), _summary(loader), _location(name))
    console.stdout_console().print(table)


def _show_cache(clear: bool) -> None:
    """Print the size of the cached features by encoder; remove them if `clear`."""
    # Not with this module: encoders are imported on first use.
    from graphfew.encoders import embedding_cache

    screen = console.stdout_console()
    folder = cache.cache_folder() / embedding_cache.FOLDER
    if clear:
        freed = embedding_cache.clear_cache()
        screen.print(f"{freed / 1e6:.1f} MB of features removed from {folder}", soft_wrap=True)
        return
    limit = embedding_cache.limit_bytes() / 1e6
    cached = embedding_cache.list_cached()
    table = Table("encoder", "MB", "last used")
    for encoder in cached:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(encoder.last_used))
        table.add_row(encoder.key, f"{encoder.n_bytes / 1e6:.1f}", used)
    screen.print(table)
    total = sum(encoder.n_bytes for encoder in cached) / 1e6
    screen.print(
        f"{total:.1f} of {limit:,.0f} MB ({embedding_cache.LIMIT_VARIABLE}) in {folder}",
        soft_wrap=True,
    )


def _summary(loader: Callable[..., Dataset]) -> str:
    """The first paragraph of a loader's docstring, escaped for rich."""
    paragraph = (inspect.getdoc(loader) or "").split("\n\n")[0]
    return paragraph.replace("\n", " ").replace("`", "").replace("[", r"\[")


def _location(name: str) -> str:
    """Where the files of a data set were found, or looked for."""
    if name not in FILES:
        return "part of the library"
    subfolder, patterns, is_downloadable = FILES[name]
    folders = []
    if os.environ.get("GRAPHFEW_DATA"):
        folders.append(Path(os.environ["GRAPHFEW_DATA"]) / subfolder)
    if is_downloadable:
        folders.append(cache.cache_folder())
    for folder in folders:
        # `next` stops at the first match, because a folder may hold a million files.
        if any(next(folder.glob(pattern), None) for pattern in patterns):
            return f"found in {folder}"
    searched = f" in {' and '.join(map(str, folders))}" if folders else ""
    advice = "downloaded at first use, or give --root" if is_downloadable else "give --root"
    return f"not found{searched}; {advice}"
