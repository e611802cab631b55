"""Images and their classes from the pickle files in which few-shot data sets are distributed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from graphfew.data.dataset import Dataset
from graphfew.data.io.progress import with_progress
from graphfew.data.io.safe_pickle import read_pickle
from graphfew.errors import DatasetError

ImageSequence = list[Any] | NDArray[Any]
Decoder = Callable[[Any], NDArray[np.uint8]]

# What content of an unexpected type or shape may raise.
CONTENT_ERRORS = (
    TypeError,
    ValueError,
    IndexError,
    KeyError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
)
_MAX_PIXEL = 255
_KNOWN_LAYOUTS = "image_data with class_dict, data with labels, or classes with their images"


@dataclasses.dataclass(frozen=True, eq=False)
class PickledImages:
    """Images as a file stores them, and the class of each.

    Attributes:
        images: `[n]` images of any type that `decode` accepts. Elements of a list are released once
            they are decoded.
        decode: converts an image to `[h, w, 3]` uint8.
        y: `[n]` int64, class index of each image.
        classes: name of each class.
        groups: group of each class, or empty.
    """

    images: ImageSequence
    decode: Decoder
    y: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: tuple[str, ...] = ()


def read_pickled_images(path: Path) -> PickledImages:
    """Read the images of a pickle file without executing it.

    Three layouts are known: `image_data` with `class_dict` (the indices of each class), `data` with
    `labels` (and optional names, `catname2label`), and a dict from classes to lists or arrays of
    images.

    Args:
        path: the pickle file.

    Returns:
        The images, not yet decoded.

    Raises:
        DatasetError: the file is damaged, refers to anything but arrays, or has another layout.
    """
    content = read_pickle(path)
    try:
        content = with_text_keys(content)
        if "image_data" in content and "class_dict" in content:
            return _from_indices(content["image_data"], content["class_dict"])
        if "data" in content and "labels" in content:
            names = _names_by_label(content.get("catname2label", {}))
            return from_labels(content["data"], content["labels"], names)
        return _from_classes(content)
    except CONTENT_ERRORS as error:
        raise DatasetError(
            f"{path} holds no images and classes in a known layout ({str(error)[:500]}); known: "
            f"{_KNOWN_LAYOUTS}"
        ) from error


def from_labels(
    images: Any,
    labels: Iterable[Any],
    names: Mapping[Any, str],
    decode: Decoder | None = None,
    groups: Mapping[Any, str] | None = None,
) -> PickledImages:
    """Combine images with their labels.

    Args:
        images: `[n]` list or array.
        labels: `[n]` labels of any sortable type.
        names: name of each label; labels without one are named by themselves.
        decode: converts an image to `[h, w, 3]` uint8; None takes `check_image`.
        groups: group of each label.

    Returns:
        The images, with classes in the order of their labels. Classes with the same name get their
        label appended.

    Raises:
        DatasetError: lengths differ, or the images are not a list or array.
    """
    images = _check_sequence(images)
    distinct, y = np.unique(to_vector(labels), return_inverse=True)
    if len(images) != len(y):
        raise DatasetError(
            f"there are {len(images)} images and {len(y)} labels; expected one label per image"
        )
    class_labels = distinct.tolist()
    class_names = [str(names.get(label, to_text(label))) for label in class_labels]
    unique_names = []
    for name, label in zip(class_names, class_labels, strict=True):
        is_ambiguous = class_names.count(name) > 1
        unique_names.append(f"{name} ({label})" if is_ambiguous else name)
    return PickledImages(
        images,
        decode or check_image,
        y.astype(np.int64),
        tuple(unique_names),
        tuple(groups[label] for label in class_labels) if groups else (),
    )


def to_dataset(name: str, split: str, source: PickledImages, size: int, progress: bool) -> Dataset:
    """Decode images into a data set, `x` `[n, 3, size, size]`; `source` cannot be used afterwards.

    Raises:
        DatasetError: an image is damaged.
    """
    label = f"reading {name}/{split}"
    return Dataset(
        name,
        split,
        torch.from_numpy(_decode_all(source, size, label, progress)),
        torch.from_numpy(source.y),
        source.classes,
        source.groups,
    )


def with_text_keys(content: Any) -> dict[Any, Any]:
    """Return a dict with its bytes keys as text."""
    if not isinstance(content, dict):
        raise DatasetError(f"the pickle holds a {type(content).__name__}; expected a dict")
    return {to_text(key): value for key, value in content.items()}


def check_image(image: Any) -> NDArray[np.uint8]:
    """Return an image array as uint8; other dtypes are accepted if all values are integers.

    Args:
        image: `[h, w, 3]` array.

    Returns:
        `[h, w, 3]` uint8.

    Raises:
        DatasetError: another shape, or values that are not integers from 0 to 255.
    """
    if not isinstance(image, np.ndarray):
        raise DatasetError(
            f"an image is a {type(image).__name__}; expected an array of numbers [h, w, 3]"
        )
    values: NDArray[Any] = image
    if values.ndim != 3 or values.shape[2] != 3 or values.dtype.kind not in "uif":
        raise DatasetError(
            f"an image has shape {values.shape} and dtype {values.dtype}; expected numbers [h, w, "
            "3]"
        )
    if values.dtype == np.uint8:
        return values
    in_range = (values >= 0) & (values <= _MAX_PIXEL)
    # NaN fails both conditions.
    is_integer = values == np.floor(values)
    if not bool(np.all(in_range & is_integer)):
        raise DatasetError("an image has values that are not integers from 0 to 255")
    return values.astype(np.uint8)


def to_vector(values: Any) -> NDArray[Any]:
    """Return a list of scalars, or an array, as an array `[n]`.

    Raises:
        DatasetError: another shape or type, or a list that contains containers.
    """
    if isinstance(values, list | tuple):
        for value in values:
            # A pickle of a few bytes can hold lists that refer to each other, and numpy would
            # expand them beyond all memory.
            if isinstance(value, list | tuple | dict | set | np.ndarray):
                raise DatasetError(
                    f"a list of labels or numbers holds a {type(value).__name__}; expected scalars"
                )
    elif not isinstance(values, np.ndarray):
        raise DatasetError(f"labels are a {type(values).__name__}; expected a list or an array")
    vector: NDArray[Any] = np.asarray(values)
    if vector.ndim != 1:
        raise DatasetError(f"labels have shape {vector.shape}; expected one per image, [n]")
    return vector


def to_text(name: Any) -> Any:
    """Return bytes as text, and anything else unchanged."""
    # latin-1 accepts every byte; text of Python 2 does not state its encoding.
    return name.decode("latin-1") if isinstance(name, bytes) else name


def _decode_all(source: PickledImages, size: int, label: str, progress: bool) -> NDArray[np.uint8]:
    """Decode images to `[n, 3, size, size]`; other sizes are stretched by Lanczos resampling."""
    images = source.images
    n = len(images)
    decoded = np.empty((n, 3, size, size), dtype=np.uint8)
    for index in with_progress(range(n), label, n, progress):
        pixels = source.decode(images[index])
        if isinstance(images, list):
            images[index] = None  # release the memory: the data set would be held twice
        if pixels.shape[:2] != (size, size):
            resized = Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS)
            pixels = np.asarray(resized)
        decoded[index] = pixels.transpose(2, 0, 1)
    return decoded


def _from_indices(images: Any, class_dict: Any) -> PickledImages:
    """Layout `image_data` and `class_dict`: images that no class lists are dropped."""
    images = _check_sequence(images)
    if isinstance(images, list):
        # A list cannot be indexed by an array, as below.
        images = np.stack([check_image(image) for image in images])
    y = np.full(len(images), -1, dtype=np.int64)
    indices_of_class = {to_text(name): indices for name, indices in class_dict.items()}
    classes = sorted(indices_of_class)
    for class_index, name in enumerate(classes):
        y[to_vector(indices_of_class[name]).astype(np.int64)] = class_index
    labeled = np.flatnonzero(y >= 0)
    if len(labeled) < len(images):
        images = images[labeled]
    return PickledImages(images, check_image, y[labeled], tuple(classes))


def _from_classes(content: dict[Any, Any]) -> PickledImages:
    """Layout of a dict from classes to images; numbered classes are sorted by number."""
    # As text, class 10 would come before class 2.
    is_numbered = all(isinstance(name, int | np.integer) for name in content)
    names = sorted(content, key=None if is_numbered else str)
    class_sizes = [len(content[name]) for name in names]
    images = []
    for name in names:
        # Popped, or the dict would hold the images that `_decode_all` releases.
        images.extend(content.pop(name))
    y = np.repeat(np.arange(len(names)), class_sizes)
    return PickledImages(images, check_image, y, tuple(map(str, names)))


def _check_sequence(images: Any) -> ImageSequence:
    if not isinstance(images, list | np.ndarray) or len(images) == 0:
        raise DatasetError(
            f"its images are a {type(images).__name__}; expected a list or an array that is not "
            "empty"
        )
    return images


def _names_by_label(labels_by_name: Any) -> dict[Any, str]:
    return {label: str(to_text(name)) for name, label in dict(labels_by_name).items()}
