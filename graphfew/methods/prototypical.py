"""Prototypical networks: class nodes that are the mean of their supports."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphfew.checks import labelled_only
from graphfew.episode import Episode
from graphfew.graph import Graph
from graphfew.layers import Metric, compare, squared_euclidean
from graphfew.model import GraphMethod
from graphfew.readout import from_classes
from graphfew.topologies import stars


def embed(episode: Episode) -> Graph:
    """Supports to class nodes to queries, every edge 1; class nodes are the mean of their supports."""
    topology = stars(episode)
    classes = topology.into(len(episode.y))
    edges = episode.x.new_ones(len(topology.receivers), 1)
    means = classes.propagate(classes.normalize(edges[: len(classes.receivers)]), episode.x)
    return Graph(torch.cat([episode.x, means]), edges, topology, episode)


def task_means(episode: Episode) -> Tensor:
    """`[tasks, F]`: the mean of each task's class means."""
    means = embed(episode).nodes[len(episode.y):]
    way = torch.tensor(episode.way, device=means.device)
    task = torch.repeat_interleave(way)
    return means.new_zeros(episode.tasks, means.shape[1]).index_add(0, task, means) / way[:, None]


class Compare(nn.Module):
    """Edges `[E, 1]` from a metric of their two ends, times a scale that may be learned."""

    def __init__(self, metric: Metric, scale: float = 1.0, *, learn_scale: bool = False) -> None:
        super().__init__()
        self.metric = metric
        self.scale = nn.Parameter(torch.tensor(float(scale)), requires_grad=learn_scale)

    def forward(self, graph: Graph) -> Graph:
        """The graph with edges `scale * metric(receiver, sender)`."""
        edges: Tensor = self.scale * compare(graph.topology, self.metric, graph.nodes)
        return graph.replace(edges=edges)


def prototypical(encoder: nn.Module, *, dim: int | None = None, metric: Metric = squared_euclidean, scale: float = 1.0,
                 learn_scale: bool = False) -> GraphMethod:
    """Softmax over the similarity of a query to the mean of each class's supports; training way may exceed test way.

    Formula:
        c_k = mean_{y_i = k} x_i
        logit_qk = scale · s(x_q, c_k),  s(a, b) = -‖a - b‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: unused; every method takes it.
        metric: `squared_euclidean` (the paper's choice) or `cosine`, or any similarity `([P, F], [P, F]) -> [P, 1]`.
        scale: factor on the similarity; cosine needs one of about 10.
        learn_scale: train the factor.

    Raises:
        ValueError: a task with unlabelled nodes.

    Source: Snell, Swersky, Zemel, 2017, Prototypical Networks for Few-shot Learning; the learned scale: Oreshkin,
    Rodríguez, Lacoste, 2018, TADAM.

    Deviations: none.
    """
    del dim
    layers = [Compare(metric, scale, learn_scale=learn_scale)]
    return GraphMethod(encoder, embed, layers, from_classes, transductive=False, independent=True,
                       check=labelled_only("prototypical"))
