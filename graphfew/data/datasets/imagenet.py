"""miniImageNet and tieredImageNet, from the files in which people have them; nothing is downloaded."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graphfew.data.dataset import Dataset
from graphfew.data.datasets.class_folders import of_listing
from graphfew.data.io import pickled_images
from graphfew.data.io.image_folder import BROKEN, ImageListing, list_images
from graphfew.data.io.npz import read_arrays
from graphfew.data.io.paths import Root, check_size, check_split, require_folder
from graphfew.data.io.safe_pickle import read_pickle

SPLITS = ("train", "val", "test")
PHASES = {"train": "train_phase_train"}
PICKLES = (
    "mini-imagenet-cache-{split}.pkl",
    "mini_imagenet_{split}.pickle",
    "miniImageNet_category_split_{phase}.pickle",
)
MINI_HINT = (
    "give root=, a folder with one of: class folders of images (train/<class>/*.jpg); images/ with Ravi and "
    "Larochelle's train.csv, val.csv and test.csv; or a pickle for each split, mini-imagenet-cache-train.pkl, "
    "mini_imagenet_train.pickle or miniImageNet_category_split_train_phase_train.pickle. ImageNet's terms "
    "forbid handing it on: get access at image-net.org; repositories of EGNN, few-shot-ssl-public and "
    "MetaOptNet link to the pickles"
)
TIERED_HINT = (
    "give root=, a folder with one of: class folders of images (train/<class>/*.jpg); train_images_png.pkl "
    "or train_images.npz, each with train_labels.pkl. ImageNet's terms forbid handing it on: get access at "
    "image-net.org; the repository few-shot-ssl-public links to the files"
)


def mini_imagenet(
    root: Root = None, split: str = "train", size: int = 84, progress: bool = True
) -> Dataset:
    """miniImageNet, `[n, 3, size, size]` uint8, 600 images per class; 64, 16 and 20 classes.

    The first of these that `root` has is read: class folders (`train/<class>/*.jpg`); `images/` with the lists
    `train.csv`, `val.csv`, `test.csv` (`filename,label`); pickles `mini-imagenet-cache-train.pkl`,
    `mini_imagenet_train.pickle` or `miniImageNet_category_split_train_phase_train.pickle`. Pickles are read without
    running anything. Where a file has no names, classes are called by their numbers.

    Args:
        root: the folder; None takes `$GRAPHFEW_DATA/mini_imagenet`.
        split: train, val or test; no class is in two of them.
        size: pixels of a side.
        progress: show a bar.

    Raises:
        ValueError: an unknown split, a size below 1, or a file that is damaged or of another form.
        FileNotFoundError: no folder, or none of the forms in it.

    Source: Vinyals et al., 2016, "Matching networks for one shot learning"; split of Ravi and Larochelle, 2017,
    "Optimization as a model for few-shot learning". Images are ImageNet's (non-commercial research, no handing on).
    Deviations: images of another size are turned upright and stretched to the square by Lanczos resampling, as GNN and
    EGNN stretch them; others cut the middle out.
    """
    check_split("mini_imagenet", split, SPLITS)
    check_size(size)
    folder = require_folder(root, "mini_imagenet", MINI_HINT)
    listing = _class_folders(folder, split) or _from_csv(folder, split)
    if listing is not None:
        return of_listing("mini-imagenet", split, listing, size, 3, progress)
    for name in PICKLES:
        path = folder / name.format(split=split, phase=PHASES.get(split, split))
        if path.is_file():
            return _dataset(
                "mini-imagenet", split, path, pickled_images.read_pictures(path), size, progress
            )
    raise FileNotFoundError(f"{folder} has no miniImageNet for {split}; {MINI_HINT}")


def tiered_imagenet(
    root: Root = None, split: str = "train", size: int = 84, progress: bool = True
) -> Dataset:
    """tieredImageNet, `[n, 3, size, size]` uint8, grouped by category; 351, 97 and 160 classes.

    The first of these that `root` has is read: class folders (`train/<class>/*.jpg`, which know no categories);
    `train_images_png.pkl` or `train_images.npz` with `train_labels.pkl`. Pickles are read without running anything. A
    name that two classes share is followed by their numbers. The training split takes 10 GB.

    Args:
        root: the folder; None takes `$GRAPHFEW_DATA/tiered_imagenet`.
        split: train, val or test; no category is in two of them.
        size: pixels of a side.
        progress: show a bar.

    Raises:
        ValueError: an unknown split, a size below 1, or a file that is damaged or of another form.
        FileNotFoundError: no folder, or none of the forms in it.

    Source: Ren et al., 2018, "Meta-learning for semi-supervised few-shot classification". Images are ImageNet's
    (non-commercial research, no handing on). Deviations: images of another size are stretched to the square by Lanczos
    resampling; those of the NPZ, which OpenCV wrote as blue, green and red, are turned to red, green and blue.
    """
    check_split("tiered_imagenet", split, SPLITS)
    check_size(size)
    folder = require_folder(root, "tiered_imagenet", TIERED_HINT)
    listing = _class_folders(folder, split)
    if listing is not None:
        return of_listing("tiered-imagenet", split, listing, size, 3, progress)
    pngs, arrays, labels = (
        folder / f"{split}_{name}" for name in ("images_png.pkl", "images.npz", "labels.pkl")
    )
    if labels.is_file() and pngs.is_file():
        return _dataset(
            "tiered-imagenet",
            split,
            pngs,
            _tiered(read_pickle(pngs), labels, _decoded),
            size,
            progress,
        )
    if labels.is_file() and arrays.is_file():
        found = _tiered(_images(arrays), labels, _reversed)
        return _dataset("tiered-imagenet", split, arrays, found, size, progress)
    raise FileNotFoundError(f"{folder} has no tieredImageNet for {split}; {TIERED_HINT}")


def _dataset(
    name: str, split: str, path: Path, found: pickled_images.Pictures, size: int, progress: bool
) -> Dataset:
    try:
        return pickled_images.dataset(name, split, found, size, progress)
    except BROKEN as error:
        raise ValueError(f"{path} cannot be used ({error}); get it again") from error


def _class_folders(folder: Path, split: str) -> ImageListing | None:
    return list_images(folder / split) if (folder / split).is_dir() else None


def _from_csv(folder: Path, split: str) -> ImageListing | None:
    """The images that the split's list names, in its order."""
    path, images = folder / f"{split}.csv", folder / "images"
    if not (path.is_file() and images.is_dir()):
        return None
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if (
        not rows
        or not {"filename", "label"} <= set(rows[0])
        or not all(r["filename"] and r["label"] for r in rows)
    ):
        raise ValueError(
            f"{path} is no list of a split; give a CSV with the columns filename and label"
        )
    paths = tuple(images / row["filename"] for row in rows)
    missing = [name.name for name in paths if not name.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{images} lacks {len(missing)} of the {len(paths)} images of {path.name}, the first "
            f"is {missing[0]}; put them there"
        )
    return ImageListing(images, paths, tuple(row["label"] for row in rows), 0)


def _tiered(images: Any, path: Path, decode: pickled_images.Picture) -> pickled_images.Pictures:
    try:
        content = pickled_images.texts(read_pickle(path))
        labels = pickled_images.flat(content["label_specific"])
        names, categories = (
            dict(
                enumerate(
                    map(
                        pickled_images.text,
                        pickled_images.flat(content[f"label_{kind}_str"]).tolist(),
                    )
                )
            )
            for kind in ("specific", "general")
        )
        general = pickled_images.flat(content["label_general"]).tolist()
        groups = {
            label: categories[number]
            for label, number in zip(labels.tolist(), general, strict=True)
        }
        return pickled_images.named(images, labels, names, decode, groups)
    except pickled_images.FAULTS as error:
        raise ValueError(
            f"{path} does not fit ({str(error)[:500]}); its label_specific and label_general are to hold "
            "a number for each image, and label_specific_str and label_general_str their names"
        ) from error


def _images(path: Path) -> NDArray[Any]:
    try:
        return read_arrays(path, ("images",))["images"]
    except (OSError, ValueError) as error:
        raise ValueError(f"{error}; it is to hold the array images [n, h, w, 3]") from error


def _reversed(image: Any) -> NDArray[np.uint8]:
    return pickled_images.whole(image)[:, :, ::-1]


def _decoded(data: Any) -> NDArray[np.uint8]:
    """An encoded image, as bytes or an array of them."""
    if not isinstance(data, bytes) and getattr(data, "dtype", None) != np.uint8:
        raise ValueError(f"an encoded image is a {type(data).__name__}; bytes are due")
    with Image.open(io.BytesIO(bytes(data)), formats=("PNG", "JPEG")) as image:
        return np.asarray(image.convert("RGB"))
