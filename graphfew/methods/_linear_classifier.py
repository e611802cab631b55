"""The graph method around a linear classifier that is fitted to each task."""

from __future__ import annotations

from torch import nn

from graphfew.nn.linear_classifier import (
    LinearClassifier,
    fit_linear_classifier,
    linear_query_logits,
)
from graphfew.nn.method import Check, GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits


def linear_classifier_method(
    encoder: nn.Module, layer: LinearClassifier, check: Check
) -> GraphMethod:
    """Return the inductive method whose only layer fits a linear classifier."""
    return GraphMethod(
        encoder,
        class_mean_graph,
        [layer],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=check,
        fit_context=fit_linear_classifier,
        query_logits=linear_query_logits,
    )
