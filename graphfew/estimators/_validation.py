"""Input validation of the classifier: items and labels of pandas, Arrow, NumPy, torch, SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from graphfew._utils.data_warning import warn_data
from graphfew.data.label_marks import show_mark
from graphfew.data.label_values import LabelValues, is_arrow, is_arrow_column, tensor_to_array
from graphfew.data.labels import class_indices, resolve_labels
from graphfew.errors import InvalidInputError

Array = NDArray[Any]


def as_items(X: Any) -> Any:
    """Convert items to what scikit-learn's own checks accept; tables keep their column names.

    Torch tensors become arrays, on any device and of any floating type; a pandas or Arrow column of
    vectors becomes a matrix. Raises InvalidInputError if the vectors of a column have different
    lengths, or if one is missing.
    """
    if isinstance(X, Tensor):
        return tensor_to_array(X)
    if is_arrow(X):
        if is_arrow_column(X):
            return _stack_vectors(X.to_pylist())
        return _as_arrow_table(X)
    if getattr(X, "ndim", None) == 1 and _is_object(X) and len(X):
        first = next(iter(X))
        is_vector = hasattr(first, "__len__") and not isinstance(first, str)
        return _stack_vectors(list(X)) if is_vector else X
    return X


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
    """The dtype of models for these items: float32 for items of 16 or 32 bits, otherwise float64."""
    return torch.float32 if items.dtype in (np.float16, np.float32) else torch.float64


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
    labels: LabelValues, unlabeled_marks: Any = None, previous_classes: Array | None = None
) -> tuple[Array, NDArray[np.int64]]:
    """Compute the sorted classes, including the previous ones, and the class index of each label.

    The index is -1 for unlabeled items. Warns of ambiguous labels. Raises InvalidInputError for
    labels that are not classes and for fewer than two classes.
    """
    previous = () if previous_classes is None else previous_classes.tolist()
    resolved = resolve_labels(labels, unlabeled_marks, previous_classes=previous)
    known = resolved.values[~resolved.is_unknown]
    # Not scikit-learn's check: it warns about regression if many classes have one label each, which
    # is the usual case here.
    if _has_fractions(known):
        raise InvalidInputError(
            "Unknown label type: continuous. Labels are classes; give integers or strings"
        )
    classes, class_index = class_indices(resolved, previous_classes)
    if len(classes) < 2:
        noun = "class" if len(classes) == 1 else "classes"
        marks = ", ".join(map(show_mark, resolved.marks)) or 'such as -1, None or "unlabeled"'
        raise InvalidInputError(
            f"the labels have {len(classes)} {noun}; a classifier needs labeled items of at least "
            f"two classes (marks of unlabeled items: {marks}; set them by unlabeled_marks)"
        )
    warn_data(resolved.notes)
    return classes, class_index


def _has_fractions(labels: Array) -> bool:
    if labels.dtype == object:
        return any(isinstance(label, float) and not label.is_integer() for label in labels)
    return labels.dtype.kind == "f" and bool((labels != np.floor(labels)).any())


def check_class_sizes(classes: Array, class_index: Array) -> None:
    """Raise InvalidInputError if a class has no item."""
    class_sizes = np.bincount(class_index[class_index >= 0], minlength=len(classes))
    if not class_sizes.all():
        label = classes.tolist()[int(class_sizes.argmin())]
        raise InvalidInputError(
            f"class {label!r} has no item left after these corrections; give one, or call `fit` "
            "with all items"
        )


def warn_contradictions(n_items: int) -> None:
    """Warn of items that equal an earlier one with another given label."""
    if n_items:
        noun = "item equals" if n_items == 1 else "items equal"
        warn_data(
            [
                f"{n_items} {noun} an earlier one with another given label, and both labels are "
                "used; to replace the earlier label, call `fit` with all items"
            ]
        )


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


def _is_object(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "kind", None) == "O"


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
