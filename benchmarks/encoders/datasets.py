"""Raw items by class: sentences and images, from `$GRAPHFEW_DATA` and scikit-learn."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

# The items of each class.
RawClasses = Mapping[str, list[Any]]


def clinc150() -> RawClasses:
    """Utterances of 150 intents."""
    content = json.loads((_folder("clinc150") / "data_full.json").read_text(encoding="utf-8"))
    by_intent: dict[str, list[Any]] = {}
    for split in ("train", "val", "test"):
        for text, intent in content[split]:
            by_intent.setdefault(intent, []).append(text)
    return by_intent


def fewrel() -> RawClasses:
    """Sentences of Wikipedia of 16 relations."""
    content = json.loads((_folder("fewrel") / "val_wiki.json").read_text(encoding="utf-8"))
    return {
        relation: [" ".join(sentence["tokens"]) for sentence in sentences]
        for relation, sentences in content.items()
    }


def cifar100() -> RawClasses:
    """Color images of 32 by 32 pixels of 100 classes."""
    return _zipped_images(_folder("cifar100") / "cifar100.zip", ".webp")


def omniglot() -> RawClasses:
    """Drawn characters of the evaluation alphabets."""
    return _zipped_images(_folder("omniglot") / "images_evaluation.zip", ".png")


def digits() -> RawClasses:
    """Handwritten digits of 8 by 8 pixels."""
    content = load_digits()
    images = np.rint(content.images * (255 / 16)).astype(np.uint8)
    by_digit: dict[str, list[Any]] = {}
    for pixels, digit in zip(images, content.target, strict=True):
        by_digit.setdefault(str(digit), []).append(Image.fromarray(pixels))
    return by_digit


DATASETS: Mapping[str, Callable[[], RawClasses]] = {
    "clinc150": clinc150,
    "fewrel": fewrel,
    "cifar100": cifar100,
    "omniglot": omniglot,
    "digits": digits,
}


def _folder(name: str) -> Path:
    root = os.environ.get("GRAPHFEW_DATA")
    if not root:
        raise SystemExit("set GRAPHFEW_DATA to the folder of the data sets")
    return Path(root) / name


def _zipped_images(path: Path, suffix: str) -> RawClasses:
    by_class: dict[str, list[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(suffix):
                folder = name.rpartition("/")[0]
                by_class.setdefault(folder, []).append(archive.read(name))
    return {
        name: [Image.open(io.BytesIO(content)) for content in contents]
        for name, contents in by_class.items()
    }
