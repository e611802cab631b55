"""Items and labels as people hold them (pandas, Arrow, NumPy, torch, sparse), as the estimator needs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from graphfew.core.episode import UNKNOWN

Array = NDArray[Any]
MARK = "unlabeled"


def table(X: Any) -> Any:
    """Items as scikit-learn's own checks take them; tables keep their column names.

    A torch tensor becomes an array, on any device and of any floating type; a pandas or Arrow column of vectors becomes
    their rows.

    Raises:
        ValueError: a column of vectors of different lengths, or with missing ones.
    """
    if isinstance(X, Tensor):
        return _from_torch(X)
    if _is_arrow(X):
        return _rows(X.to_pylist()) if _is_column(X) else _as_table(X)
    if getattr(X, "ndim", None) == 1 and _is_object(X) and len(X):
        first = next(iter(X))
        return X if isinstance(first, str) or not hasattr(first, "__len__") else _rows(list(X))
    return X


def labels(y: Any) -> Array:
    """Labels as an array; those that are missing are -1 where labels are whole numbers from 0, else None.

    Lists with None stay what they are, and so do NumPy arrays, in which NaN among numbers is an error.
    """
    if isinstance(y, Tensor):
        return _from_torch(y)
    if _is_arrow(y) and _is_column(y):
        return _with_missing(
            y.to_pylist(), np.array([value is None for value in y.to_pylist()], dtype=bool)
        )
    if hasattr(y, "isna") and getattr(y, "ndim", None) == 1:
        return _with_missing(list(y), np.asarray(y.isna(), dtype=bool))
    if isinstance(y, list | tuple) and any(label is None for label in y):
        return _objects(y)
    return np.asarray(y)


def dense(rows: Any) -> Array:
    """Rows as an array, whether they are sparse or not."""
    out: Array = rows.toarray() if sparse.issparse(rows) else rows
    return out


def stacked(first: Any, second: Any) -> Any:
    """Rows one below the other, sparse where the first ones are."""
    if sparse.issparse(first):
        return sparse.vstack([first, sparse.csr_matrix(second)], format="csr")
    return np.concatenate([first, dense(second)])


def check_sparse(X: Any, unlabeled: int, *, transductive: bool) -> None:
    """Raises ValueError where sparse items would have to be made dense all at once."""
    if not sparse.issparse(X) or not (transductive or unlabeled):
        return
    why = (
        "answers its items together"
        if transductive
        else f"looks at {unlabeled} unlabeled items together"
    )
    rows, columns = X.shape
    raise ValueError(
        f"sparse items [{rows}, {columns}] can only be answered each alone, and this classifier {why}, "
        f"which needs them dense: X.toarray() ({rows * columns * 8 / 1e9:.1g} GB), or fewer columns by "
        "sklearn.decomposition.TruncatedSVD; or fit labeled items alone, with transductive=False"
    )


def encode(given: Array, before: Array | None = None) -> tuple[Array, NDArray[np.int64]]:
    """Sorted classes, those before among them, and each item's index in them, -1 where it has no label.

    Raises:
        ValueError: labels that are no classes, or fewer than two classes.
    """
    free = _unlabeled(given) if before is None else _unlabeled_beside(given, before)
    known = given[~free]
    # scikit-learn's own check warns of regression wherever classes have one label each, the usual case here.
    if known.dtype.kind == "f" and (known != np.floor(known)).any():
        raise ValueError(
            "Unknown label type: continuous. Labels are classes; give whole numbers or text"
        )
    values = known if before is None else np.concatenate([before, known])
    classes = np.unique(np.array(values.tolist()) if values.dtype == object else values)
    if values.dtype == object:
        classes = classes.astype(object)
    if len(classes) < 2:
        raise ValueError(
            f"the labels have {len(classes)} class; a classifier needs labeled items of at least two "
            'classes (unlabeled ones are -1, None or "unlabeled")'
        )
    index = np.full(len(given), UNKNOWN, dtype=np.int64)
    index[~free] = np.searchsorted(classes, known.astype(classes.dtype))
    return classes, index


def with_unknown(answers: Array, strange: Array, mark: Any) -> Array:
    """The answers with a mark where they are strange; None is -1 where labels are numbers, else "unknown"."""
    if mark is None:
        mark = -1 if answers.dtype.kind in "biuf" else "unknown"
    kind = (
        np.result_type(answers.dtype, np.asarray(mark).dtype) if answers.dtype != object else object
    )
    out: Array = np.where(strange, np.asarray(mark, dtype=kind), answers.astype(kind))
    return out


def _from_torch(value: Tensor) -> Array:
    held = value.detach().cpu()
    out: Array = (held.float() if held.dtype == torch.bfloat16 else held).numpy()
    return out


def _is_object(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "kind", None) == "O"


def _is_arrow(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pyarrow"


def _as_table(value: Any) -> Any:
    """An Arrow table; of a single batch, scikit-learn does not see the names."""
    import pyarrow

    return pyarrow.Table.from_batches([value]) if isinstance(value, pyarrow.RecordBatch) else value


def _is_column(value: Any) -> bool:
    return not hasattr(value, "column_names") and not hasattr(value, "schema")


def _rows(vectors: list[Any]) -> Array:
    missing = [number for number, vector in enumerate(vectors) if vector is None]
    if missing:
        raise ValueError(f"item {missing[0]} is missing; leave it out, in the labels too")
    found = [np.asarray(vector) for vector in vectors]
    lengths = sorted({vector.shape for vector in found})
    if len(lengths) > 1:
        raise ValueError(
            f"the items have shapes {', '.join(map(str, lengths))}; all vectors need one length"
        )
    return np.stack(found) if found else np.zeros((0, 0))


def _objects(values: Any) -> Array:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _with_missing(values: list[Any], missing: NDArray[np.bool_]) -> Array:
    known = np.array([value for value, gone in zip(values, missing, strict=True) if not gone])
    numbers = known.dtype.kind in "iu" or (
        known.dtype.kind == "f" and bool((known == np.floor(known)).all())
    )
    if not missing.any():
        return known if known.dtype.kind in "iufb" else _objects(values)
    if numbers and len(known) and known.min() >= 0:
        out = np.full(len(values), UNKNOWN, dtype=np.int64)
        out[~missing] = known
        return out
    return _objects([None if gone else value for value, gone in zip(values, missing, strict=True)])


def _unlabeled(given: Array) -> NDArray[np.bool_]:
    if given.dtype.kind in "biuf":
        free: NDArray[np.bool_] = given == UNKNOWN
        return (
            free
            if len(np.unique(given[~free])) > 1 or not free.any()
            else np.zeros(len(given), dtype=bool)
        )
    return np.array([_gone(label) for label in given.tolist()], dtype=bool)


def _gone(label: Any) -> bool:
    # pandas' NA is neither equal to itself nor not.
    return (
        label is None
        or type(label).__name__ == "NAType"
        or bool(label == MARK)
        or bool(label != label)
    )


def _unlabeled_beside(given: Array, before: Array) -> NDArray[np.bool_]:
    """The unlabeled among labels that join those of `before`, where -1 may be a class."""
    if given.dtype.kind in "biuf" and UNKNOWN in before.tolist():
        return np.zeros(len(given), dtype=bool)
    return given == UNKNOWN if given.dtype.kind in "biuf" else _unlabeled(given)
