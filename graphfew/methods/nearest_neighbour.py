"""Nearest neighbour: the class of the most similar support."""

from __future__ import annotations

import torch
from torch import nn

from graphfew.checks import labelled_only
from graphfew.episode import Episode
from graphfew.graph import Graph
from graphfew.layers import Metric, squared_euclidean
from graphfew.methods.prototypical import Compare
from graphfew.model import GraphMethod
from graphfew.readout import nearest
from graphfew.topologies import supports_to_queries


def embed(episode: Episode) -> Graph:
    """Every labelled support to every query of its task."""
    topology = supports_to_queries(episode)
    return Graph(episode.x, episode.x.new_ones(len(topology.receivers), 1), topology, episode)


def flatten_items(episode: Episode) -> Graph:
    """`embed` of items flattened to rows, so that pixels are features."""
    return embed(episode.encode(lambda x: torch.flatten(x, 1)))


def nearest_neighbour(encoder: nn.Module, *, dim: int | None = None, metric: Metric = squared_euclidean) -> GraphMethod:
    """The class of the nearest support; on pixels (`identity` encoder) the field's usual floor. Needs no training.

    Formula:
        logit_qk = max_{y_i = k} s(x_q, x_i),  s(a, b) = -‖a - b‖²

    Args:
        encoder: `[N, ...] -> [N, ...]`; its output is flattened.
        dim: unused; every method takes it.
        metric: similarity `([P, F], [P, F]) -> [P, 1]`.

    Raises:
        ValueError: a task with unlabelled nodes.

    Source: Cover, Hart, 1967, Nearest Neighbor Pattern Classification.

    Deviations: none; the logits are the similarity to the nearest support of each class.
    """
    del dim
    return GraphMethod(encoder, flatten_items, [Compare(metric)], nearest, transductive=False, independent=True,
                       check=labelled_only("nearest_neighbour"))
