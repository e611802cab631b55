"""`Topology`: the edges of a graph, and every sum over them."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graphfew._utils.cached_property import cached_property
from graphfew.core.node_layout import NodeLayout
from graphfew.errors import InvalidInputError
from graphfew.ops import batched, circulant, ragged
from graphfew.ops.chunking import (
    EdgeFunction,
    apply_to_distinct_pairs,
    check_chunk_size,
    map_chunks,
)

TINY = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Topology:
    """Senders and receivers of the edges of a batch of tasks, sorted by receiver (CSR).

    This is the only class that distinguishes tasks of equal size, which reshapes and batched
    matrix products serve, from tasks of mixed size, which need segment kernels. Build one with
    `complete_graph`, `from_edges`, `class_node_graph` or `support_to_query_graph`.

    Attributes:
        num_nodes: number of nodes N.
        device: device of the index tensors.
        sizes: nodes of each task if every task is a complete graph with self-loops, else None.
        edge_index: `(senders, receivers)`, each `[E]` int64 with ascending receivers; None if
            `sizes` or `class_layout` is given.
        items_per_task: number of items of each task, if it is the same for all tasks and no edge
            leaves its task; None if unknown.
        classes_per_task: number of class nodes of each task, if they follow all items and every
            edge connects an item and a class node; 0 otherwise.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> topology = gf.complete_graph([2, 3])
        >>> edges = torch.ones(len(topology.senders), 1)
        >>> topology.sum(edges).flatten().tolist()
        [2.0, 2.0, 3.0, 3.0, 3.0]
    """

    num_nodes: int
    device: torch.device
    sizes: tuple[int, ...] | None = None
    edge_index: tuple[Tensor, Tensor] | None = None
    items_per_task: int | None = None
    classes_per_task: int = 0
    class_layout: NodeLayout | None = None

    @cached_property
    def task_size(self) -> int | None:
        """Number of nodes of every task, if all are complete graphs of one size; else None."""
        if self.sizes and len(set(self.sizes)) == 1:
            return self.sizes[0]
        return None

    @property
    def num_edges(self) -> int:
        """Number of edges E, without computing their index."""
        if self.sizes is not None:
            return sum(n * n for n in self.sizes)
        if self.class_layout is not None:
            return self.class_layout.n_class_node_edges
        return len(self.receivers)

    @property
    def senders(self) -> Int[Tensor, " E"]:
        """`[E]` int64, the source node of each edge."""
        return self._edge_index[0]

    @property
    def receivers(self) -> Int[Tensor, " E"]:
        """`[E]` int64, the target node of each edge, ascending."""
        return self._edge_index[1]

    @cached_property
    def ptr(self) -> Int[Tensor, " N1"]:
        """`[N + 1]` int64; the edges of receiver `i` are `ptr[i] .. ptr[i+1]`."""
        counts = torch.bincount(self.receivers, minlength=self.num_nodes)
        ends = counts.cumsum(0)
        return torch.cat([counts.new_zeros(1), ends])

    @cached_property
    def is_self_loop(self) -> Bool[Tensor, " E"]:
        """`[E]` bool, True for edges from a node to itself."""
        return self.senders == self.receivers

    def apply_pairs(
        self,
        fn: EdgeFunction,
        x: Tensor,
        *,
        self_loop_value: float | None = None,
        chunk_size: int | None = None,
        origin: Int[Tensor, " N"] | None = None,
    ) -> Float[Tensor, "E C"]:
        """Compute edges from a symmetric function, once per unordered pair of distinct nodes.

        Args:
            fn: `([P, F], [P, F]) -> [P, C]` with `fn(a, b) == fn(b, a)`. Use `apply_edges` for
                functions that are not symmetric.
            x: node features, `[N, F]`.
            self_loop_value: value of the self-loops; None computes it with `fn`.
            chunk_size: maximum number of pairs per call of `fn`; its rows must not depend on each
                other. It then gets `[..., F]` tensors that broadcast against each other, and
                returns `[..., C]` or `[P, C]`. None passes all pairs at once.
            origin: `[N]` int64; nodes with the same number have the same features, so that `fn`
                runs once for all pairs of the same two numbers. None if all nodes may differ.

        Returns:
            Edges, `[E, C]`.

        Raises:
            InvalidInputError: the topology is not complete, or `chunk_size` is below 1.
        """
        check_chunk_size(chunk_size)
        values = self._pair_values(fn, x, chunk_size, origin)
        # Methods that mask self-loops give a value here, which saves N of the rows.
        if self_loop_value is not None:
            return self.pairs_to_edges(values, self_loop_value=self_loop_value)
        edges = self.pairs_to_edges(values, self_loop_value=0.0)
        chunks = torch.split(x, chunk_size or len(x))
        self_loops = map_chunks(lambda rows: fn(rows, rows), chunks, len(x))
        loop_edges = torch.nonzero(self.is_self_loop).flatten()
        return edges.index_copy(0, loop_edges, self_loops)

    def pair_differences(self, x: Float[Tensor, "N F"]) -> Float[Tensor, "P F"]:
        """Compute `|x_i - x_j|` of each unordered pair of distinct nodes.

        Args:
            x: node features, `[N, F]`.

        Returns:
            `[P, F]`, in the order of `pair_nodes`.

        Raises:
            InvalidInputError: the topology is not complete.
        """
        if self.task_size is not None:
            return circulant.differences(x, self.task_size)
        one, other = self.pair_nodes()
        difference = x.index_select(0, one) - x.index_select(0, other)
        return difference.abs()

    def pairs_to_edges(
        self, values: Float[Tensor, "P C"], *, self_loop_value: float
    ) -> Float[Tensor, "E C"]:
        """Copy the value of each unordered pair to its two edges.

        Args:
            values: one row per pair, `[P, C]`, in the order of `pair_nodes`.
            self_loop_value: value of the self-loops.

        Returns:
            Edges, `[E, C]`.

        Raises:
            InvalidInputError: the topology is not complete.
        """
        one_way, other_way = self._pair_edges
        n_edges, n_channels = len(self.receivers), values.shape[1]
        edges = values.new_full((n_edges, n_channels), self_loop_value)
        # Both copies are out of place; their gradients add up, since one row of `values` feeds two
        # edges.
        edges = edges.index_copy(0, one_way, values)
        return edges.index_copy(0, other_way, values)

    def pair_nodes(self) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
        """Return the two nodes of each unordered pair of distinct nodes.

        Returns:
            Two `[P]` int64 tensors.

        Raises:
            InvalidInputError: the topology is not complete.
        """
        one_way, _ = self._pair_edges
        return self.receivers[one_way], self.senders[one_way]

    def apply_edges(
        self, fn: EdgeFunction, x: Tensor, *, chunk_size: int | None = None
    ) -> Float[Tensor, "E C"]:
        """Compute edges from any function of their two nodes.

        Args:
            fn: `(receivers [E, F], senders [E, F]) -> [E, C]`.
            x: node features, `[N, F]`.
            chunk_size: maximum number of edges per call of `fn`; its rows must not depend on each
                other. None passes all edges at once.

        Returns:
            Edges, `[E, C]`.

        Raises:
            InvalidInputError: `chunk_size` is below 1.
        """
        check_chunk_size(chunk_size)
        n_edges = len(self.receivers)
        if chunk_size is None or n_edges <= chunk_size:
            receiver_features = x.index_select(0, self.receivers)
            sender_features = x.index_select(0, self.senders)
            return fn(receiver_features, sender_features)
        edges = torch.arange(n_edges, device=x.device)
        return self._apply_chunked(fn, x, edges, chunk_size)

    def inner_products(self, x: Float[Tensor, "N F"]) -> Float[Tensor, "E 1"]:
        """Compute the inner product of the two nodes of each edge.

        Args:
            x: node features, `[N, F]`.

        Returns:
            Edges, `[E, 1]`.
        """
        if self.has_class_table:
            items, classes = self.split_nodes(x)
            return self.table_edges(torch.bmm(items, classes.mT))
        n_items = self.items_per_task
        if n_items is None:
            n_items = self.task_size
        # In tasks of equal size one matrix product per task holds all inner products.
        if n_items is None:
            return self.apply_edges(lambda a, b: (a * b).sum(1, keepdim=True), x)
        return batched.inner_products(x, n_items, self.receivers, self.senders)

    @property
    def has_class_table(self) -> bool:
        """Whether every edge is a cell of one table of items and class nodes per task."""
        return self.items_per_task is not None and self.classes_per_task > 0

    def split_nodes(
        self, x: Float[Tensor, "N F"]
    ) -> tuple[Float[Tensor, "G n F"], Float[Tensor, "G way F"]]:
        """View the nodes as items and class nodes of each task, if `has_class_table`.

        Args:
            x: node features, `[N, F]`.

        Returns:
            `[G, n, F]` and `[G, way, F]`.
        """
        assert self.items_per_task is not None
        nodes_per_task = self.items_per_task + self.classes_per_task
        n_items = len(x) // nodes_per_task * self.items_per_task
        items = x[:n_items].view(-1, self.items_per_task, x.shape[1])
        return items, x[n_items:].view(-1, self.classes_per_task, x.shape[1])

    def table_edges(self, table: Float[Tensor, "G n way"]) -> Float[Tensor, "E 1"]:
        """Read the edges from a table of items and class nodes, if `has_class_table`.

        Args:
            table: one value per item and class node of each task, `[G, n, way]`.

        Returns:
            Edges, `[E, 1]`.
        """
        return table.reshape(-1).index_select(0, self._class_cells)[:, None]

    def slice_receivers(self, start: int) -> Topology:
        """Keep the edges into the nodes `start ..`, which become the receivers `0 ..`.

        Senders keep their numbers: `propagate` still takes all nodes, and returns the values of
        the last ones.

        Args:
            start: first node to keep as a receiver.

        Returns:
            A topology of `num_nodes - start` receivers.
        """
        # Edges are sorted by receiver, so those of the last nodes are a slice.
        first_edge = int(self.ptr[start])
        senders = self.senders[first_edge:]
        receivers = self.receivers[first_edge:] - start
        return Topology(self.num_nodes - start, self.device, edge_index=(senders, receivers))

    def select_receivers(self, mask: Bool[Tensor, " N"]) -> tuple[Topology, Int[Tensor, " E2"]]:
        """Keep the edges into marked nodes.

        Args:
            mask: `[N]` bool, True for nodes to keep as receivers.

        Returns:
            A topology over the same nodes, and the indices `[E2]` of its edges in this one.
        """
        # `nonzero` is ascending, so the remaining edges stay sorted by receiver.
        edges = torch.nonzero(mask[self.receivers]).flatten()
        edge_index = (self.senders[edges], self.receivers[edges])
        return Topology(self.num_nodes, self.device, edge_index=edge_index), edges

    def sum(self, edges: Float[Tensor, "E C"]) -> Float[Tensor, "N C"]:
        """Sum the incoming edges of each node.

        Args:
            edges: `[E, C]`.

        Returns:
            `[N, C]`.
        """
        if self.task_size is not None:
            return batched.sum_edges(edges, self.task_size)
        return ragged.sum_edges(edges, self.ptr, self.receivers)

    def broadcast(self, values: Float[Tensor, "N C"]) -> Float[Tensor, "E C"]:
        """Copy the value of each node to its incoming edges; the transpose of `sum`.

        Args:
            values: `[N, C]`.

        Returns:
            `[E, C]`.
        """
        if self.task_size is not None:
            return batched.broadcast(values, self.task_size)
        return values.index_select(0, self.receivers)

    def softmax(self, edges: Float[Tensor, "E C"]) -> Float[Tensor, "E C"]:
        """Compute the softmax over the incoming edges of each node, per channel.

        Args:
            edges: `[E, C]`.

        Returns:
            `[E, C]`.
        """
        if self.task_size is not None:
            return batched.softmax(edges, self.task_size)
        return ragged.softmax(edges, self.ptr, self.receivers)

    def normalize(self, edges: Float[Tensor, "E C"]) -> Float[Tensor, "E C"]:
        """Divide edges by the sum of the absolute values of all incoming edges of their receiver.

        Args:
            edges: `[E, C]`.

        Returns:
            `[E, C]`; nodes whose incoming edges are all zero keep zeros.
        """
        # The bound turns 0 / 0 into 0, also in the gradient.
        total = self.sum(edges.abs()).clamp_min(TINY)
        return edges / self.broadcast(total)

    def propagate(
        self, weights: Float[Tensor, "E C"], x: Float[Tensor, "M F"]
    ) -> Float[Tensor, "N CF"]:
        """Aggregate the features of the senders, weighted by each channel of the edges.

        Formula:
            `out_i = Σ_j weights_ij x_j` for each channel, concatenated.

        Args:
            weights: edges, `[E, C]`.
            x: features of every sender, `[M, F]`; M is N except after `slice_receivers`.

        Returns:
            `[N, C * F]`, channel-major.
        """
        if self.task_size is not None:
            return batched.propagate(weights, x, self.task_size)
        # With one channel, a small dense matrix per task beats segment sums over the edges.
        stays_inside_tasks = self.items_per_task is not None and not self.classes_per_task
        if stays_inside_tasks and weights.shape[1] == 1:
            assert self.items_per_task is not None
            return batched.propagate_sparse(
                weights,
                x,
                self.items_per_task,
                self.receivers,
                self.senders,
            )
        return ragged.propagate(weights, x, self.senders, self.receivers, self.ptr)

    def matrices(self, edges: Float[Tensor, "E C"]) -> tuple[Tensor, ...]:
        """View the edges of a complete topology as one dense matrix per task.

        Args:
            edges: `[E, C]`.

        Returns:
            One `[n, n, C]` view per task; rows are receivers.

        Raises:
            InvalidInputError: the topology is not complete.
        """
        sizes = self._complete_sizes
        # Views: the edges of a task are contiguous, and sorted by receiver, then sender.
        parts = torch.split(edges, [n * n for n in sizes])
        matrices = []
        for part, n in zip(parts, sizes, strict=True):
            matrices.append(part.view(n, n, -1))
        return tuple(matrices)

    @property
    def _complete_sizes(self) -> tuple[int, ...]:
        if self.sizes is None:
            raise InvalidInputError(
                "this topology is not made of complete graphs; build it with "
                "complete_graph(sizes), or use apply_edges, which takes any topology"
            )
        return self.sizes

    @cached_property
    def _edge_index(self) -> tuple[Tensor, Tensor]:
        if self.edge_index is not None:
            return self.edge_index
        if self.class_layout is not None:
            return self.class_layout.class_node_index
        if self.task_size is not None:
            n_tasks = self.num_nodes // self.task_size
            return batched.complete_index(n_tasks, self.task_size, self.device)
        return ragged.complete_index(self._complete_sizes, self.device)

    @cached_property
    def _class_cells(self) -> Tensor:
        """Return the cell of each edge in a table of items and class nodes, `[E]` indices."""
        if self.class_layout is not None:
            return self.class_layout.class_node_cells
        assert self.items_per_task is not None
        nodes_per_task = self.items_per_task + self.classes_per_task
        first_class = self.num_nodes // nodes_per_task * self.items_per_task
        # Class nodes have the larger numbers, whichever way the edge points.
        item = torch.minimum(self.receivers, self.senders)
        class_node = torch.maximum(self.receivers, self.senders) - first_class
        return item * self.classes_per_task + class_node % self.classes_per_task

    @cached_property
    def _pair_edges(self) -> tuple[Tensor, Tensor]:
        """Return the two edges of each unordered pair of distinct nodes, as `[P]` indices."""
        if self.task_size is not None:
            n_tasks = self.num_nodes // self.task_size
            return circulant.pair_edges(n_tasks, self.task_size, self.device)
        return ragged.pair_edges(self._complete_sizes, self.senders, self.receivers)

    def _pair_values(
        self, fn: EdgeFunction, x: Tensor, chunk_size: int | None, origin: Tensor | None
    ) -> Tensor:
        one_way, _ = self._pair_edges
        if origin is not None:
            one = origin[self.senders[one_way]]
            other = origin[self.receivers[one_way]]
            return apply_to_distinct_pairs(fn, x, chunk_size, one, other, origin)
        # Tasks of a single node have no pairs; `fn` still decides the number of channels.
        if chunk_size is None or not len(one_way):
            one, other = self.pair_nodes()
            one_features = x.index_select(0, one)
            other_features = x.index_select(0, other)
            return fn(one_features, other_features)
        # In circulant order, chunks are views of x; otherwise the rows of each pair are gathered.
        if self.task_size is not None:
            chunks = circulant.pair_chunks(x, self.task_size, chunk_size)
            return map_chunks(lambda pair: fn(*pair), chunks, len(one_way))
        return self._apply_chunked(fn, x, one_way, chunk_size)

    def _apply_chunked(self, fn: EdgeFunction, x: Tensor, edges: Tensor, chunk_size: int) -> Tensor:
        """Apply `fn` to the nodes of the edges with these indices `[P]`, in chunks."""

        def apply(chunk: Tensor) -> Tensor:
            receiver_features = x.index_select(0, self.receivers[chunk])
            sender_features = x.index_select(0, self.senders[chunk])
            return fn(receiver_features, sender_features)

        return map_chunks(apply, torch.split(edges, chunk_size), len(edges))
