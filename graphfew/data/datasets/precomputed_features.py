"""Data sets that are distributed as features: CLINC150 and CIFAR-FS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphfew.data.dataset import Dataset
from graphfew.data.io.archives import one_line
from graphfew.data.io.npz import read_arrays
from graphfew.data.io.paths import Root, require_folder
from graphfew.data.splits import Splits
from graphfew.errors import DatasetError, DatasetNotFoundError

CLINC150_SPLITS = Splits(("all", "train", "val", "test"))
CIFAR_FS_FEATURES_SPLITS = Splits(("val", "test"))

_CLINC150_FILE = "minilm_embeddings.npz"
_CIFAR_FS_FILE = "cifarfs_features.npz"
_CLINC150_HINT = (
    f"pass the folder of {_CLINC150_FILE}: the arrays x [n, 384], y, split and domain [n] and oos "
    "[m, 384], the utterances of github.com/clinc/oos-eval embedded by sentence-transformers' "
    "all-MiniLM-L6-v2"
)
_CIFAR_FS_HINT = (
    f"pass the folder of {_CIFAR_FS_FILE}: the arrays features [n, F], label and split [n], and "
    "label_name and split_name that they index"
)
Arrays = dict[str, NDArray[Any]]


def clinc150(root: Root = None, split: str = "all") -> Dataset:
    """Load sentence features of the utterances of CLINC150, 150 intents grouped by domain.

    The features are those of all-MiniLM-L6-v2, mean-pooled and of unit length. All splits have the
    same classes.

    Args:
        root: the folder of `minilm_embeddings.npz`; None takes `$GRAPHFEW_DATA/clinc150`.
        split: all (22,500 utterances), or train, val or test (100, 20 and 30 utterances of each
            intent).

    Returns:
        A data set with `x` `[n, 384]` float32.

    Raises:
        InvalidInputError: an unknown split.
        DatasetNotFoundError: the file or folder does not exist.
        DatasetError: the file is damaged or lacks an array.

    Example:
        >>> clinc150("clinc150/")  # doctest: +SKIP
        Dataset('clinc150-minilm', split='all', 150 classes, 22500 items of shape [384] float32)

    Source:
        Larson et al., 2019, "An evaluation dataset for intent classification and out-of-scope
        prediction" (CC BY 3.0). Features of Reimers and Gurevych, 2019, "Sentence-BERT"
        (Apache-2.0).

    Deviations:
        Features instead of text.
    """
    CLINC150_SPLITS.check("clinc150", split)
    names = ("x", "y", "split", "domain")
    content = _read_file(root, "clinc150", _CLINC150_FILE, names, _CLINC150_HINT)
    with _dataset_errors(_CLINC150_FILE, _CLINC150_HINT):
        in_split = np.ones(len(content["y"]), bool)
        if split != "all":
            in_split = content["split"] == split
        # All utterances of an intent have one domain, so the first one gives it.
        intents, first_items, y = np.unique(
            content["y"][in_split], return_index=True, return_inverse=True
        )
        domains = content["domain"][in_split][first_items]
        return Dataset(
            name="clinc150-minilm",
            split=split,
            x=torch.from_numpy(content["x"][in_split].astype(np.float32)),
            y=torch.from_numpy(y.astype(np.int64)),
            classes=tuple(map(str, intents)),
            groups=tuple(map(str, domains)),
        )


def clinc150_out_of_scope(root: Root = None) -> Tensor:
    """Load the features of the 1,200 utterances of CLINC150 that belong to no intent.

    Args:
        root: the folder of `minilm_embeddings.npz`; None takes `$GRAPHFEW_DATA/clinc150`.

    Returns:
        `[1200, 384]` float32 features like those of `clinc150`.

    Raises:
        DatasetNotFoundError: the file or folder does not exist.
        DatasetError: the file is damaged or lacks the array.

    Example:
        >>> clinc150_out_of_scope("clinc150/").shape  # doctest: +SKIP
        torch.Size([1200, 384])

    Source:
        Larson et al., 2019, "An evaluation dataset for intent classification and out-of-scope
        prediction" (CC BY 3.0).
    """
    content = _read_file(root, "clinc150", _CLINC150_FILE, ("oos",), _CLINC150_HINT)
    return torch.from_numpy(content["oos"].astype(np.float32))


def cifar_fs_features(root: Root = None, split: str = "test") -> Dataset:
    """Load features of the validation and test images of CIFAR-FS.

    Features are square roots of pooled activations, at least 0.
    They come from a residual network of ten convolutions, trained by classification on the training
    classes of CIFAR-FS alone.

    Args:
        root: the folder of `cifarfs_features.npz`; None takes `$GRAPHFEW_DATA/cifar100`.
        split: val (16 classes) or test (20).

    Returns:
        A data set with `x` `[n, 256]` float32.

    Raises:
        InvalidInputError: an unknown split.
        DatasetNotFoundError: the file or folder does not exist.
        DatasetError: the file is damaged or lacks an array.

    Example:
        >>> cifar_fs_features("cifar100/")  # doctest: +SKIP
        Dataset('cifar-fs-features', split='test', 20 classes, 12000 items of shape [256] float32)

    Source:
        Computed for this library. Images of Krizhevsky, 2009 (no formal license: research use with
        citation), classes of Bertinetto et al., 2019, as in `cifar_fs`.
    """
    CIFAR_FS_FEATURES_SPLITS.check("cifar_fs_features", split)
    names = ("features", "label", "label_name", "split", "split_name")
    content = _read_file(root, "cifar100", _CIFAR_FS_FILE, names, _CIFAR_FS_HINT)
    with _dataset_errors(_CIFAR_FS_FILE, _CIFAR_FS_HINT):
        for key in ("label", "split"):
            _check_index(content, key)
        in_split = content["split_name"][content["split"]] == split
        labels, y = np.unique(content["label"][in_split], return_inverse=True)
        features = content["features"][in_split].astype(np.float32)
        return Dataset(
            name="cifar-fs-features",
            split=split,
            x=torch.from_numpy(np.sqrt(features)),
            y=torch.from_numpy(y.astype(np.int64)),
            classes=tuple(map(str, content["label_name"][labels])),
        )


def _check_index(content: Arrays, key: str) -> None:
    """Check that an array indexes its names; numpy would accept negative numbers."""
    n_names = len(content[f"{key}_name"])
    lowest = content[key].min(initial=0)
    highest = content[key].max(initial=0)
    if lowest < 0 or highest >= n_names:
        numbers = f"up to {highest}" if lowest == 0 else f"from {lowest} to {highest}"
        raise DatasetError(f"there are {n_names} names of a {key} and numbers {numbers}")


def _read_file(root: Root, folder: str, file: str, names: tuple[str, ...], hint: str) -> Arrays:
    path = require_folder(root, folder, hint) / file
    if not path.is_file():
        raise DatasetNotFoundError(f"{path.parent} has no {file}; {hint}")
    try:
        return read_arrays(path, names)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{error}; {hint}") from error


@contextmanager
def _dataset_errors(file: str, hint: str) -> Iterator[None]:
    """Turn what arrays of unexpected shapes and dtypes raise into a DatasetError."""
    try:
        # Roots of negative numbers and overflows become NaN or infinity, which `Dataset` reports.
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
        raise DatasetError(
            f"the arrays of {file} do not fit ({one_line(error)}); {hint}"
        ) from error
