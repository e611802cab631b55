"""`NodeLayout`: indices of supports, queries and class nodes that depend on labels only."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew._utils.cached_property import cached_property
from graphfew.ops.centering import common_size
from graphfew.ops.ragged import ragged_product
from graphfew.ops.tracing import is_eager

# Larger batches take longer to compute than to index, and would fill the memory.
MAX_CACHED_NODES = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class NodeLayout:
    """Positions of supports, queries and class nodes in a batch of tasks.

    Everything is computed when it is first read. Episodes that differ only in their features share
    one layout, so that no layer of a method computes an index again.

    Attributes:
        y: `[N]` int64, class index inside the node's task, or -1 if unknown.
        query: `[N]` bool, True for queries.
        sizes: number of nodes of each task.
        way: number of classes of each task.
        n_queries: number of queries of each task.
        n_unlabeled: number of unlabeled nodes of each task.

    Example:
        >>> import torch
        >>> from graphfew.core.node_layout import NodeLayout
        >>> y = torch.tensor([1, -1, 0])
        >>> layout = NodeLayout(y, y < 0, (3,), (2,), (1,), (0,))
        >>> layout.support_nodes.tolist(), layout.query_nodes.tolist()
        ([0, 2], [1])
    """

    y: Int[Tensor, " N"]
    query: Bool[Tensor, " N"]
    sizes: tuple[int, ...]
    way: tuple[int, ...]
    n_queries: tuple[int, ...]
    n_unlabeled: tuple[int, ...]

    @cached_property
    def task(self) -> Int[Tensor, " N"]:
        """`[N]` int64, the index of the task of each node."""
        return task_index(self.sizes, self.y.device)

    @cached_property
    def labeled(self) -> Bool[Tensor, " N"]:
        """`[N]` bool, True for labeled supports."""
        return self.y >= 0

    @cached_property
    def support_nodes(self) -> Int[Tensor, " S"]:
        """`[S]` int64, the labeled supports in node order."""
        return torch.nonzero(self.labeled).flatten()

    @cached_property
    def query_nodes(self) -> Int[Tensor, " Q"]:
        """`[Q]` int64, the queries in node order."""
        return torch.nonzero(self.query).flatten()

    @cached_property
    def common_size(self) -> int | None:
        """Number of nodes of every task; None if it differs."""
        return common_size(self.sizes)

    @cached_property
    def common_way(self) -> int | None:
        """Number of classes of every task; None if it differs."""
        return common_size(self.way)

    @cached_property
    def shape(self) -> tuple[int, int, int, int] | None:
        """Nodes, classes, queries and unlabeled nodes of every task; None if tasks differ."""
        shapes = set(zip(self.sizes, self.way, self.n_queries, self.n_unlabeled, strict=True))
        return shapes.pop() if len(shapes) == 1 else None

    @cached_property
    def supports_first(self) -> bool:
        """Whether the nodes of each task are supports, then queries, in tasks of one `shape`."""
        if any(self.n_unlabeled):
            return False
        # NumPy has less overhead than torch on arrays of a few hundred numbers.
        query = self.query.cpu().numpy().reshape(-1, self.sizes[0])
        return not query[:, : self.sizes[0] - self.n_queries[0]].any()

    def support_one_hot(self, dtype: torch.dtype) -> Float[Tensor, "G S way"]:
        """Return the one-hot labels of the supports, `[G, S, way]`, in tasks of one `shape`."""
        return self._cast("supports", self._support_one_hot, dtype)

    def one_hot(self, dtype: torch.dtype) -> Float[Tensor, "N way"]:
        """Return the one-hot labels, `[N, max(way)]`; rows of unknown labels are zero."""
        return self._cast("nodes", self._one_hot, dtype)

    def class_weights(self, dtype: torch.dtype) -> Float[Tensor, "G way S"]:
        """Return the weight of each support in the mean of its class, in tasks of one `shape`."""
        return self._cast("weights", self._class_weights, dtype)

    def _cast(self, name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
        cast = self._casts.get((name, dtype))
        if cast is None:
            cast = self._casts[name, dtype] = value.to(dtype)
        return cast

    @cached_property
    def _casts(self) -> dict[tuple[str, torch.dtype], Tensor]:
        return {}

    @cached_property
    def _support_one_hot(self) -> Tensor:
        if self.supports_first:
            label = self.y.view(-1, self.sizes[0])[:, : self.sizes[0] - self.n_queries[0]]
        else:
            label = self.y.index_select(0, self.support_nodes).view(len(self.sizes), -1)
        return label[..., None] == torch.arange(self.way[0], device=label.device)

    @cached_property
    def _one_hot(self) -> Tensor:
        classes = torch.arange(max(self.way), device=self.y.device)
        return self.y[:, None] == classes

    @cached_property
    def _class_weights(self) -> Tensor:
        # In float64, since 1/3 in float32 would be too imprecise for features in float64.
        one_hot = self.support_one_hot(torch.float64)
        return (one_hot / one_hot.sum(1, keepdim=True)).mT.contiguous()

    @cached_property
    def n_classes(self) -> int:
        """Number of class nodes, the sum of `way`."""
        return sum(self.way)

    @cached_property
    def n_query_edges(self) -> int:
        """Number of edges from class nodes to queries in `class_node_index`."""
        return sum(map(operator.mul, self.n_queries, self.way))

    @cached_property
    def n_class_node_edges(self) -> int:
        """Number of edges in `class_node_index`."""
        n_others = sum(self.n_queries) + sum(self.n_unlabeled)
        return self.n_query_edges + sum(self.sizes) - n_others

    @cached_property
    def support_class(self) -> Int[Tensor, " S"]:
        """`[S]` int64, the class of each support, numbered over all tasks from 0."""
        label = self.y.index_select(0, self.support_nodes)
        if len(self.sizes) == 1:
            return label
        way = torch.tensor(self.way, device=label.device)
        first_class = way.cumsum(0) - way
        return first_class[self.task[self.support_nodes]] + label

    @cached_property
    def supports_by_class(self) -> Int[Tensor, " S"]:
        """`[S]` int64, the supports sorted by task and class."""
        order = torch.argsort(self.support_class, stable=True)
        return self.support_nodes.index_select(0, order)

    @cached_property
    def sorted_class(self) -> Int[Tensor, " S"]:
        """`[S]` int64, the class of each of `supports_by_class`, numbered over all tasks."""
        return torch.sort(self.support_class).values

    @cached_property
    def shots(self) -> Int[Tensor, " M"]:
        """`[M]` int64, the number of supports of each class of each task."""
        return torch.bincount(self.support_class, minlength=self.n_classes)

    @cached_property
    def class_ptr(self) -> Int[Tensor, " M1"]:
        """`[M + 1]` int64; class `c` has the rows `ptr[c] .. ptr[c+1]` of `supports_by_class`."""
        return F.pad(self.shots.cumsum(0), (1, 0))

    @cached_property
    def class_node_index(self) -> tuple[Int[Tensor, " E"], Int[Tensor, " E"]]:
        """Senders and receivers of `class_node_graph`, `[E]` int64 each, by receiver.

        Edges to queries come first, since class nodes have the largest numbers.
        """
        n_items, device = len(self.y), self.y.device
        n_queries = torch.tensor(self.n_queries, device=device)
        way = torch.tensor(self.way, device=device)
        query_rank, class_rank = ragged_product(n_queries, way)
        senders = torch.cat([n_items + class_rank, self.supports_by_class])
        receivers = torch.cat([self.query_nodes[query_rank], n_items + self.sorted_class])
        return senders, receivers

    @cached_property
    def class_node_cells(self) -> Int[Tensor, " E"]:
        """`[E]` int64, the cell of each edge in a table `[N, way]` of items and classes.

        Only for tasks of one way.
        """
        way = self.way[0]
        classes = torch.arange(way, device=self.y.device)
        into_queries = self.query_nodes[:, None] * way + classes
        supports = self.supports_by_class
        into_classes = supports * way + self.y.index_select(0, supports)
        return torch.cat([into_queries.flatten(), into_classes])


def node_layout(
    y: Int[Tensor, " N"],
    query: Bool[Tensor, " N"],
    sizes: tuple[int, ...],
    way: tuple[int, ...],
    n_queries: tuple[int, ...],
    n_unlabeled: tuple[int, ...],
) -> NodeLayout:
    """Return the layout of tasks.

    The tasks of an evaluation usually have the same labels in the same order. Layouts of the last
    few small batches are therefore kept, together with what was computed of them.

    Args:
        y: see `NodeLayout`.
        query: see `NodeLayout`.
        sizes: see `NodeLayout`.
        way: see `NodeLayout`.
        n_queries: see `NodeLayout`.
        n_unlabeled: see `NodeLayout`.

    Returns:
        The layout; its tensors must not be changed.
    """
    if y.shape[0] > MAX_CACHED_NODES or not is_eager(y):
        return NodeLayout(y, query, sizes, way, n_queries, n_unlabeled)
    label, is_query = y.numpy().tobytes(), query.numpy().tobytes()
    counts = (n_queries, n_unlabeled)
    # Tensors of inference mode cannot be used in training.
    return _cached_layout(label, is_query, sizes, way, counts, torch.is_inference_mode_enabled())


@functools.lru_cache(maxsize=16)
def _cached_layout(
    label: bytes,
    is_query: bytes,
    sizes: tuple[int, ...],
    way: tuple[int, ...],
    counts: tuple[tuple[int, ...], tuple[int, ...]],
    is_inference: bool,
) -> NodeLayout:
    del is_inference
    # From copies, because the caller may change its tensors.
    y = torch.frombuffer(bytearray(label), dtype=torch.int64)
    query = torch.frombuffer(bytearray(is_query), dtype=torch.bool)
    return NodeLayout(y, query, sizes, way, *counts)


def task_index(sizes: Sequence[int], device: torch.device) -> Int[Tensor, " N"]:
    """Return the task of each node, `[sum(sizes)]` int64."""
    counts = torch.tensor(sizes, dtype=torch.int64, device=device)
    # With output_size given, a GPU need not synchronize to learn the length of the result.
    return torch.repeat_interleave(counts, output_size=sum(sizes))
