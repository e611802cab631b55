"""BD-CSPN: class nodes rectified by the queries that look most like them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, update_classes_and_queries, weighted_class_means
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import class_node_logits
from graphfew.nn.soft_assignment import normalized_class_mean_graph
from graphfew.propagation.class_priors import (
    check_prior,
    class_prior,
    estimate_proportions,
    unknown_mask,
)
from graphfew.propagation.feature_transforms import check_center


class Rectify:
    """Class nodes as weighted means of supports and of the queries nearest to them by cosine; edges are cosines."""

    def __init__(
        self, sharpness: float, scale: float, prior: Sequence[float] | None, strength: float
    ) -> None:
        self.sharpness = sharpness
        self.scale = scale
        self.prior = prior
        self.strength = strength

    def __call__(self, graph: Graph) -> Graph:
        """The graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self._rectify)

    def _rectify(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        x = tasks.x + unknown_mask(tasks) * self._shift(tasks)
        near = self._cosines(x, tasks.class_nodes)
        known = tasks.labeled[..., None]
        answer = F.one_hot(near.argmax(2), near.shape[2]).to(x.dtype)
        members = torch.where(known, tasks.one_hot, answer)
        weight = (self.sharpness * near).exp() * members
        classes = weighted_class_means(weight, x)
        return classes, self.scale * self._cosines(x, classes)

    def _shift(self, tasks: DenseBatch) -> Tensor:
        """`[G, 1, F]`: what takes the queries' mean to where supports of the same proportions have theirs."""
        assert tasks.class_nodes is not None
        counted, prior = unknown_mask(tasks), class_prior(self.prior, tasks.one_hot)
        shares = (self.sharpness * self._cosines(tasks.x, tasks.class_nodes)).softmax(2) * counted
        expected = torch.bmm(
            estimate_proportions(shares, prior, self.strength)[:, None], tasks.class_nodes
        )
        return expected - (tasks.x * counted).sum(1, keepdim=True) / counted.sum(1, keepdim=True)

    def _cosines(self, x: Tensor, classes: Tensor) -> Tensor:
        return torch.bmm(F.normalize(x, dim=2), F.normalize(classes, dim=2).mT)


@register_method(paper="Liu et al. 2020", inductive=False, transductive=True)
def bd_cspn(
    encoder: nn.Module,
    *,
    dim: int,
    sharpness: float = 10.0,
    scale: float = 10.0,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    prior: Sequence[float] | None = None,
    strength: float = 0.0,
) -> GraphMethod:
    """Queries are shifted onto the supports, then class nodes take in the queries that are theirs. Needs no training.

    Formula:
        x_q ← x_q + Σ_k π_k c_k - mean_q x_q,  c_k the mean of class k's supports, π the queries' estimated proportions
        M_k = supports of k, and queries for which k is argmax_c cos(x_q, c)
        c_k ← Σ_{i in M_k} a_i x_i / Σ_{i in M_k} a_i,  a_i = exp(sharpness · cos(x_i, c_k))
        logit_qk = scale · cos(x_q, c_k)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        sharpness: of the weights `exp(sharpness cos)` of a class's members.
        scale: factor on the cosines that are the logits; it changes no answer.
        power, center: of the features, see `graphfew.propagation.feature_transforms.power_normalize`.
        prior: proportions of the classes among the queries; None takes them as even.
        strength: for how many queries of each class the prior counts when the proportions are estimated, for the shift;
            infinity is the paper's assumption that the queries are divided as the prior says.

    Raises:
        ValueError: proportions that are not positive, a negative strength, or a center that does not fit; later, a task
            with unlabeled nodes.

    Source: Liu, Song, Qin, 2020, Prototype Rectification for Few-Shot Learning.

    Deviations: the shift is to the class nodes' mean under estimated proportions (theirs under even ones); queries are
    compared in their shifted place.
    """
    check_prior(prior, strength)
    check_center(center, dim)
    return GraphMethod(
        encoder,
        normalized_class_mean_graph(power, center),
        [Rectify(sharpness, scale, prior, strength)],
        class_node_logits,
        check=require_labeled("bd_cspn"),
    )
