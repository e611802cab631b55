"""Small reusable pieces of methods: MLPs over rows, distances, the adapter for torch-geometric's convolutions."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.graph import Graph, Topology

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
        """Rows `[P, C]`, each channel normalized over P (training) or by running statistics (evaluation)."""
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


METRICS: Mapping[str, Metric] = MappingProxyType(
    {"squared_euclidean": squared_euclidean, "cosine": cosine}
)


def _squared_from_products(ab: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return 2 * ab - a.square() - b.square()


def _cosine_from_products(ab: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return ab / (a.clamp_min(1e-8) * b.clamp_min(1e-8))


# Metrics of an inner product and two lengths, which need no row of features per edge.
_FROM_PRODUCTS: Mapping[Metric, Callable[[Tensor, Tensor, Tensor], Tensor]] = MappingProxyType(
    {squared_euclidean: _squared_from_products, cosine: _cosine_from_products}
)


def compare(
    topology: Topology, metric: Metric, nodes: Float[Tensor, "N F"]
) -> Float[Tensor, "E 1"]:
    """Edges `[E, 1]`: the metric of receiver and sender; for the library's own metrics by matrix products."""
    if metric not in _FROM_PRODUCTS:
        return topology.apply_edges(metric, nodes)
    lengths = torch.linalg.vector_norm(nodes, dim=1, keepdim=True)
    ends = (lengths.index_select(0, index) for index in (topology.receivers, topology.senders))
    return _FROM_PRODUCTS[metric](topology.inner_products(nodes), *ends)


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

    def forward_to_queries(self, graph: Graph) -> Graph:
        """The graph after the last layer, as far as answers to queries need it: a last layer with a method `answer`
        leaves out edges into other nodes."""
        for step in self._steps[:-1]:
            graph = step(graph)
        for last in self._steps[-1:]:
            graph = getattr(last, "forward_to_queries", last)(graph)
        return graph


class PyGConv(nn.Module):
    """Any torch-geometric convolution as a layer: it rewrites the nodes and leaves the edges.

    Args:
        conv: a module called as `conv(nodes, edge_index)`, which gives nodes `[N, F']`; a convolution that needs more,
            such as types or positions, belongs in a module that knows these.
        edges: hand the edges over: `[E, C]` as `edge_attr`, or `[E]` as `edge_weight`, as the convolution has it.

    Raises:
        ValueError: a convolution that needs more than nodes, edge_index and edges, or takes no edge values where
            `edges` is true.
    """

    def __init__(self, conv: nn.Module, *, edges: bool = False) -> None:
        super().__init__()
        name, parameters = (
            type(conv).__name__,
            list(inspect.signature(conv.forward).parameters.values()),
        )
        needed = [
            p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        ][2:]
        takes = [p.name for p in parameters[2:] if p.name in ("edge_attr", "edge_weight")]
        lacking = [other for other in needed if not (edges and other in takes)]
        if not any(p.kind is p.VAR_POSITIONAL for p in parameters):
            second = parameters[1].name if len(parameters) > 1 else "fewer arguments"
            lacking = ([] if second.endswith("edge_index") else [second]) + lacking
        if lacking:
            hint = ", or give edges=True" if lacking[0] in takes else ""
            raise ValueError(
                f"{name} needs {lacking[0]}; a layer has nodes and edges alone, so wrap it in a module "
                f"called with (nodes, edge_index){hint}"
            )
        if edges and not takes:
            raise ValueError(
                f"{name} takes no edge_weight or edge_attr; leave edges=True out, or use another "
                "convolution"
            )
        self.conv = conv
        self.edges = takes[0] if edges else None

    def forward(self, graph: Graph) -> Graph:
        """The graph with nodes `[N, F']` from the convolution.

        Raises:
            TypeError: the convolution does not give one tensor of nodes.
            ValueError: several channels of edges for an `edge_weight`, or another number of nodes.
        """
        name, channels = type(self.conv).__name__, graph.edges.shape[1]
        if self.edges == "edge_weight" and channels != 1:
            raise ValueError(
                f"{name} takes one weight per edge and the edges have {channels} channels; choose one "
                "before, with a layer that gives edges [E, 1]"
            )
        values = (
            {}
            if self.edges is None
            else {self.edges: graph.edges[:, 0] if self.edges == "edge_weight" else graph.edges}
        )
        nodes = self.conv(
            graph.nodes, torch.stack([graph.topology.senders, graph.topology.receivers]), **values
        )
        if not isinstance(nodes, Tensor):
            raise TypeError(
                f"{name} gives a {type(nodes).__name__}; a layer needs the nodes alone, [N, F]"
            )
        if nodes.ndim != 2 or len(nodes) != len(graph.nodes):
            raise ValueError(
                f"{name} gives nodes of shape {tuple(nodes.shape)} for {len(graph.nodes)} nodes; a layer "
                "needs [N, F]"
            )
        return graph.replace(nodes=nodes)
