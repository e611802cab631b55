"""miniImageNet and tieredImageNet, from the files in which they are distributed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graphfew.data.dataset import Dataset
from graphfew.data.datasets.class_folders import dataset_from_images
from graphfew.data.io import pickled_images
from graphfew.data.io.image_folder import ImageListing, list_images
from graphfew.data.io.image_pixels import READ_ERRORS
from graphfew.data.io.npz import read_arrays
from graphfew.data.io.paths import Root, check_image_size, require_folder
from graphfew.data.io.safe_pickle import read_pickle
from graphfew.data.splits import Splits
from graphfew.errors import DatasetError, DatasetNotFoundError

IMAGENET_SPLITS = Splits(("train", "val", "test"))
# MetaOptNet's pickles call the training split by the phase of training.
_PHASES = {"train": "train_phase_train"}
_PICKLE_NAMES = (
    "mini-imagenet-cache-{split}.pkl",
    "mini_imagenet_{split}.pickle",
    "miniImageNet_category_split_{phase}.pickle",
)
_MINI_HINT = (
    "pass root=, a folder with one of: class folders of images (train/<class>/*.jpg); images/ with "
    "Ravi and Larochelle's train.csv, val.csv and test.csv; or a pickle for each split, "
    "mini-imagenet-cache-train.pkl, mini_imagenet_train.pickle or "
    "miniImageNet_category_split_train_phase_train.pickle. ImageNet's terms forbid redistribution: "
    "get access at image-net.org; repositories of EGNN, few-shot-ssl-public and MetaOptNet link to "
    "the pickles"
)
_TIERED_HINT = (
    "pass root=, a folder with one of: class folders of images (train/<class>/*.jpg); "
    "train_images_png.pkl or train_images.npz, each with train_labels.pkl. ImageNet's terms forbid "
    "redistribution: get access at image-net.org; the repository few-shot-ssl-public links to the "
    "files"
)


def mini_imagenet(
    root: Root = None, split: str = "train", size: int = 84, progress: bool = True
) -> Dataset:
    """Load miniImageNet, 600 images per class; 64, 16 and 20 classes.

    The first of these in `root` is read: class folders (`train/<class>/*.jpg`); `images/` with the
    lists `train.csv`, `val.csv` and `test.csv` (`filename,label`); the pickles
    `mini-imagenet-cache-train.pkl`, `mini_imagenet_train.pickle` or
    `miniImageNet_category_split_train_phase_train.pickle`. Pickles are read without executing them.
    Classes without a name are named by their number.

    Args:
        root: the folder; None takes `$GRAPHFEW_DATA/mini_imagenet`.
        split: train, val or test, with disjoint classes.
        size: side of the images in pixels.
        progress: show a bar.

    Returns:
        A data set with `x` `[n, 3, size, size]` uint8.

    Raises:
        InvalidInputError: an unknown split, or a size below 1.
        DatasetNotFoundError: the folder does not exist, or it has none of the formats.
        DatasetError: a file is damaged or has another format.

    Example:
        >>> mini_imagenet("mini_imagenet/", split="test")  # doctest: +SKIP
        Dataset('mini-imagenet', split='test', 20 classes, 12000 items of shape [3, 84, 84] uint8)

    Source:
        Vinyals et al., 2016, "Matching networks for one shot learning". Split of Ravi and
        Larochelle, 2017, "Optimization as a model for few-shot learning". Images of ImageNet
        (non-commercial research, no redistribution).

    Deviations:
        Images of another size are rotated as their EXIF data says and stretched to the square by
        Lanczos resampling, as in GNN and EGNN; others crop the center.
    """
    IMAGENET_SPLITS.check("mini_imagenet", split)
    check_image_size(size)
    folder = require_folder(root, "mini_imagenet", _MINI_HINT)
    listing = _list_class_folders(folder, split) or _list_from_csv(folder, split)
    if listing is not None:
        return dataset_from_images("mini-imagenet", split, listing, size, 3, progress)
    for name in _PICKLE_NAMES:
        path = folder / name.format(split=split, phase=_PHASES.get(split, split))
        if path.is_file():
            source = pickled_images.read_pickled_images(path)
            return _build_dataset("mini-imagenet", split, path, source, size, progress)
    raise DatasetNotFoundError(f"{folder} has no miniImageNet for {split}; {_MINI_HINT}")


def tiered_imagenet(
    root: Root = None, split: str = "train", size: int = 84, progress: bool = True
) -> Dataset:
    """Load tieredImageNet, grouped by category; 351, 97 and 160 classes.

    The first of these in `root` is read: class folders (`train/<class>/*.jpg`, without categories);
    `train_images_png.pkl` or `train_images.npz` with `train_labels.pkl`. Pickles are read without
    executing them. Classes with the same name get their number appended. The training split takes
    10 GB of memory.

    Args:
        root: the folder; None takes `$GRAPHFEW_DATA/tiered_imagenet`.
        split: train, val or test, with disjoint categories.
        size: side of the images in pixels.
        progress: show a bar.

    Returns:
        A data set with `x` `[n, 3, size, size]` uint8.

    Raises:
        InvalidInputError: an unknown split, or a size below 1.
        DatasetNotFoundError: the folder does not exist, or it has none of the formats.
        DatasetError: a file is damaged or has another format.

    Example:
        >>> tiered_imagenet("tiered_imagenet/", split="test")  # doctest: +SKIP
        Dataset('tiered-imagenet', split='test', 160 classes, 206209 items of shape [3, 84, 84]
        uint8)

    Source:
        Ren et al., 2018, "Meta-learning for semi-supervised few-shot classification". Images of
        ImageNet (non-commercial research, no redistribution).

    Deviations:
        Images of another size are stretched to the square by Lanczos resampling. Those of the NPZ
        file, which OpenCV wrote as BGR, are converted to RGB.
    """
    IMAGENET_SPLITS.check("tiered_imagenet", split)
    check_image_size(size)
    folder = require_folder(root, "tiered_imagenet", _TIERED_HINT)
    listing = _list_class_folders(folder, split)
    if listing is not None:
        return dataset_from_images("tiered-imagenet", split, listing, size, 3, progress)
    labels = folder / f"{split}_labels.pkl"
    png_images = folder / f"{split}_images_png.pkl"
    array_images = folder / f"{split}_images.npz"
    if labels.is_file() and png_images.is_file():
        source = _read_tiered(read_pickle(png_images), labels, _decode_image)
        return _build_dataset("tiered-imagenet", split, png_images, source, size, progress)
    if labels.is_file() and array_images.is_file():
        source = _read_tiered(_read_image_array(array_images), labels, _bgr_to_rgb)
        return _build_dataset("tiered-imagenet", split, array_images, source, size, progress)
    raise DatasetNotFoundError(f"{folder} has no tieredImageNet for {split}; {_TIERED_HINT}")


def _build_dataset(
    name: str,
    split: str,
    path: Path,
    source: pickled_images.PickledImages,
    size: int,
    progress: bool,
) -> Dataset:
    try:
        # Images are decoded only here, so damaged ones raise here.
        return pickled_images.to_dataset(name, split, source, size, progress)
    except READ_ERRORS as error:
        raise DatasetError(f"{path} cannot be used ({error}); get it again") from error


def _list_class_folders(folder: Path, split: str) -> ImageListing | None:
    return list_images(folder / split) if (folder / split).is_dir() else None


def _list_from_csv(folder: Path, split: str) -> ImageListing | None:
    """List the images that the split's CSV file names, in its order."""
    path, image_folder = folder / f"{split}.csv", folder / "images"
    if not (path.is_file() and image_folder.is_dir()):
        return None
    # utf-8-sig drops the byte-order mark of spreadsheets, which would join the first column name.
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    # DictReader fills the missing cells of short rows with None.
    has_columns = bool(rows) and {"filename", "label"} <= set(rows[0])
    if not has_columns or not all(row["filename"] and row["label"] for row in rows):
        raise DatasetError(
            f"{path} is not a list of a split; expected a CSV with the columns filename and label"
        )
    paths = tuple(image_folder / row["filename"] for row in rows)
    missing = [image.name for image in paths if not image.is_file()]
    if missing:
        raise DatasetNotFoundError(
            f"{image_folder} lacks {len(missing)} of the {len(paths)} images of {path.name}, the "
            f"first is {missing[0]}; put them there"
        )
    labels = tuple(row["label"] for row in rows)
    return ImageListing(image_folder, paths, labels, n_skipped=0)


def _read_tiered(
    images: Any, labels_path: Path, decode: pickled_images.Decoder
) -> pickled_images.PickledImages:
    """Combine images with the classes ("specific") and categories ("general") of a label file."""
    try:
        content = pickled_images.with_text_keys(read_pickle(labels_path))
        labels = pickled_images.to_vector(content["label_specific"])
        general_labels = pickled_images.to_vector(content["label_general"])
        class_names = _names_by_number(content["label_specific_str"])
        categories = _names_by_number(content["label_general_str"])
        category_of_label = {}
        for label, general in zip(labels.tolist(), general_labels.tolist(), strict=True):
            category_of_label[label] = categories[general]
        return pickled_images.from_labels(images, labels, class_names, decode, category_of_label)
    except pickled_images.CONTENT_ERRORS as error:
        raise DatasetError(
            f"{labels_path} does not fit ({str(error)[:500]}); expected a number for each image in "
            "label_specific and label_general, and their names in label_specific_str and "
            "label_general_str"
        ) from error


def _names_by_number(names: Any) -> Mapping[Any, str]:
    values = pickled_images.to_vector(names).tolist()
    return {number: pickled_images.to_text(name) for number, name in enumerate(values)}


def _read_image_array(path: Path) -> NDArray[Any]:
    try:
        return read_arrays(path, ("images",))["images"]
    except (OSError, ValueError) as error:
        raise DatasetError(f"{error}; expected the array images [n, h, w, 3]") from error


def _bgr_to_rgb(image: Any) -> NDArray[np.uint8]:
    return pickled_images.check_image(image)[:, :, ::-1]


def _decode_image(data: Any) -> NDArray[np.uint8]:
    """Decode an image that is stored as bytes, or as an array of bytes."""
    if not isinstance(data, bytes) and getattr(data, "dtype", None) != np.uint8:
        raise DatasetError(f"an encoded image is a {type(data).__name__}; expected bytes")
    with Image.open(io.BytesIO(bytes(data)), formats=("PNG", "JPEG")) as image:
        return np.asarray(image.convert("RGB"))
