"""EM-Dirichlet: a mixture of Dirichlet distributions over class probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import (
    DenseBatch,
    class_softmax,
    scale_sharpness,
    update_classes_and_queries,
)
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import class_node_logits
from graphfew.nn.soft_assignment import support_centered_class_mean_graph
from graphfew.propagation.class_priors import unknown_mask
from graphfew.propagation.feature_transforms import check_center

EPSILON = 1e-15
# Below this value the curvature of the bound is that at 0, π² / 6.
SMALL_ALPHA = 1e-11
ZERO_CURVATURE = torch.pi**2 / 6


class DirichletMixture:
    """Dirichlet parameters per class and assignments of the queries, in turn.

    Edges to queries are the logits of the last assignment.
    """

    def __init__(
        self,
        inv_temperature: float,
        prior_weight: float,
        concentration_penalty: float,
        num_iterations: int,
        mm_steps: int,
        *,
        hard: bool,
    ) -> None:
        self.inv_temperature = inv_temperature
        self.prior_weight = prior_weight
        self.concentration_penalty = concentration_penalty
        self.num_iterations = num_iterations
        self.mm_steps = mm_steps
        self.hard = hard

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with new edges to queries."""
        return update_classes_and_queries(graph, self._update)

    def _update(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        # Log-gamma functions of large parameters nearly cancel, so everything is float64.
        log_probs = similarity_log_probs(tasks, self.inv_temperature)
        one_hot = tasks.one_hot.double()
        is_unknown = unknown_mask(tasks).double()
        groups, _, way = log_probs.shape
        assignment = log_probs.exp() * is_unknown
        alpha = log_probs.new_ones(groups, way, way)
        for _ in range(self.num_iterations):
            weight = one_hot + assignment
            total = weight.sum(1)[..., None]
            # The penalty on the concentration is a constant shift of the mean log-probabilities.
            mean_log = (torch.bmm(weight.mT, log_probs) - self.concentration_penalty) / total
            alpha = fit_dirichlet(mean_log, alpha, self.mm_steps)
            log_prior = self._log_prior(assignment, is_unknown)
            logits = log_prior + dirichlet_log_density(log_probs, alpha)
            if self.hard:
                assignment = F.one_hot(logits.argmax(2), way) * is_unknown
            else:
                assignment = class_softmax(logits) * is_unknown
        return tasks.class_nodes, logits.to(tasks.x.dtype)

    def _log_prior(self, assignment: Tensor, is_unknown: Tensor) -> Tensor:
        """Return the weighted log-proportions, `[G, 1, way]`."""
        proportions = assignment.sum(1, keepdim=True) / is_unknown.sum(1, keepdim=True)
        log_proportions = (proportions + EPSILON).log()
        entropy = -(proportions * log_proportions).sum(2, keepdim=True)
        # exp(entropy) is the number of equally large classes with the same entropy.
        factor = proportions.shape[2] / entropy.exp()
        return self.prior_weight * factor * log_proportions


def similarity_log_probs(tasks: DenseBatch, inv_temperature: float) -> Tensor:
    """Return log-probabilities of the classes by cosine to their support means, `[G, n, way]`.

    A support is part of the mean of its own class, which would make its probabilities nearly
    one-hot, unlike those of any query. It is compared with the mean of the others of its class; if
    it is the only one, its similarity is the queries' average similarity to their nearest class.
    """
    x = F.normalize(tasks.x.double(), dim=2)
    one_hot = tasks.one_hot.double()
    class_sums = torch.bmm(one_hot.mT, tasks.x.double())
    similarity = torch.bmm(x, F.normalize(class_sums, dim=2).mT)

    is_unknown = unknown_mask(tasks).double()
    nearest = similarity.amax(2, keepdim=True) * is_unknown
    mean_nearest = nearest.sum(1, keepdim=True) / is_unknown.sum(1, keepdim=True)
    others_sum = torch.bmm(one_hot, class_sums) - tasks.x.double()
    to_others = (x * F.normalize(others_sum, dim=2)).sum(2, keepdim=True)
    shots = torch.bmm(one_hot, one_hot.sum(1)[..., None])
    own_similarity = torch.where(shots > 1, to_others, mean_nearest)
    similarity = torch.where(one_hot > 0, own_similarity, similarity)
    return (scale_sharpness(inv_temperature, one_hot.shape[2]) * similarity).log_softmax(2)


def fit_dirichlet(mean_log: Tensor, alpha: Tensor, steps: int) -> Tensor:
    """Improve Dirichlet parameters by steps of minorization and maximization.

    Every step increases the likelihood `lnΓ(Σ_j α_j) - Σ_j lnΓ(α_j) + Σ_j α_j m_j`.

    Args:
        mean_log: mean log-probabilities m, `[..., N]`.
        alpha: initial parameters, `[..., N]`.
        steps: number of steps.

    Returns:
        The parameters, `[..., N]`.
    """
    for _ in range(steps):
        digamma = torch.digamma(alpha + 1)
        gap = 2 * (digamma * alpha - torch.lgamma(alpha + 1)).abs()
        curvature = torch.where(alpha > SMALL_ALPHA, gap / alpha.square(), ZERO_CURVATURE)
        total = alpha.sum(-1, keepdim=True)
        slope = digamma - torch.digamma(total) - curvature * alpha - mean_log
        root = (slope.square() + 4 * curvature).sqrt()
        alpha = (root - slope) / (2 * curvature)
    return alpha


def dirichlet_log_density(log_probs: Tensor, alpha: Tensor) -> Tensor:
    """Return `log Dir(z_i; α_k)` of log-probabilities `[G, n, N]`, `[G, n, way]`."""
    constant = torch.lgamma(alpha.sum(2)) - torch.lgamma(alpha).sum(2)
    return torch.bmm(log_probs, (alpha - 1).mT) + constant[:, None]


def build(
    encoder: nn.Module,
    dim: int,
    layer: DirichletMixture,
    power: float,
    center: Sequence[float] | None,
) -> GraphMethod:
    """Check the arguments and build the method from its layer."""
    if not layer.inv_temperature > 0:
        raise InvalidInputError(f"inv_temperature must be positive, got {layer.inv_temperature}")
    for name in ("prior_weight", "concentration_penalty"):
        value = getattr(layer, name)
        if not value >= 0:
            raise InvalidInputError(f"{name} must be at least 0, got {value}")
    for name in ("num_iterations", "mm_steps"):
        value = getattr(layer, name)
        if value < 1:
            raise InvalidInputError(f"{name} must be at least 1, got {value}")
    check_center(center, dim)
    return GraphMethod(
        encoder, support_centered_class_mean_graph(power, center), [layer], class_node_logits
    )


@register_method(paper="Martin et al. 2024", inductive=False, transductive=True, unlabeled=True)
def em_dirichlet(
    encoder: nn.Module,
    *,
    dim: int,
    inv_temperature: float = 20.0,
    prior_weight: float = 1.0,
    concentration_penalty: float = 1.0,
    num_iterations: int = 10,
    mm_steps: int = 30,
    power: float = 1.0,
    center: Sequence[float] | None = None,
) -> GraphMethod:
    """EM-Dirichlet: clusters of class probabilities, each a Dirichlet distribution.

    For queries of few of the task's classes; neither their number nor their proportions are given.

    Formula:
        z_i = softmax_k(τ cos(x_i, c_k)),  c_k the mean of class k's supports
        α_k maximizes Σ_{y_i = k} log Dir(z_i; α) + Σ_q u_qk log Dir(z_q; α) - ρ Σ_j α_j
        u_q = softmax_k(log Dir(z_q; α_k) + λ (way / n) log π_k),  π_k = mean_q u_qk
        n = exp(-Σ_k π_k log π_k), the effective number of classes among the queries
        α, π and u in turn, num_iterations times, from u = z;  logit_qk = log u_qk
        τ = inv_temperature · log(way) / log 5,  λ = prior_weight,  ρ = concentration_penalty

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        inv_temperature: inverse temperature τ of the class probabilities for 5 classes; it grows
            with the logarithm of the way.
        prior_weight: weight λ of the log-proportions; larger values use fewer classes.
        concentration_penalty: weight ρ of the parameters' sum. Without it the parameters of a
            class with a single item grow with every step.
        num_iterations: iterations of parameters and assignment.
        mm_steps: steps of minorization and maximization for the parameters, per iteration.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task's supports.

    Returns:
        A transductive `GraphMethod` with logits `[Q, way]`. It needs no training. Memory and time
        grow with the square of the way.

    Raises:
        InvalidInputError: if `inv_temperature` is not positive, `prior_weight` or
            `concentration_penalty` is negative, `num_iterations` or `mm_steps` is below 1, or
            `center` has the wrong length.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("em_dirichlet", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Martin, Huang, Shakeri, Pesquet, Ben Ayed, 2024, Transductive Zero-Shot and Few-Shot CLIP.

    Deviations:
        Probabilities come from the support means (texts in the paper), without a support in its own
        mean. The weight of the log-proportions is relative to the estimated number of classes among
        the queries (the published code is given the true number). The parameters are penalized and
        found with a fixed number of steps (up to 1,000 in the published code, which stops all tasks
        of a batch together). 10 iterations (20). Unlabeled nodes are assigned like queries.
    """
    layer = DirichletMixture(
        inv_temperature, prior_weight, concentration_penalty, num_iterations, mm_steps, hard=False
    )
    return build(encoder, dim, layer, power, center)


@register_method(paper="Martin et al. 2024", inductive=False, transductive=True, unlabeled=True)
def hard_em_dirichlet(
    encoder: nn.Module,
    *,
    dim: int,
    inv_temperature: float = 20.0,
    prior_weight: float = 1.0,
    concentration_penalty: float = 1.0,
    num_iterations: int = 10,
    mm_steps: int = 30,
    power: float = 1.0,
    center: Sequence[float] | None = None,
) -> GraphMethod:
    """Hard EM-Dirichlet: `em_dirichlet` with every query assigned to its most probable class.

    Formula:
        z, α and π as in `em_dirichlet`
        s_qk = log Dir(z_q; α_k) + λ (way / n) log π_k,  u_qk = 1 for k = argmax_k s_qk, else 0
        α, π and u in turn, num_iterations times, from u = z;  logit_qk = s_qk

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        inv_temperature: inverse temperature of the class probabilities for 5 classes; it grows
            with the logarithm of the way.
        prior_weight: weight λ of the log-proportions; larger values use fewer classes.
        concentration_penalty: weight of the parameters' sum.
        num_iterations: iterations of parameters and assignment.
        mm_steps: steps of minorization and maximization for the parameters, per iteration.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task's supports.

    Returns:
        A transductive `GraphMethod` with logits `[Q, way]`. It needs no training. Memory and time
        grow with the square of the way.

    Raises:
        InvalidInputError: for the arguments that `em_dirichlet` rejects.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("hard_em_dirichlet", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Martin, Huang, Shakeri, Pesquet, Ben Ayed, 2024, Transductive Zero-Shot and Few-Shot CLIP.

    Deviations:
        Those of `em_dirichlet`.
    """
    layer = DirichletMixture(
        inv_temperature, prior_weight, concentration_penalty, num_iterations, mm_steps, hard=True
    )
    return build(encoder, dim, layer, power, center)
