"""BD-CSPN: prototypes rectified with pseudo-labeled queries after a shift of the queries."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import (
    DenseBatch,
    query_class_scores,
    update_classes_and_queries,
    weighted_class_means,
)
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Layers
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_means
from graphfew.nn.readout import class_node_logits
from graphfew.nn.soft_assignment import normalized_class_mean_graph
from graphfew.propagation.class_priors import (
    check_prior,
    class_prior,
    estimate_proportions,
    unknown_mask,
)
from graphfew.propagation.feature_transforms import check_center, power_normalize

TINY = 1e-12


class PrototypeRectification:
    """Class nodes as weighted means of supports and pseudo-labeled queries; edges are cosines."""

    def __init__(
        self,
        inv_temperature: float,
        scale: float,
        prior: Sequence[float] | None,
        prior_strength: float,
    ) -> None:
        self.inv_temperature = inv_temperature
        self.scale = scale
        self.prior = prior
        self.prior_strength = prior_strength

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self.rectify)

    def rectify(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        """Return the rectified class nodes `[G, way, F]`, and the logits of all nodes.

        The items must have length 1.
        """
        assert tasks.class_nodes is not None
        is_query = unknown_mask(tasks)
        supports = F.normalize(tasks.class_nodes, dim=2)
        shift = self._shift(tasks, is_query, _products(tasks.x, supports))
        x = torch.addcmul(tasks.x, is_query, shift)
        norm = torch.linalg.vector_norm(x, dim=2, keepdim=True).clamp_min(TINY)
        similarity = _products(x, supports) / norm
        # Hard pseudo-labels: a query joins only the class that it is assigned to.
        nearest = similarity.argmax(2, keepdim=True)
        pseudo_label = torch.zeros_like(similarity).scatter(2, nearest, 1.0)
        membership = tasks.one_hot + pseudo_label * is_query
        weight = (self.inv_temperature * similarity).exp() * membership
        # exp(β cos) favors members that are typical of their class.
        classes = weighted_class_means(weight, x)
        return classes, self.scale * _products(x, F.normalize(classes, dim=2)) / norm

    def _shift(self, tasks: DenseBatch, is_query: Tensor, similarity: Tensor) -> Tensor:
        """Return the shift that aligns the query mean with the support mean, `[G, 1, F]`.

        The support mean is taken under the estimated class proportions of the queries, because
        with imbalanced queries the two means differ even without a domain shift.
        """
        assert tasks.class_nodes is not None
        prior = class_prior(self.prior, tasks.one_hot)
        probs = (self.inv_temperature * similarity).softmax(2) * is_query
        proportions = estimate_proportions(probs, prior, self.prior_strength)
        support_mean = torch.bmm(proportions[:, None], tasks.class_nodes)
        query_mean = torch.bmm(is_query.mT / is_query.sum(1, keepdim=True), tasks.x)
        return support_mean - query_mean


def _products(x: Tensor, classes: Tensor) -> Tensor:
    """Return the inner products of items and classes, `[G, n, way]`."""
    # There are few classes: a wide product is faster than a narrow one.
    return torch.bmm(classes, x.mT).mT


def _query_logits(
    layers: Layers, encoded: Episode, power: float, center: Sequence[float] | None
) -> Tensor | None:
    layer = layers[0]
    assert isinstance(layer, PrototypeRectification)
    normalized = power_normalize(encoded, power, center)
    return query_class_scores(normalized, class_means(normalized), layer.rectify)


@register_method(paper="Liu et al. 2020", inductive=False, transductive=True)
def bd_cspn(
    encoder: nn.Module,
    *,
    dim: int,
    inv_temperature: float = 10.0,
    scale: float = 10.0,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    prior: Sequence[float] | None = None,
    prior_strength: float = 0.0,
) -> GraphMethod:
    """Prototype rectification: queries are shifted onto the supports, then join the class means.

    Formula:
        x_q ← x_q + Σ_k π_k c_k - mean_q x_q,  c_k the mean of class k's supports
        π the estimated class proportions of the queries
        M_k = supports of k, and queries with argmax_c cos(x_q, c) = k
        c_k ← Σ_{i in M_k} a_i x_i / Σ_{i in M_k} a_i,  a_i = exp(β cos(x_i, c_k)),
        β = inv_temperature
        logit_qk = scale · cos(x_q, c_k)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        inv_temperature: inverse temperature β of the member weights.
        scale: factor on the cosines in the logits; it does not change predictions.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task.
        prior: class proportions of the queries; None means uniform.
        prior_strength: pseudo-count per class of the prior when the query proportions are
            estimated for the shift; infinity fixes them to the prior, as the paper does.

    Returns:
        A transductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if the prior is not positive, `prior_strength` is negative or `center`
            has the wrong length; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("bd_cspn", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Liu, Song, Qin, 2020, Prototype Rectification for Few-Shot Learning.

    Deviations:
        The queries are shifted to the support mean under estimated class proportions (uniform ones
        in the paper), and the shifted queries are the ones that are classified.
    """
    check_prior(prior, prior_strength)
    check_center(center, dim)
    return GraphMethod(
        encoder,
        normalized_class_mean_graph(power, center),
        [PrototypeRectification(inv_temperature, scale, prior, prior_strength)],
        class_node_logits,
        check=require_labeled("bd_cspn"),
        query_logits=functools.partial(_query_logits, power=power, center=center),
    )
