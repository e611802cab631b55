"""Class means and metrics, which the prototype-based methods share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.builders import class_node_graph, support_to_query_graph
from graphfew.core.dense_batch import DenseBatch, update_query_edges, weighted_class_means
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.core.support_batch import split_supports
from graphfew.nn.layers import Layers, Metric, class_metric_table, has_product_form, metric_edges
from graphfew.nn.predictors import ClassNodePredictor, FittedContext, unit_length
from graphfew.ops.segment import segment_sum


def class_mean_graph(episode: Episode) -> Graph:
    """Build a graph with one class node per class, the mean of the class's supports.

    Args:
        episode: an encoded episode, `x [N, F]`.

    Returns:
        A graph with nodes `[N + sum(way), F]`, class nodes last, and edges `[E, 1]` equal to 1
        from supports to their class node and from class nodes to the queries of their task.

    Example:
        >>> import torch, graphfew as gf
        >>> x = torch.tensor([[0.0], [2.0], [5.0], [4.0]])
        >>> y = torch.tensor([0, 0, 1, -1])
        >>> episode = gf.Episode.single(x, y, query=y < 0, way=2)
        >>> gf.nn.class_mean_graph(episode).nodes[4:].tolist()
        [[1.0], [5.0]]
    """
    topology = class_node_graph(episode)
    edges = episode.x.new_ones(topology.num_edges, 1)
    return Graph(torch.cat([episode.x, class_means(episode)]), edges, topology, episode)


def unit_class_mean_graph(episode: Episode) -> Graph:
    """Build the `class_mean_graph` of features of length 1.

    Args:
        episode: an encoded episode, `x [N, F]`.

    Returns:
        The graph; its items have length 1, and its class nodes are their means.
    """
    return class_mean_graph(episode.encode(unit_length))


def class_means(context: Episode) -> Float[Tensor, "M F"]:
    """Average the supports of each class.

    Args:
        context: one or several encoded tasks, `x [N, F]`.

    Returns:
        `[sum(way), F]`.
    """
    layout, parts = context.layout, split_supports(context)
    if parts is not None:
        supports, _ = parts
        return torch.bmm(layout.class_weights(supports.dtype), supports).flatten(0, 1)
    # Weights before the sum, which then is no larger than a feature: float16 has a narrow range.
    weight = layout.shots.to(context.x.dtype).reciprocal()
    support_weight = weight.index_select(0, layout.sorted_class)[:, None]
    weighted = context.x.index_select(0, layout.supports_by_class) * support_weight
    return segment_sum(weighted, layout.class_ptr, layout.sorted_class)


def fit_class_means(layers: Layers, context: Episode) -> FittedContext:
    """Fit a method whose only layer is a `ScaledMetric` of class means and queries.

    Args:
        layers: the method's layers.
        context: an encoded task, `x [N, F]`.

    Returns:
        The predictor by the metric to the class means.
    """
    layer = layers[0]
    assert isinstance(layer, ScaledMetric)
    nodes = class_means(context)
    scale = layer.scale.item()
    return FittedContext(ClassNodePredictor(nodes, metric=layer.metric, scale=scale))


def fit_class_nodes(layers: Layers, context: Episode) -> FittedContext:
    """Fit a method of two layers: one that replaces the class nodes, then a `ScaledMetric`.

    Args:
        layers: the method's layers.
        context: an encoded task, `x [N, F]`.

    Returns:
        The predictor by the metric to the class nodes.
    """
    metric = layers[1]
    assert isinstance(metric, ScaledMetric)
    nodes = layers[0](class_mean_graph(context)).nodes[len(context.y) :]
    return FittedContext(ClassNodePredictor(nodes, metric=metric.metric, scale=metric.scale.item()))


def class_mean_logits(layers: Layers, encoded: Episode) -> Float[Tensor, "Q way"] | None:
    """Compute the logits of a method whose only layer is a `ScaledMetric`, without graphs.

    Args:
        layers: the method's layers.
        encoded: tasks with features `[N, F]`.

    Returns:
        `[Q, way]`; None for tasks of different shapes, and for metrics without a closed form.
    """
    layer = layers[0]
    assert isinstance(layer, ScaledMetric)
    parts = split_supports(encoded)
    if parts is None or not has_product_form(layer.metric):
        return None
    supports, queries = parts
    means = torch.bmm(encoded.layout.class_weights(supports.dtype), supports)
    logits: Tensor = layer.scale * class_metric_table(layer.metric, queries, means)
    return logits.flatten(0, 1)


def task_class_means(episode: Episode) -> Float[Tensor, "tasks F"]:
    """Average the class means of each task.

    Args:
        episode: an encoded episode, `x [N, F]`.

    Returns:
        `[n_tasks, F]`; every class of a task has the same weight, whatever its number of supports.
    """
    means = class_means(episode)
    way = episode.layout.common_way
    if way is not None:
        return means.view(-1, way, means.shape[1]).mean(1)
    return task_means(means, episode.way)


def task_means(values: Float[Tensor, "M F"], counts: Sequence[int]) -> Float[Tensor, "T F"]:
    """Average the rows of each task, such as those of its classes or supports.

    Args:
        values: `[sum(counts), F]`, task by task.
        counts: number of rows of each task.

    Returns:
        `[tasks, F]`.
    """
    count = torch.tensor(counts, device=values.device)
    task = torch.repeat_interleave(count, output_size=len(values))
    totals = values.new_zeros(len(counts), values.shape[1]).index_add(0, task, values)
    return totals / count[:, None]


def inner_product_edges(graph: Graph) -> Graph:
    """Set the edges from class nodes to queries to the inner product of both.

    Args:
        graph: a graph of `class_mean_graph`, whose class nodes are weights of a linear classifier.

    Returns:
        The graph with new edges to queries; edges to classes stay.
    """
    return graph.replace(edges=update_query_edges(graph, _inner_products))


def _inner_products(tasks: DenseBatch) -> Tensor:
    assert tasks.class_nodes is not None
    return torch.bmm(tasks.x, tasks.class_nodes.mT)


def support_query_graph(episode: Episode) -> Graph:
    """Build a graph with an edge from every labeled support to every query of its task.

    Args:
        episode: an encoded episode, `x [N, F]`.

    Returns:
        A graph with the episode's nodes `[N, F]` and edges `[E, 1]` equal to 1.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.eye(3), y, query=y < 0, way=2)
        >>> gf.nn.support_query_graph(episode).topology.senders.tolist()
        [0, 1]
    """
    topology = support_to_query_graph(episode)
    edges = episode.x.new_ones(len(topology.receivers), 1)
    return Graph(episode.x, edges, topology, episode)


class ScaledMetric(nn.Module):
    """Layer that sets the edges to a metric of sender and receiver, times a scale.

    Args:
        metric: similarity of row pairs, `([P, F], [P, F]) -> [P, 1]`.
        scale: factor on the metric; with `learn_scale` its initial value.
        learn_scale: whether the scale is trained.

    Example:
        >>> import graphfew as gf
        >>> layer = gf.nn.ScaledMetric(gf.nn.cosine, scale=10.0, learn_scale=True)
        >>> layer.scale.item()
        10.0
    """

    def __init__(self, metric: Metric, scale: float = 1.0, *, learn_scale: bool = False) -> None:
        super().__init__()
        self.metric = metric
        self.scale = nn.Parameter(torch.tensor(float(scale)), requires_grad=learn_scale)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with edges `scale * metric(receiver, sender)`, `[E, 1]`."""
        edges: Tensor = self.scale * metric_edges(graph.topology, self.metric, graph.nodes)
        return graph.replace(edges=edges)


def normalized_support_means(tasks: DenseBatch) -> Float[Tensor, "G way F"]:
    """Average the supports of each class after scaling each support to length 1.

    Args:
        tasks: tasks of one size and way.

    Returns:
        `[G, way, F]`.
    """
    return weighted_class_means(tasks.one_hot, F.normalize(tasks.x, dim=2))
