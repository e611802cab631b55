"""Building blocks of methods: row-wise MLPs, metrics and the adapter for PyG convolutions."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.graph import Graph
from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError, InvalidTypeError

Metric = Callable[[Tensor, Tensor], Tensor]
# Pairs of rows that a metric without a closed form is called with at a time.
PAIRS_PER_CHUNK = 2**16


class RowNorm(nn.Module):
    """Batch norm over the rows of `[P, C]`, optionally followed by a leaky ReLU.

    It has the values of `BatchNorm1d`. The rows are passed to torch as the pixels of one
    channels-last image, which is several times faster in the backward pass on a CPU.

    Args:
        width: number of channels C.
        slope: negative slope of the leaky ReLU; None for no activation.

    Example:
        >>> import torch
        >>> from graphfew.nn.layers import RowNorm
        >>> RowNorm(2)(torch.tensor([[0.0, 1.0], [2.0, 3.0]])).round()
        tensor([[-1., -1.],
                [ 1.,  1.]], grad_fn=<RoundBackward0>)

    Source:
        Ioffe, Szegedy, 2015, Batch Normalization: Accelerating Deep Network Training.

    Deviations:
        none.
    """

    def __init__(self, width: int, slope: float | None = None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.slope = slope

    def forward(self, rows: Float[Tensor, "P C"]) -> Float[Tensor, "P C"]:
        """Return `[P, C]`, normalized by batch (training) or running statistics (evaluation)."""
        # `[1, P, 1, C]` permuted to `[1, C, P, 1]`: channels-last without a copy.
        image = rows[None, :, None, :].permute(0, 3, 1, 2)
        out: Tensor = self.norm(image)
        if self.slope is not None:
            # The activation belongs here because in place it must precede the view as rows.
            out = F.leaky_relu(out, self.slope, inplace=True)
        return out.permute(0, 2, 3, 1).reshape(rows.shape)

    def affine(self) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
        """Return `(scale, shift)` per channel of the normalization in evaluation mode."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        return scale, norm.bias - norm.running_mean * scale


def blocks(widths: Sequence[int], *, bias: bool, slope: float = 0.01) -> list[nn.Module]:
    """Build a linear layer and a `RowNorm` with leaky ReLU for each pair of consecutive widths.

    Args:
        widths: input width, hidden widths, output width.
        bias: whether the linear layers have a bias.
        slope: negative slope of the leaky ReLU.

    Returns:
        Modules for `nn.Sequential`, which map `[P, widths[0]]` to `[P, widths[-1]]`.

    Example:
        >>> from graphfew.nn.layers import blocks
        >>> [type(module).__name__ for module in blocks([8, 4, 2], bias=False)]
        ['Linear', 'RowNorm', 'Linear', 'RowNorm']
    """
    modules: list[nn.Module] = []
    for in_width, out_width in itertools.pairwise(widths):
        modules += [nn.Linear(in_width, out_width, bias=bias), RowNorm(out_width, slope)]
    return modules


def dropout(p: float) -> list[nn.Module]:
    """Return a dropout layer in a list, or an empty list if `p` is 0."""
    return [nn.Dropout(p)] if p else []


def absolute_difference(a: Float[Tensor, "P F"], b: Float[Tensor, "P F"]) -> Float[Tensor, "P F"]:
    """Compute `|a - b|` elementwise, `[P, F]`."""
    return (a - b).abs()


def squared_euclidean(a: Float[Tensor, "P F"], b: Float[Tensor, "P F"]) -> Float[Tensor, "P 1"]:
    """Compute the negative squared Euclidean distance of row pairs, a similarity.

    Args:
        a: `[P, F]`.
        b: `[P, F]`.

    Returns:
        `-‖a - b‖²`, `[P, 1]`.

    Example:
        >>> import torch, graphfew as gf
        >>> gf.nn.squared_euclidean(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
        tensor([[-5.]])
    """
    return -(a - b).square().sum(1, keepdim=True)


def cosine(a: Float[Tensor, "P F"], b: Float[Tensor, "P F"]) -> Float[Tensor, "P 1"]:
    """Compute the cosine similarity of row pairs.

    Args:
        a: `[P, F]`.
        b: `[P, F]`.

    Returns:
        `[P, 1]`; 0 if a row is zero.

    Example:
        >>> import torch, graphfew as gf
        >>> gf.nn.cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0]]))
        tensor([[1.]])
    """
    return F.cosine_similarity(a, b, dim=1)[:, None]


# The names by which specs and configurations store a metric.
METRICS: Mapping[str, Metric] = MappingProxyType(
    {"squared_euclidean": squared_euclidean, "cosine": cosine}
)


def _squared_euclidean_from_products(inner: Tensor, a: Tensor, b: Tensor) -> Tensor:
    # Three operations instead of five: this is a third of the time of a small task's logits.
    return (2 * inner).addcmul(a, a, value=-1).addcmul(b, b, value=-1)


def _cosine_from_products(inner: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return inner / (a.clamp_min(1e-8) * b.clamp_min(1e-8))


# Metrics that follow from inner products and norms, so that no `[E, F]` array is needed.
_FROM_PRODUCTS: Mapping[Metric, Callable[[Tensor, Tensor, Tensor], Tensor]] = MappingProxyType(
    {squared_euclidean: _squared_euclidean_from_products, cosine: _cosine_from_products}
)


def has_product_form(metric: Metric) -> bool:
    """Return whether a metric follows from inner products and norms.

    Args:
        metric: `([P, F], [P, F]) -> [P, 1]`.
    """
    return metric in _FROM_PRODUCTS


def metric_edges(
    topology: Topology, metric: Metric, nodes: Float[Tensor, "N F"]
) -> Float[Tensor, "E 1"]:
    """Compute a metric of receiver and sender for every edge.

    Args:
        topology: any topology.
        metric: `([P, F], [P, F]) -> [P, 1]`; `squared_euclidean` and `cosine` are computed by
            matrix products.
        nodes: `[N, F]`.

    Returns:
        `[E, 1]`.
    """
    if metric not in _FROM_PRODUCTS:
        return topology.apply_edges(metric, nodes)
    if topology.has_class_table:
        items, classes = topology.split_nodes(nodes)
        return topology.table_edges(class_metric_table(metric, items, classes))
    norms = torch.linalg.vector_norm(nodes, dim=1, keepdim=True)
    receiver_norms = norms.index_select(0, topology.receivers)
    sender_norms = norms.index_select(0, topology.senders)
    inner = topology.inner_products(nodes)
    return _FROM_PRODUCTS[metric](inner, receiver_norms, sender_norms)


def metric_table(
    metric: Metric, a: Float[Tensor, "n F"], b: Float[Tensor, "m F"]
) -> Float[Tensor, "n m"]:
    """Compute a metric of every row of `a` with every row of `b`.

    It has the values of `metric_edges`.

    Args:
        metric: `([P, F], [P, F]) -> [P, 1]`; `squared_euclidean` and `cosine` are computed by one
            matrix product, any other in chunks of pairs.
        a: `[n, F]`.
        b: `[m, F]`.

    Returns:
        `[n, m]`.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.nn.layers import metric_table
        >>> metric_table(gf.nn.squared_euclidean, torch.tensor([[1.0]]), torch.tensor([[1.0], [3.0]]))
        tensor([[ 0., -4.]])
    """
    if metric not in _FROM_PRODUCTS:
        rows = []
        for part in torch.split(a, max(1, PAIRS_PER_CHUNK // max(1, len(b)))):
            first, second = part.repeat_interleave(len(b), 0), b.repeat(len(part), 1)
            rows.append(metric(first, second).view(len(part), len(b)))
        return torch.cat(rows)
    a_norms = torch.linalg.vector_norm(a, dim=1)[:, None]
    b_norms = torch.linalg.vector_norm(b, dim=1)
    return _FROM_PRODUCTS[metric](a @ b.T, a_norms, b_norms)


def class_metric_table(
    metric: Metric, items: Float[Tensor, "G n F"], classes: Float[Tensor, "G way F"]
) -> Float[Tensor, "G n way"]:
    """Compute a metric of every item of a task with every class of it.

    Args:
        metric: one with `has_product_form`.
        items: `[G, n, F]`.
        classes: `[G, way, F]`.

    Returns:
        `[G, n, way]`.
    """
    # There are few classes: a wide product is faster than a narrow one.
    products = torch.bmm(classes, items.mT).mT
    item_norms = torch.linalg.vector_norm(items, dim=2, keepdim=True)
    class_norms = torch.linalg.vector_norm(classes, dim=2)[:, None]
    return _FROM_PRODUCTS[metric](products, item_norms, class_norms)


class Layers(nn.Module):
    """A sequence of graph layers, modules or plain functions.

    Args:
        steps: `Graph -> Graph` each.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.nn.layers import Layers
        >>> layers = Layers([gf.nn.ScaledMetric(gf.nn.cosine), lambda graph: graph])
        >>> [name for name, module in layers.named_children()]
        ['0']
    """

    def __init__(self, steps: Iterable[Callable[[Graph], Graph]]) -> None:
        super().__init__()
        # Next to the registered modules, because steps may be plain functions.
        self._steps = tuple(steps)
        for index, step in enumerate(self._steps):
            if isinstance(step, nn.Module):
                self.add_module(str(index), step)

    def __getitem__(self, index: int) -> Callable[[Graph], Graph]:
        """Return one layer."""
        return self._steps[index]

    def forward(self, graph: Graph) -> tuple[Graph, ...]:
        """Return the graph after each layer."""
        graphs = []
        for step in self._steps:
            graph = step(graph)
            graphs.append(graph)
        return tuple(graphs)

    def forward_to_queries(self, graph: Graph) -> Graph:
        """Return the graph after the last layer, with at least the edges into queries.

        A last layer that has a method `forward_to_queries` itself may skip all other edges.
        """
        for step in self._steps[:-1]:
            graph = step(graph)
        for last in self._steps[-1:]:
            graph = getattr(last, "forward_to_queries", last)(graph)
        return graph


class PyGConv(nn.Module):
    """Use a PyG convolution as a layer that updates the nodes and keeps the edges.

    Args:
        conv: a module called as `conv(x, edge_index)` that returns nodes `[N, F']`. Wrap a
            convolution with other required arguments in a module that provides them.
        edges: pass the edges to the convolution: `[E, C]` as `edge_attr` or `[E]` as
            `edge_weight`, whichever it takes.

    Raises:
        InvalidInputError: the convolution requires more arguments, or takes no edge values
            although `edges` is true.

    Example:
        >>> import torch, graphfew as gf
        >>> from torch_geometric.nn import SAGEConv
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.eye(3), y, query=y < 0, way=2)
        >>> graph = gf.Graph(episode.x, torch.ones(9, 1), gf.complete_graph((3,)), episode)
        >>> gf.nn.PyGConv(SAGEConv(3, 4))(graph).nodes.shape
        torch.Size([3, 4])
    """

    def __init__(self, conv: nn.Module, *, edges: bool = False) -> None:
        super().__init__()
        self.conv = conv
        self.edges = _edge_argument(conv, edges=edges)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with nodes `[N, F']` from the convolution.

        Raises:
            InvalidTypeError: the convolution does not return one tensor.
            InvalidInputError: the edges have several channels but the convolution takes
                `edge_weight`, or it returns another number of nodes.
        """
        name, channels = type(self.conv).__name__, graph.edges.shape[1]
        keywords: dict[str, Tensor] = {}
        if self.edges == "edge_attr":
            keywords["edge_attr"] = graph.edges
        elif self.edges == "edge_weight":
            if channels != 1:
                raise InvalidInputError(
                    f"{name} takes one weight per edge and the edges have {channels} channels; "
                    f"select one with a layer that returns edges [E, 1]"
                )
            keywords["edge_weight"] = graph.edges[:, 0]
        edge_index = torch.stack([graph.topology.senders, graph.topology.receivers])
        nodes = self.conv(graph.nodes, edge_index, **keywords)
        if not isinstance(nodes, Tensor):
            raise InvalidTypeError(
                f"{name} returned a {type(nodes).__name__}; a layer needs a tensor of nodes [N, F]"
            )
        if nodes.ndim != 2 or len(nodes) != len(graph.nodes):
            raise InvalidInputError(
                f"{name} returned nodes of shape {tuple(nodes.shape)} for {len(graph.nodes)} "
                f"nodes; a layer needs [N, F]"
            )
        return graph.replace(nodes=nodes)


def _edge_argument(conv: nn.Module, *, edges: bool) -> str | None:
    """The name of the convolution's argument for edge values, after a check of its signature."""
    name = type(conv).__name__
    parameters = list(inspect.signature(conv.forward).parameters.values())
    required = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    # The first two parameters are the nodes and `edge_index`, regardless of their names.
    accepted = [p.name for p in parameters[2:] if p.name in ("edge_attr", "edge_weight")]
    missing = [other for other in required[2:] if not (edges and other in accepted)]
    if not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        second = parameters[1].name if len(parameters) > 1 else "fewer arguments"
        if not second.endswith("edge_index"):
            missing.insert(0, second)
    if missing:
        hint = ", or set edges=True" if missing[0] in accepted else ""
        raise InvalidInputError(
            f"{name} needs {missing[0]}; a layer provides nodes and edges only, so wrap it in a "
            f"module called with (nodes, edge_index){hint}"
        )
    if edges and not accepted:
        raise InvalidInputError(
            f"{name} takes no edge_weight or edge_attr; omit edges=True, or use another convolution"
        )
    return accepted[0] if edges else None
