"""Graphs over episodes: `Topology` owns the primitives, `Graph` is an immutable record."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_geometric.data import Data

from graphfew._utils.cached_property import cached_property
from graphfew.core.episode import Episode
from graphfew.ops import batched, chunking, circulant, ragged
from graphfew.ops.chunking import EdgeFunction as EdgeFunction

TINY = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Topology:
    """Who sends to whom, edges sorted by receiver (CSR), and every sum over them.

    Only here may code ask whether tasks are equal-sized (reshapes and batched products) or not (segment kernels).
    Build one with `complete`, `bipartite` or `stars` of `topologies`.

    Shapes:
        num_nodes: number of nodes N.
        sizes: nodes of each task where every task is a complete graph with self-loops; None for any other topology.
        edge_index: `(senders, receivers)`, each `[E]` int64, receivers ascending; None if `sizes` is given.
        items_per_task: items of each task if all tasks have as many and no edge leaves its task; else None.
        classes_per_task: class nodes of each task if they follow all items and every edge joins an item and a class.
    """

    num_nodes: int
    device: torch.device
    sizes: tuple[int, ...] | None = None
    edge_index: tuple[Tensor, Tensor] | None = None
    items_per_task: int | None = None
    classes_per_task: int = 0

    @cached_property
    def task_size(self) -> int | None:
        """Nodes of every task, where all tasks are complete and of one size."""
        return self.sizes[0] if self.sizes and len(set(self.sizes)) == 1 else None

    @cached_property
    def _ends(self) -> tuple[Tensor, Tensor]:
        if self.edge_index is not None:
            return self.edge_index
        if self.task_size is not None:
            return batched.complete_index(
                self.num_nodes // self.task_size, self.task_size, self.device
            )
        return ragged.complete_index(self._complete_sizes, self.device)

    @property
    def senders(self) -> Int[Tensor, " E"]:
        """`[E]` int64: the node each edge comes from."""
        return self._ends[0]

    @property
    def receivers(self) -> Int[Tensor, " E"]:
        """`[E]` int64, ascending: the node each edge goes to."""
        return self._ends[1]

    @cached_property
    def ptr(self) -> Int[Tensor, " N1"]:
        """`[N + 1]` int64: the edges of receiver `i` are `ptr[i] .. ptr[i+1]`."""
        counts = torch.bincount(self.receivers, minlength=self.num_nodes)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    @cached_property
    def is_self_loop(self) -> Bool[Tensor, " E"]:
        """`[E]` bool: edges from a node to itself."""
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
        """Edges `[E, C]` from a symmetric function of two nodes, run once per unordered pair of distinct nodes.

        Args:
            fn: `([P, F], [P, F]) -> [P, C]`, with `fn(a, b) == fn(b, a)`; see `apply_edges` for any other.
            x: nodes `[N, F]`.
            self_loop_value: the value of self-loops; None computes it with `fn`.
            chunk_size: the most pairs per call of `fn`, for a function whose rows do not depend on each other.
                It gets both ends as `[..., F]`, which broadcast against each other to that many pairs, and gives
                `[..., C]` or their rows `[P, C]`. None hands it all pairs, as rows.
            origin: `[N]` int64, nodes with the same number being alike in `x`, for such a function too: it is run once
                for all pairs of the same two numbers. None where all nodes may differ.

        Raises:
            ValueError: the topology is not complete, so that pairs have no mirror image; or `chunk_size` below 1.
        """
        chunking.check(chunk_size)
        edges = self.pairs_to_edges(
            self._pair_values(fn, x, chunk_size, origin),
            self_loop_value=0.0 if self_loop_value is None else self_loop_value,
        )
        if self_loop_value is None:
            own = chunking.joined(
                lambda rows: fn(rows, rows), torch.split(x, chunk_size or len(x)), len(x)
            )
            edges = edges.index_copy(0, torch.nonzero(self.is_self_loop).flatten(), own)
        return edges

    def pair_differences(self, x: Float[Tensor, "N F"]) -> Float[Tensor, "P F"]:
        """`|x_i - x_j|` of each unordered pair of distinct nodes, once, in the order that `pairs_to_edges` takes.

        Raises:
            ValueError: the topology is not complete.
        """
        if self.task_size is not None:
            return circulant.differences(x, self.task_size)
        one, other = self._pair_nodes(x)
        return (one - other).abs()

    def pairs_to_edges(
        self, values: Float[Tensor, "P C"], *, self_loop_value: float
    ) -> Float[Tensor, "E C"]:
        """Edges `[E, C]` from one value for each unordered pair of distinct nodes, and one for all self-loops.

        Raises:
            ValueError: the topology is not complete.
        """
        one_way, other_way = self._pairs
        edges = values.new_full((len(self.receivers), values.shape[1]), self_loop_value)
        return edges.index_copy(0, one_way, values).index_copy(0, other_way, values)

    def pair_nodes(self) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
        """Both nodes of each unordered pair of distinct nodes, in the order that `pairs_to_edges` takes.

        Raises:
            ValueError: the topology is not complete.
        """
        one_way, _ = self._pairs
        return self.receivers[one_way], self.senders[one_way]

    def apply_edges(
        self, fn: EdgeFunction, x: Tensor, *, chunk_size: int | None = None
    ) -> Float[Tensor, "E C"]:
        """Edges `[E, C]` from any function `fn(receiver [E, F], sender [E, F])` of two nodes of `x [N, F]`.

        Args:
            fn, x: see above.
            chunk_size: as in `apply_pairs`.

        Raises:
            ValueError: `chunk_size` below 1.
        """
        chunking.check(chunk_size)
        if chunk_size is None or len(self.receivers) <= chunk_size:
            return fn(x.index_select(0, self.receivers), x.index_select(0, self.senders))
        return self._pair_edges(
            fn, x, torch.arange(len(self.receivers), device=x.device), chunk_size
        )

    def inner_products(self, x: Float[Tensor, "N F"]) -> Float[Tensor, "E 1"]:
        """Inner product of the two ends of each edge, `[E, 1]`; by matrix products where tasks are equal-sized."""
        block = self.task_size if self.items_per_task is None else self.items_per_task
        if block is None:
            return self.apply_edges(lambda a, b: (a * b).sum(1, keepdim=True), x)
        return batched.inner_products(x, block, self.classes_per_task, self.receivers, self.senders)

    def slice_receivers(self, first: int) -> Topology:
        """The edges into nodes `first ..`, the last ones, which are the receivers `0 ..` of the new topology; senders
        keep their numbers, so `propagate` takes all nodes and gives the values of these."""
        start = int(self.ptr[first])
        return Topology(
            self.num_nodes - first,
            self.device,
            edge_index=(self.senders[start:], self.receivers[start:] - first),
        )

    def select_receivers(self, wanted: Bool[Tensor, " N"]) -> tuple[Topology, Int[Tensor, " E2"]]:
        """The edges into the marked nodes, over the same nodes, and which of this topology's edges they are."""
        own = torch.nonzero(wanted[self.receivers]).flatten()
        return Topology(
            self.num_nodes, self.device, edge_index=(self.senders[own], self.receivers[own])
        ), own

    def sum(self, edges: Float[Tensor, "E C"]) -> Float[Tensor, "N C"]:
        """Sum over each node's incoming edges."""
        if self.task_size is not None:
            return batched.sum_edges(edges, self.task_size)
        return ragged.sum_edges(edges, self.ptr, self.receivers)

    def broadcast(self, values: Float[Tensor, "N C"]) -> Float[Tensor, "E C"]:
        """Each node's value on all its incoming edges: the transpose of `sum`."""
        if self.task_size is not None:
            return batched.broadcast(values, self.task_size)
        return values.index_select(0, self.receivers)

    def softmax(self, edges: Float[Tensor, "E C"]) -> Float[Tensor, "E C"]:
        """Softmax over each node's incoming edges, per channel."""
        if self.task_size is not None:
            return batched.softmax(edges, self.task_size)
        return ragged.softmax(edges, self.ptr, self.receivers)

    def normalize(self, edges: Float[Tensor, "E C"]) -> Float[Tensor, "E C"]:
        """Edges divided by the sum of magnitudes over the receiver's incoming edges; rows without mass stay zero."""
        return edges / self.broadcast(self.sum(edges.abs()).clamp_min(TINY))

    def propagate(
        self, weights: Float[Tensor, "E C"], x: Float[Tensor, "M F"]
    ) -> Float[Tensor, "N CF"]:
        """`out_i = Σ_j weights_ij x_j` for each channel, side by side: `[N, C * F]`, channel-major; `x` has a
        row for every sender: for the N nodes, or for all nodes where the topology comes from `slice_receivers`."""
        if self.task_size is not None:
            return batched.propagate(weights, x, self.task_size)
        if self.items_per_task is not None and not self.classes_per_task and weights.shape[1] == 1:
            return batched.propagate_block(
                weights, x, self.items_per_task, self.receivers, self.senders
            )
        return ragged.propagate(weights, x, self.senders, self.receivers, self.ptr)

    def matrices(self, edges: Float[Tensor, "E C"]) -> tuple[Tensor, ...]:
        """One `[n, n, C]` view per task of a complete topology, for closed-form solves; row = receiver."""
        sizes = self._complete_sizes
        parts = torch.split(edges, [n * n for n in sizes])
        return tuple(part.view(n, n, -1) for part, n in zip(parts, sizes, strict=True))

    @property
    def _complete_sizes(self) -> tuple[int, ...]:
        if self.sizes is None:
            raise ValueError(
                "this topology is not made of complete graphs; use complete(sizes), or apply_edges "
                "for an edge function on any topology"
            )
        return self.sizes

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor]:
        if self.task_size is not None:
            return circulant.pair_index(
                self.num_nodes // self.task_size, self.task_size, self.device
            )
        return ragged.pair_index(self._complete_sizes, self.senders, self.receivers)

    def _pair_values(
        self, fn: EdgeFunction, x: Tensor, chunk_size: int | None, origin: Tensor | None
    ) -> Tensor:
        one_way, _ = self._pairs
        if origin is not None:
            one, other = (origin[ends[one_way]] for ends in self._ends)
            return chunking.repeated(fn, x, chunk_size, one, other, origin)
        if chunk_size is None or not len(one_way):
            return fn(*self._pair_nodes(x))
        if self.task_size is not None:
            return chunking.joined(
                lambda ends: fn(*ends), circulant.ends(x, self.task_size, chunk_size), len(one_way)
            )
        return self._pair_edges(fn, x, one_way, chunk_size)

    def _pair_edges(self, fn: EdgeFunction, x: Tensor, edges: Tensor, chunk_size: int) -> Tensor:
        """`fn` of both ends of the edges with these numbers, at most so many in one call."""

        def of(part: Tensor) -> Tensor:
            return fn(
                x.index_select(0, self.receivers[part]), x.index_select(0, self.senders[part])
            )

        return chunking.joined(of, torch.split(edges, chunk_size), len(edges))

    def _pair_nodes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one, other = self.pair_nodes()
        return x.index_select(0, one), x.index_select(0, other)


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Node and edge values on a topology, with the episode they come from; `replace` makes a changed copy.

    Shapes:
        nodes: `[N, F]`, the episode's nodes first (class nodes, where there are any, follow).
        edges: `[E, C]`, in the order of `topology`.
    """

    nodes: Float[Tensor, "N F"]
    edges: Float[Tensor, "E C"]
    topology: Topology
    episode: Episode

    def replace(self, **changes: Any) -> Graph:
        """A copy with the given fields changed."""
        return dataclasses.replace(self, **changes)

    def to_pyg(self) -> Data:
        """A torch-geometric `Data`: x, edge_index, edge_attr, y, query, task, and sizes and way as tensors.

        `graphfew.convert.from_pyg` reads it back; `graphfew.convert.to_pyg_batch` makes one `Data` per task.

        Shapes:
            x `[N, F]`, edge_index `[2, E]` (sender, receiver), edge_attr `[E, C]`; y, query and task `[items]` (class
            nodes, where there are any, follow the items and have none of the three); sizes and way `[tasks]`.
        """
        episode, topology = self.episode, self.topology
        return Data(
            x=self.nodes,
            edge_index=torch.stack([topology.senders, topology.receivers]),
            edge_attr=self.edges,
            y=episode.y,
            query=episode.query,
            task=episode.task,
            sizes=torch.tensor(episode.sizes, device=episode.y.device),
            way=torch.tensor(episode.way, device=episode.y.device),
        )
