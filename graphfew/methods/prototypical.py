"""Prototypical networks: class nodes that are the mean of their supports."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphfew.episode import Episode
from graphfew.graph import Graph, stars
from graphfew.layers import Metric, compare, squared_euclidean
from graphfew.model import Check, GraphMethod
from graphfew.readout import from_classes


def embed(episode: Episode) -> Graph:
    """Supports to class nodes to queries, every edge 1; class nodes are the mean of their supports."""
    topology = stars(episode)
    classes = topology.into(len(episode.y))
    edges = episode.x.new_ones(len(topology.receivers), 1)
    means = classes.propagate(classes.normalize(edges[: len(classes.receivers)]), episode.x)
    return Graph(torch.cat([episode.x, means]), edges, topology, episode)


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


def labelled_only(name: str) -> Check:
    """A check that refuses unlabelled nodes, which the method `name` has no use for."""

    def check(episode: Episode) -> None:
        if any(episode.unlabelled):
            task = next(t for t, n in enumerate(episode.unlabelled) if n)
            raise ValueError(f"{name} got {episode.unlabelled[task]} unlabelled nodes in task {task} and cannot use "
                             f"them; draw tasks with unlabelled=0, or use a method that can (egnn, gnn)")

    return check


def prototypical(encoder: nn.Module, *, dim: int | None = None, metric: Metric = squared_euclidean, scale: float = 1.0,
                 learn_scale: bool = False) -> GraphMethod:
    """Softmax over the similarity of a query to the mean of each class's supports; training way may exceed test way.

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
