"""Data sets that come as features: CLINC150's utterances and CIFAR-FS's images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphfew.data.dataset import Dataset
from graphfew.data.io.npz import read_arrays
from graphfew.data.io.paths import Root, check_split, require_folder

UTTERANCES, IMAGES = "minilm_embeddings.npz", "cifarfs_features.npz"
CLINC_PARTS, IMAGE_PARTS = ("train", "val", "test"), ("val", "test")
CLINC_HINT = (
    f"give the folder of {UTTERANCES}: the arrays x [n, 384], y, split and domain [n] and oos [m, 384], the "
    "utterances of github.com/clinc/oos-eval embedded by sentence-transformers' all-MiniLM-L6-v2"
)
IMAGES_HINT = (
    f"give the folder of {IMAGES}: the arrays features [n, F], label and split [n], and label_name and "
    "split_name that they index"
)
Content = dict[str, NDArray[Any]]


def clinc150(root: Root = None, split: str = "all") -> Dataset:
    """CLINC150's utterances of 150 intents as sentence features, `[n, 384]` float32 of length 1, grouped by domain.

    The features are those of all-MiniLM-L6-v2, mean-pooled. Splits part utterances and not intents: 100, 20 and 30 of
    each intent in `train`, `val` and `test`, and all 22,500 in `all`.

    Args:
        root: the folder of `minilm_embeddings.npz`; None takes `$GRAPHFEW_DATA/clinc150`.
        split: all, train, val or test.

    Raises:
        ValueError: an unknown split, or a file without the arrays.
        FileNotFoundError: the file is not there.

    Source: Larson et al., 2019, "An evaluation dataset for intent classification and out-of-scope prediction" (CC BY
    3.0); features by Reimers and Gurevych, 2019, "Sentence-BERT" (Apache-2.0). Deviations: features in place of texts.
    """
    check_split("clinc150", split, ("all", *CLINC_PARTS))
    content = _read(root, "clinc150", UTTERANCES, ("x", "y", "split", "domain"), CLINC_HINT)
    with _fitting(UTTERANCES, CLINC_HINT):
        own = np.ones(len(content["y"]), bool) if split == "all" else content["split"] == split
        names, first, y = np.unique(content["y"][own], return_index=True, return_inverse=True)
        return Dataset(
            "clinc150-minilm",
            split,
            torch.from_numpy(content["x"][own].astype(np.float32)),
            torch.from_numpy(y.astype(np.int64)),
            tuple(map(str, names)),
            tuple(map(str, content["domain"][own][first])),
        )


def clinc150_out_of_scope(root: Root = None) -> Tensor:
    """CLINC150's 1,200 utterances of no intent, `[1200, 384]` float32 features as those of `clinc150`.

    Args:
        root: the folder of `minilm_embeddings.npz`; None takes `$GRAPHFEW_DATA/clinc150`.

    Raises:
        ValueError: a file without the array.
        FileNotFoundError: the file is not there.

    Source: as `clinc150`.
    """
    return torch.from_numpy(
        _read(root, "clinc150", UTTERANCES, ("oos",), CLINC_HINT)["oos"].astype(np.float32)
    )


def cifar_fs_features(root: Root = None, split: str = "test") -> Dataset:
    """Features of CIFAR-FS's validation and test images, `[n, 256]` float32 from 0: square roots of pooled activations.

    They come from a ten-convolution residual network trained by classification on CIFAR-FS's training classes alone.

    Args:
        root: the folder of `cifarfs_features.npz`; None takes `$GRAPHFEW_DATA/cifar100`.
        split: val (16 classes) or test (20).

    Raises:
        ValueError: an unknown split, or a file without the arrays.
        FileNotFoundError: the file is not there.

    Source: made for this library; images of Krizhevsky, 2009 (no formal licence: research use with citation), classes
    of Bertinetto et al., 2019, as in `cifar_fs`.
    """
    check_split("cifar_fs_features", split, IMAGE_PARTS)
    content = _read(
        root,
        "cifar100",
        IMAGES,
        ("features", "label", "label_name", "split", "split_name"),
        IMAGES_HINT,
    )
    with _fitting(IMAGES, IMAGES_HINT):
        known = {
            index: (
                len(content[f"{index}_name"]),
                content[index].min(initial=0),
                content[index].max(initial=0),
            )
            for index in ("label", "split")
        }
        wrong = next(
            (index for index, (names, low, high) in known.items() if low < 0 or high >= names), None
        )
    if wrong is not None:
        names, low, high = known[wrong]
        numbers = f"up to {high}" if low == 0 else f"from {low} to {high}"
        raise ValueError(
            f"{IMAGES} has {names} names of a {wrong} and numbers {numbers}; {IMAGES_HINT}"
        )
    with _fitting(IMAGES, IMAGES_HINT):
        own = content["split_name"][content["split"]] == split
        labels, y = np.unique(content["label"][own], return_inverse=True)
        x = torch.from_numpy(np.sqrt(content["features"][own].astype(np.float32)))
        return Dataset(
            "cifar-fs-features",
            split,
            x,
            torch.from_numpy(y.astype(np.int64)),
            tuple(map(str, content["label_name"][labels])),
        )


def _read(root: Root, folder: str, file: str, names: tuple[str, ...], hint: str) -> Content:
    path = require_folder(root, folder, hint) / file
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} has no {file}; {hint}")
    try:
        return read_arrays(path, names)
    except (OSError, ValueError) as error:
        raise ValueError(f"{error}; {hint}") from error


@contextmanager
def _fitting(file: str, hint: str) -> Iterator[None]:
    """Arrays that do not fit each other, or hold something else, are a ValueError that says what is due."""
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            yield
    except (
        ValueError,
        IndexError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        MemoryError,
    ) as error:
        raise ValueError(
            f"the arrays of {file} do not fit ({' '.join(str(error).split())[:500]}); {hint}"
        ) from error
