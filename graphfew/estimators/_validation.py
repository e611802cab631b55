"""Input validation of the classifier: items and labels from pandas, Arrow, NumPy, torch, SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from graphfew.core.episode import UNKNOWN
from graphfew.errors import InvalidInputError

Array = NDArray[Any]
# Labels that mark an item as unlabeled, in both spellings.
UNLABELED_MARKS = ("unlabeled", "unlabelled")


def as_items(X: Any) -> Any:
    """Convert items to what scikit-learn's own checks accept; tables keep their column names.

    Torch tensors become arrays, on any device and of any floating type; a pandas or Arrow column of
    vectors becomes a matrix. Raises InvalidInputError if the vectors of a column have different
    lengths, or if one is missing.
    """
    if isinstance(X, Tensor):
        return _from_torch(X)
    if _is_arrow(X):
        if _is_arrow_column(X):
            return _stack_vectors(X.to_pylist())
        return _as_arrow_table(X)
    if getattr(X, "ndim", None) == 1 and _is_object(X) and len(X):
        first = next(iter(X))
        is_vector = hasattr(first, "__len__") and not isinstance(first, str)
        return _stack_vectors(list(X)) if is_vector else X
    return X


def as_labels(y: Any) -> Array:
    """Convert labels to an array.

    Missing labels of pandas and Arrow become -1 if all others are integers from 0, otherwise None.
    Lists with None become arrays of objects. NumPy arrays are returned unchanged: NaN among numbers
    is an error later.
    """
    if isinstance(y, Tensor):
        return _from_torch(y)
    if _is_arrow(y) and _is_arrow_column(y):
        values = y.to_pylist()
        return _fill_missing(values, np.array([value is None for value in values], dtype=bool))
    if hasattr(y, "isna") and getattr(y, "ndim", None) == 1:
        return _fill_missing(list(y), np.asarray(y.isna(), dtype=bool))
    if isinstance(y, list | tuple) and any(label is None for label in y):
        return _object_array(y)
    return np.asarray(y)


def to_dense(rows: Any) -> Array:
    """Convert rows to an array if they are sparse."""
    dense: Array = rows.toarray() if sparse.issparse(rows) else rows
    return dense


def vstack(first: Any, second: Any) -> Any:
    """Concatenate rows, sparse if the first ones are."""
    if sparse.issparse(first):
        return sparse.vstack([first, sparse.csr_matrix(second)], format="csr")
    return np.concatenate([first, to_dense(second)])


def float_dtype(items: Any) -> torch.dtype:
    """The dtype of models for these items: float32 for float32 items, otherwise float64."""
    return torch.float32 if items.dtype == np.float32 else torch.float64


def check_sparse(X: Any, n_unlabeled: int, *, transductive: bool) -> None:
    """Raise InvalidInputError if all sparse items would have to be dense at the same time."""
    if not sparse.issparse(X) or not (transductive or n_unlabeled):
        return
    if transductive:
        reason = "predicts its items together"
    else:
        reason = f"uses {n_unlabeled} unlabeled items together"
    rows, columns = X.shape
    raise InvalidInputError(
        f"sparse items [{rows}, {columns}] can only be predicted one by one, but this classifier "
        f"{reason}, so it needs dense items: X.toarray() ({rows * columns * 8 / 1e9:.1g} GB), or "
        "fewer columns from sklearn.decomposition.TruncatedSVD; or fit labeled items only, with "
        "transductive=False"
    )


def encode_labels(
    labels: Array, previous_classes: Array | None = None
) -> tuple[Array, NDArray[np.int64]]:
    """Compute the sorted classes, including the previous ones, and the class index of each label.

    The index is -1 for unlabeled items. Raises InvalidInputError for labels that are not classes
    and for fewer than two classes.
    """
    if previous_classes is None:
        unlabeled = _is_unlabeled(labels)
    else:
        unlabeled = _is_unlabeled_given(labels, previous_classes)
    known = labels[~unlabeled]
    # Not scikit-learn's check: it warns about regression if many classes have one label each, which
    # is the usual case here.
    if known.dtype.kind == "f" and (known != np.floor(known)).any():
        raise InvalidInputError(
            "Unknown label type: continuous. Labels are classes; give integers or strings"
        )
    values = known if previous_classes is None else np.concatenate([previous_classes, known])
    if values.dtype == object:
        # np.unique cannot sort objects of mixed types; the typed array fails with a clear message.
        classes = np.unique(np.array(values.tolist())).astype(object)
    else:
        classes = np.unique(values)
    if len(classes) < 2:
        raise InvalidInputError(
            f"the labels have {len(classes)} class; a classifier needs labeled items of at least two "
            'classes (mark unlabeled items by -1, None or "unlabeled")'
        )
    class_index = np.full(len(labels), UNKNOWN, dtype=np.int64)
    # Every known label is among the sorted classes, so the insertion point is its index.
    class_index[~unlabeled] = np.searchsorted(classes, known.astype(classes.dtype))
    return classes, class_index


def mark_unknown(labels: Array, is_unknown: Array, unknown_label: Any) -> Array:
    """Replace the labels of unknown items; the default is -1 for numbers, otherwise "unknown"."""
    if unknown_label is None:
        unknown_label = -1 if labels.dtype.kind in "biuf" else "unknown"
    dtype: Any = object
    if labels.dtype != object:
        # A common dtype first: NumPy would cut "unknown" to the width of the class names.
        dtype = np.result_type(labels.dtype, np.asarray(unknown_label).dtype)
    marked: Array = np.where(
        is_unknown, np.asarray(unknown_label, dtype=dtype), labels.astype(dtype)
    )
    return marked


def _from_torch(value: Tensor) -> Array:
    value = value.detach().cpu()
    if value.dtype == torch.bfloat16:
        value = value.float()  # NumPy has no bfloat16
    array: Array = value.numpy()
    return array


def _is_object(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "kind", None) == "O"


def _is_arrow(value: Any) -> bool:
    # By module name: pyarrow is an optional dependency.
    return type(value).__module__.partition(".")[0] == "pyarrow"


def _is_arrow_column(value: Any) -> bool:
    return not hasattr(value, "column_names") and not hasattr(value, "schema")


def _as_arrow_table(value: Any) -> Any:
    """An Arrow table: scikit-learn ignores the column names of a single record batch."""
    import pyarrow

    if isinstance(value, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([value])
    return value


def _stack_vectors(vectors: list[Any]) -> Array:
    for index, vector in enumerate(vectors):
        if vector is None:
            raise InvalidInputError(f"item {index} is missing; remove it from items and labels")
    arrays = [np.asarray(vector) for vector in vectors]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise InvalidInputError(
            f"the items have shapes {', '.join(map(str, shapes))}; all vectors need the same length"
        )
    return np.stack(arrays) if arrays else np.zeros((0, 0))


def _object_array(values: Any) -> Array:
    # Filled, not converted: np.array would make a matrix of sequences of equal length.
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _fill_missing(values: list[Any], missing: NDArray[np.bool_]) -> Array:
    present = [value for value, is_missing in zip(values, missing, strict=True) if not is_missing]
    known = np.array(present)
    if not missing.any():
        return known if known.dtype.kind in "iufb" else _object_array(values)
    # pandas stores integers with missing values as floats.
    is_integer = known.dtype.kind in "iu"
    if known.dtype.kind == "f":
        is_integer = bool((known == np.floor(known)).all())
    if is_integer and len(known) and known.min() >= 0:
        labels = np.full(len(values), UNKNOWN, dtype=np.int64)
        labels[~missing] = known
        return labels
    filled = _object_array(values)
    filled[missing] = None
    return filled


def _is_unlabeled(labels: Array) -> NDArray[np.bool_]:
    if labels.dtype.kind not in "biuf":
        return np.array([_is_unlabeled_mark(label) for label in labels.tolist()], dtype=bool)
    unlabeled: NDArray[np.bool_] = labels == UNKNOWN
    # With one other class, -1 is a class: labels -1 and 1 are a binary problem.
    if unlabeled.any() and len(np.unique(labels[~unlabeled])) < 2:
        return np.zeros(len(labels), dtype=bool)
    return unlabeled


def _is_unlabeled_mark(label: Any) -> bool:
    if label is None or type(label).__name__ == "NAType":
        # pandas' NA has its own type: comparing it yields NA, which has no truth value.
        return True
    is_nan = bool(label != label)
    return is_nan or (isinstance(label, str) and label in UNLABELED_MARKS)


def _is_unlabeled_given(labels: Array, previous_classes: Array) -> NDArray[np.bool_]:
    """The unlabeled ones among further labels; -1 is a class if it was one before."""
    if labels.dtype.kind not in "biuf":
        return _is_unlabeled(labels)
    if UNKNOWN in previous_classes.tolist():
        return np.zeros(len(labels), dtype=bool)
    unlabeled: NDArray[np.bool_] = labels == UNKNOWN
    return unlabeled
