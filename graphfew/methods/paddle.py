"""PADDLE: class nodes and class proportions by expectation maximization."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from graphfew.core.dense_batch import (
    DenseBatch,
    class_softmax,
    scale_sharpness,
    update_classes_and_queries,
    weighted_class_means,
)
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import class_node_logits
from graphfew.nn.soft_assignment import support_centered_class_mean_graph
from graphfew.propagation.affinity import squared_distances
from graphfew.propagation.class_priors import unknown_mask
from graphfew.propagation.feature_transforms import check_center

EPSILON = 1e-6


class ProportionPenalty:
    """Class nodes and soft assignments that trade the distances against the number of classes.

    Edges to queries are the logits of the last assignment.
    """

    def __init__(self, inv_temperature: float, prior_weight: float, num_iterations: int) -> None:
        self.inv_temperature = inv_temperature
        self.prior_weight = prior_weight
        self.num_iterations = num_iterations

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self._update)

    def _update(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        class_nodes = tasks.class_nodes
        is_unknown = unknown_mask(tasks)
        n_unknown = is_unknown.sum(1, keepdim=True)
        beta = self.inv_temperature
        prior_weight = scale_sharpness(self.prior_weight, class_nodes.shape[1])
        # The first assignment has no proportions to be weighted with.
        logits = -beta * squared_distances(class_nodes, tasks.x).mT
        for _ in range(self.num_iterations):
            assignment = class_softmax(logits) * is_unknown
            proportions = assignment.sum(1, keepdim=True) / n_unknown
            # A class without queries keeps the mean of its supports, because these count fully.
            class_nodes = weighted_class_means(assignment + tasks.one_hot, tasks.x)
            log_prior = prior_weight * (proportions + EPSILON).log()
            logits = log_prior - beta * squared_distances(class_nodes, tasks.x).mT
        return class_nodes, logits


@register_method(paper="Martin et al. 2022", inductive=False, transductive=True, unlabeled=True)
def paddle(
    encoder: nn.Module,
    *,
    dim: int,
    inv_temperature: float = 35.0,
    prior_weight: float = 0.8,
    num_iterations: int = 20,
    power: float = 1.0,
    center: Sequence[float] | None = None,
) -> GraphMethod:
    """Minimum description length: soft assignments that prefer few classes, and class means.

    For queries of few of the task's classes; neither their number nor their proportions are given.

    Formula:
        u_q = softmax_k(-β ‖x_q - w_k‖² + λ log π_k),  π_k = mean_q u_qk
        w_k = (Σ_{y_i = k} x_i + Σ_q u_qk x_q) / (K_k + Σ_q u_qk),  initially the supports' mean
        u, π and w in turn, num_iterations times, the first u without π;  logit_qk = log u_qk
        β = inv_temperature,  λ = prior_weight · log(way) / log 5

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        inv_temperature: factor on the squared distance.
        prior_weight: weight of the log-proportions for 5 classes; it grows with the logarithm of
            the way, because more absent classes compete for each query. λ = 1 gives the
            maximum-likelihood estimate of a mixture, larger values use fewer classes, and 0
            ignores the proportions.
        num_iterations: iterations of assignment and update.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task's supports.

    Returns:
        A transductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `inv_temperature` is not positive, `prior_weight` is negative,
            `num_iterations` is below 1 or `center` has the wrong length.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("paddle", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Martin, Boudiaf, Chouzenoux, Pesquet, Ben Ayed, 2022, Towards Practical Few-Shot Query Sets:
        Transductive Minimum Description Length Inference.

    Deviations:
        Features are centered on the supports' mean and normalized to length 1, with an inverse
        temperature (the published code divides raw features by their range over the queries). The
        prior's weight is relative to the number of queries and grows with the way (λ = 1 in the
        published code). Both were chosen on Omniglot, CIFAR-FS validation classes, MNIST pixels,
        CIFAR-100 superclasses and two sets of sentences, at 7 to 100 ways; a few tasks of CLINC150
        were seen while the growth with the way was chosen. 20 iterations (100). Unlabeled nodes are
        assigned like queries.
    """
    if not inv_temperature > 0:
        raise InvalidInputError(f"inv_temperature must be positive, got {inv_temperature}")
    if not prior_weight >= 0:
        raise InvalidInputError(f"prior_weight must be at least 0, got {prior_weight}")
    if num_iterations < 1:
        raise InvalidInputError(f"num_iterations must be at least 1, got {num_iterations}")
    check_center(center, dim)
    return GraphMethod(
        encoder,
        support_centered_class_mean_graph(power, center),
        [ProportionPenalty(inv_temperature, prior_weight, num_iterations)],
        class_node_logits,
    )
