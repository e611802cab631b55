"""Images as arrays, with a class each, from the pickles in which few-shot data sets are handed on."""

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
from graphfew.data.io import cache
from graphfew.data.io.safe_pickle import read_pickle

Images = list[Any] | NDArray[Any]
Picture = Callable[[Any], NDArray[np.uint8]]
FORMS = "image_data with class_dict, data with labels, or classes with their images"
TOP = 255
# what values of other kinds and shapes than are due may lead to
FAULTS = (
    TypeError,
    ValueError,
    IndexError,
    KeyError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """Images, not yet of one form, and the class of each.

    Shapes:
        images: `[n]` of whatever `decode` takes; taken out one by one where it is a list.
        decode: an image as uint8 `[h, w, 3]`.
        y: `[n]` int64.
        classes: their names.
        groups: the group of each class, or empty.
    """

    images: Images
    decode: Picture
    y: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: tuple[str, ...] = ()


def read_pictures(path: Path) -> Pictures:
    """The images of a pickle in any of the forms that are handed on; nothing of it is run.

    `image_data` with `class_dict` (a class's name and its indices), `data` with `labels` (and names by `catname2label`,
    where they are there), or a dict of classes with a list or an array of images each.

    Raises:
        ValueError: a file that is damaged, names anything but arrays, or is of another form.
    """
    found = read_pickle(path)
    try:
        content = texts(found)
        if "image_data" in content and "class_dict" in content:
            return _by_index(content["image_data"], content["class_dict"])
        if "data" in content and "labels" in content:
            return named(
                content["data"], content["labels"], _names(content.get("catname2label", {}))
            )
        return _by_class(content)
    except FAULTS as error:
        raise ValueError(
            f"{path} holds no images and classes in a known form ({str(error)[:500]}); known: {FORMS}"
        ) from error


def texts(content: Any) -> dict[Any, Any]:
    """A dict with its keys as text where they are bytes. Raises ValueError where it is no dict."""
    if not isinstance(content, dict):
        raise ValueError(f"the pickle holds a {type(content).__name__}; a dict is due")
    return {text(key): value for key, value in content.items()}


def named(
    images: Any,
    labels: Iterable[Any],
    names: Mapping[Any, str],
    decode: Picture | None = None,
    groups: Mapping[Any, str] | None = None,
) -> Pictures:
    """Images and labels of any kind that sorts; classes are named by `names`, else by their label.

    Raises:
        ValueError: lengths that differ, or images that are no list or array.
    """
    held = _held(images)
    known, y = np.unique(flat(labels), return_inverse=True)
    if len(held) != len(y):
        raise ValueError(
            f"there are {len(held)} images and {len(y)} labels; one label per image is due"
        )
    own = known.tolist()
    given = [str(names.get(label, text(label))) for label in own]
    classes = tuple(
        name if given.count(name) == 1 else f"{name} ({label})"
        for name, label in zip(given, own, strict=True)
    )
    return Pictures(
        held,
        decode or whole,
        y.astype(np.int64),
        classes,
        tuple(groups[label] for label in own) if groups else (),
    )


def dataset(name: str, split: str, pictures: Pictures, size: int, progress: bool) -> Dataset:
    """The data set `[n, 3, size, size]` of some pictures, which are used up. Raises ValueError for a broken image."""
    return Dataset(
        name,
        split,
        torch.from_numpy(packed(pictures, size, f"reading {name}/{split}", progress)),
        torch.from_numpy(pictures.y),
        pictures.classes,
        pictures.groups,
    )


def packed(pictures: Pictures, size: int, label: str, progress: bool) -> NDArray[np.uint8]:
    """`[n, 3, size, size]`: every image decoded, and stretched by Lanczos resampling where it is of another size."""
    images = pictures.images
    out = np.empty((len(images), 3, size, size), dtype=np.uint8)
    for i in cache.progressing(range(len(out)), label, len(out), progress):
        pixels = pictures.decode(images[i])
        if isinstance(images, list):
            images[i] = None  # so that the whole is never held twice
        if pixels.shape[:2] != (size, size):
            pixels = np.asarray(
                Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS)
            )
        out[i] = pixels.transpose(2, 0, 1)
    return out


def whole(image: Any) -> NDArray[np.uint8]:
    """An image, an array, as it is, uint8 `[h, w, 3]`; whole numbers may be stored as floating ones.

    Raises:
        ValueError: another shape, or values that are no whole numbers from 0 to 255.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"an image is a {type(image).__name__}; an array of numbers [h, w, 3] is due"
        )
    values: NDArray[Any] = image
    if values.ndim != 3 or values.shape[2] != 3 or values.dtype.kind not in "uif":
        raise ValueError(
            f"an image has shape {values.shape} and dtype {values.dtype}; numbers [h, w, 3] are due"
        )
    if values.dtype == np.uint8:
        return values
    if not bool(np.all((values >= 0) & (values <= TOP) & (values == np.floor(values)))):
        raise ValueError("an image has values that are no whole numbers from 0 to 255")
    return values.astype(np.uint8)


def flat(values: Any) -> NDArray[Any]:
    """A list of plain values, or an array, as an array `[n]`.

    Raises:
        ValueError: a list that holds lists: a few bytes of a pickle can stand for more of them than there is memory.
    """
    if isinstance(values, list | tuple):
        inner = next(
            (
                value
                for value in values
                if isinstance(value, list | tuple | dict | set | np.ndarray)
            ),
            None,
        )
        if inner is not None:
            raise ValueError(
                f"a list of labels or numbers holds a {type(inner).__name__}; plain values are due"
            )
    elif not isinstance(values, np.ndarray):
        raise ValueError(f"labels are a {type(values).__name__}; a list or an array is due")
    out: NDArray[Any] = np.asarray(values)
    if out.ndim != 1:
        raise ValueError(f"labels have shape {out.shape}; one for each image is due, [n]")
    return out


def _by_index(content: Any, classes: Any) -> Pictures:
    held = _held(content)
    images = np.stack([whole(image) for image in held]) if isinstance(held, list) else held
    labels = np.full(len(images), -1, dtype=np.int64)
    own = {text(name): indices for name, indices in classes.items()}
    for i, name in enumerate(sorted(own)):
        labels[flat(own[name]).astype(np.int64)] = i
    kept = np.flatnonzero(labels >= 0)
    return Pictures(
        images if len(kept) == len(images) else images[kept],
        whole,
        labels[kept],
        tuple(sorted(own)),
    )


def _by_class(content: dict[Any, Any]) -> Pictures:
    numbered = all(isinstance(name, int | np.integer) for name in content)
    names = sorted(content, key=None if numbered else str)
    sizes = [len(content[name]) for name in names]
    images = [image for name in names for image in content.pop(name)]
    return Pictures(images, whole, np.repeat(np.arange(len(names)), sizes), tuple(map(str, names)))


def _held(images: Any) -> Images:
    if not isinstance(images, list | np.ndarray) or len(images) == 0:
        raise ValueError(
            f"its images are a {type(images).__name__}; a list or an array of some is due"
        )
    return images


def _names(labels: Any) -> dict[Any, str]:
    return {label: str(text(name)) for name, label in dict(labels).items()}


def text(name: Any) -> Any:
    """A name as text where it is bytes."""
    return name.decode("latin-1") if isinstance(name, bytes) else name
