"""Small reusable pieces of methods: MLPs over rows, distances, the adapter for torch-geometric's convolutions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.graph import Graph, Topology

Metric = Callable[[Tensor, Tensor], Tensor]


class RowNorm(nn.Module):
    """Batch norm over the rows of `[P, C]`, followed by a LeakyReLU where it has a slope.

    The rows are shown to torch as the pixels of one channels-last image: the same numbers as `BatchNorm1d`, and several
    times faster backward on a CPU. The activation stands here because in place it must come before the view as rows.

    Source: Ioffe, Szegedy, 2015, Batch Normalization: Accelerating Deep Network Training.

    Deviations: none.
    """

    def __init__(self, width: int, slope: float | None = None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.slope = slope

    def forward(self, rows: Float[Tensor, "P C"]) -> Float[Tensor, "P C"]:
        """Rows `[P, C]`, each channel normalised over P (training) or by running statistics (evaluation)."""
        image = rows[None, :, None, :].permute(0, 3, 1, 2)
        out: Tensor = self.norm(image)
        out = out if self.slope is None else F.leaky_relu(out, self.slope, inplace=True)
        return out.permute(0, 2, 3, 1).reshape(rows.shape)

    def affine(self) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
        """`(scale, shift)`: what it does to each channel in evaluation, before the activation."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        return scale, norm.bias - norm.running_mean * scale


def blocks(widths: Sequence[int], *, bias: bool, slope: float = 0.01) -> list[nn.Module]:
    """Linear, batch norm and LeakyReLU for each step of `widths`: rows `[P, widths[0]] -> [P, widths[-1]]`."""
    out: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(widths):
        out += [nn.Linear(wide, narrow, bias=bias), RowNorm(narrow, slope)]
    return out


def dropout(p: float) -> list[nn.Module]:
    """A dropout layer, or none where `p` is 0."""
    return [nn.Dropout(p)] if p else []


def absolute_difference(a: Float[Tensor, "P F"], b: Float[Tensor, "P F"]) -> Float[Tensor, "P F"]:
    """`|a - b|`, elementwise."""
    return (a - b).abs()


def squared_euclidean(a: Float[Tensor, "P F"], b: Float[Tensor, "P F"]) -> Float[Tensor, "P 1"]:
    """Similarity `-‖a - b‖²` of row pairs."""
    return -(a - b).square().sum(1, keepdim=True)


def cosine(a: Float[Tensor, "P F"], b: Float[Tensor, "P F"]) -> Float[Tensor, "P 1"]:
    """Cosine similarity of row pairs; 0 where a row is zero."""
    return F.cosine_similarity(a, b, dim=1)[:, None]


METRICS: Mapping[str, Metric] = MappingProxyType({"squared_euclidean": squared_euclidean, "cosine": cosine})


def _squared_from_products(ab: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return 2 * ab - a.square() - b.square()


def _cosine_from_products(ab: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return ab / (a.clamp_min(1e-8) * b.clamp_min(1e-8))


# Metrics of an inner product and two lengths, which need no row of features per edge.
_FROM_PRODUCTS: Mapping[Metric, Callable[[Tensor, Tensor, Tensor], Tensor]] = MappingProxyType(
    {squared_euclidean: _squared_from_products, cosine: _cosine_from_products})


def compare(topology: Topology, metric: Metric, nodes: Float[Tensor, "N F"]) -> Float[Tensor, "E 1"]:
    """Edges `[E, 1]`: the metric of receiver and sender; for the library's own metrics by matrix products."""
    if metric not in _FROM_PRODUCTS:
        return topology.pair_ordered(metric, nodes)
    lengths = torch.linalg.vector_norm(nodes, dim=1, keepdim=True)
    ends = (lengths.index_select(0, index) for index in (topology.receivers, topology.senders))
    return _FROM_PRODUCTS[metric](topology.inner(nodes), *ends)


class Layers(nn.Module):
    """Graph layers, modules or plain functions, in their order; iterate to get them."""

    def __init__(self, steps: Iterable[Callable[[Graph], Graph]]) -> None:
        super().__init__()
        self._steps = tuple(steps)
        for index, step in enumerate(self._steps):
            if isinstance(step, nn.Module):
                self.add_module(str(index), step)

    def forward(self, graph: Graph) -> tuple[Graph, ...]:
        """The graph after each layer."""
        graphs = []
        for step in self._steps:
            graph = step(graph)
            graphs.append(graph)
        return tuple(graphs)

    def answer(self, graph: Graph) -> Graph:
        """The graph after the last layer, as far as answers to queries need it: a last layer with a method `answer`
        leaves out edges into other nodes."""
        for step in self._steps[:-1]:
            graph = step(graph)
        for last in self._steps[-1:]:
            graph = getattr(last, "answer", last)(graph)
        return graph


class Convolution(nn.Module):
    """Any torch-geometric convolution as a layer: it rewrites the nodes and leaves the edges.

    Args:
        conv: a `MessagePassing` module, called as `conv(nodes, edge_index)`, or with the edges `[E, C]` as its third
            argument where `edges` is true (`edge_weight` or `edge_attr`, as the convolution has it).
        edges: hand the edge values over.
    """

    def __init__(self, conv: nn.Module, *, edges: bool = False) -> None:
        super().__init__()
        self.conv = conv
        self.edges = edges

    def forward(self, graph: Graph) -> Graph:
        """The graph with nodes `[N, F']` from the convolution."""
        index = torch.stack([graph.topology.senders, graph.topology.receivers])
        values = (graph.edges.squeeze(1) if graph.edges.shape[1] == 1 else graph.edges,) if self.edges else ()
        return graph.replace(nodes=self.conv(graph.nodes, index, *values))
