"""Nearest neighbor: the class of the most similar support."""

from __future__ import annotations

import torch
from torch import nn

from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Metric, squared_euclidean
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import ScaledMetric, support_query_graph
from graphfew.nn.readout import nearest_support_logits


def flatten_items(episode: Episode) -> Graph:
    """`embed` of items flattened to rows, so that pixels are features."""
    return support_query_graph(episode.encode(lambda x: torch.flatten(x, 1)))


@register_method(paper="Cover, Hart 1967")
def nearest_neighbor(
    encoder: nn.Module, *, dim: int | None = None, metric: Metric = squared_euclidean
) -> GraphMethod:
    """The class of the nearest support; on pixels (`identity` encoder) the field's usual floor. Needs no training.

    Formula:
        logit_qk = max_{y_i = k} s(x_q, x_i),  s(a, b) = -‖a - b‖²

    Args:
        encoder: `[N, ...] -> [N, ...]`; its output is flattened.
        dim: unused; every method takes it.
        metric: similarity `([P, F], [P, F]) -> [P, 1]`.

    Raises:
        ValueError: a task with unlabeled nodes.

    Source: Cover, Hart, 1967, Nearest Neighbor Pattern Classification.

    Deviations: none; the logits are the similarity to the nearest support of each class.
    """
    del dim
    return GraphMethod(
        encoder,
        flatten_items,
        [ScaledMetric(metric)],
        nearest_support_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("nearest_neighbor"),
    )
