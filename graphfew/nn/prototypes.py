"""TODO module docstring."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphfew.core.builders import class_node_graph, support_to_query_graph
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.nn.layers import Metric, compare


def class_mean_graph(episode: Episode) -> Graph:
    """Supports to class nodes to queries, every edge 1; class nodes are the mean of their supports."""
    topology = class_node_graph(episode)
    classes = topology.slice_receivers(len(episode.y))
    edges = episode.x.new_ones(len(topology.receivers), 1)
    means = classes.propagate(classes.normalize(edges[: len(classes.receivers)]), episode.x)
    return Graph(torch.cat([episode.x, means]), edges, topology, episode)


def task_class_means(episode: Episode) -> Tensor:
    """`[tasks, F]`: the mean of each task's class means."""
    means = class_mean_graph(episode).nodes[len(episode.y) :]
    way = torch.tensor(episode.way, device=means.device)
    task = torch.repeat_interleave(way)
    return means.new_zeros(episode.n_tasks, means.shape[1]).index_add(0, task, means) / way[:, None]


class ScaledMetric(nn.Module):
    """Edges `[E, 1]` from a metric of their two ends, times a scale that may be learned."""

    def __init__(self, metric: Metric, scale: float = 1.0, *, learn_scale: bool = False) -> None:
        super().__init__()
        self.metric = metric
        self.scale = nn.Parameter(torch.tensor(float(scale)), requires_grad=learn_scale)

    def forward(self, graph: Graph) -> Graph:
        """The graph with edges `scale * metric(receiver, sender)`."""
        edges: Tensor = self.scale * compare(graph.topology, self.metric, graph.nodes)
        return graph.replace(edges=edges)


def support_query_graph(episode: Episode) -> Graph:
    """Every labeled support to every query of its task."""
    topology = support_to_query_graph(episode)
    return Graph(episode.x, episode.x.new_ones(len(topology.receivers), 1), topology, episode)
