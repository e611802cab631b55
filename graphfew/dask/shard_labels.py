"""The few labeled items among those of all shards."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from graphfew.dask.parquet_partitions import Array
from graphfew.errors import InvalidInputError


@dataclasses.dataclass(frozen=True, eq=False)
class ShardLabels:
    """The labeled items among those of all blocks; there are few, so every process has them all.

    Attributes:
        rows: `[m]` the items, ascending, which count through all blocks.
        values: `[m, C]` their rows of the label matrix, such as one-hot rows.

    Example:
        >>> labels = one_hot_labels(np.array([7, 3]), np.array([0, 1]), 2)
        >>> labels.rows.tolist(), labels.values.tolist()
        ([3, 7], [[0.0, 1.0], [1.0, 0.0]])
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float32]

    @property
    def n_classes(self) -> int:
        """Number of columns."""
        return int(self.values.shape[1])

    def block(self, offset: int, size: int, columns: slice) -> Array:
        """The label matrix `[size, C']` of the rows from `offset` on."""
        start, end = np.searchsorted(self.rows, [offset, offset + size])
        values = self.values[start:end, columns]
        out = np.zeros((size, values.shape[1]), dtype=self.values.dtype)
        out[self.rows[start:end] - offset] = values
        return out

    def is_labeled(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether items `[n]` have a label."""
        position = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        out: NDArray[np.bool_] = self.rows[position] == rows
        return out


def one_hot_labels(
    rows: NDArray[np.int64],
    class_index: NDArray[np.int64],
    n_classes: int,
    *,
    class_balanced: bool = False,
) -> ShardLabels:
    """Return labels as one-hot rows.

    Args:
        rows: `[m]` the labeled items.
        class_index: `[m]` their classes.
        n_classes: number of classes.
        class_balanced: divide each column by its sum, so that all classes have the same weight.

    Returns:
        The labels.

    Raises:
        InvalidInputError: there are no labels, or an item has two.

    Example:
        >>> import numpy as np
        >>> from graphfew.dask.shard_labels import one_hot_labels
        >>> one_hot_labels(np.array([7, 2]), np.array([1, 0]), n_classes=2).values
        array([[1., 0.],
               [0., 1.]], dtype=float32)
    """
    if not len(rows) or len(np.unique(rows)) < len(rows):
        raise InvalidInputError(
            f"{len(rows)} labels of {len(np.unique(rows))} items; give at least one item, and each "
            "item one label"
        )
    order = np.argsort(rows)
    values = np.eye(n_classes, dtype=np.float32)[class_index[order]]
    if class_balanced:
        values = values / values.sum(0).clip(min=1)
    return ShardLabels(rows[order].astype(np.int64), values)
