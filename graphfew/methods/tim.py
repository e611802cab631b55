"""TIM: class nodes that maximize the mutual information of queries and predictions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, class_softmax, update_classes_and_queries
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import class_node_logits
from graphfew.nn.soft_assignment import normalized_class_mean_graph
from graphfew.propagation.affinity import squared_distances
from graphfew.propagation.class_priors import (
    check_prior,
    class_prior,
    estimate_proportions,
    unknown_mask,
)
from graphfew.propagation.feature_transforms import check_center

EPSILON = 1e-12
EntropyGradient = Callable[[Tensor], Tensor]
ClassProportions = Callable[[DenseBatch, Tensor], Tensor]


def shannon_gradient(p: Tensor) -> Tensor:
    """Derivative of the entropy `-Σ p log p` with respect to `p`, up to a constant."""
    return -p.clamp_min(EPSILON).log()


def alpha_gradient(alpha: float) -> EntropyGradient:
    """Return the derivative of the α-entropy `(1 - Σ p^α) / (α - 1)` with respect to `p`."""
    return lambda p: -alpha / (alpha - 1) * p.clamp_min(EPSILON).pow(alpha - 1)


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weights of the three terms of the objective.

    Attributes:
        support: weight of the supports' cross-entropy.
        marginal: weight of the entropy of the queries' mean prediction.
        conditional: weight of the mean entropy of the queries' predictions.
    """

    support: float
    marginal: float
    conditional: float


class InformationMaximization:
    """Class nodes by Adam on `a CE(supports) - b H(mean prediction) + c mean H(prediction)`.

    Edges to queries are the final logits. With `target`, the mean prediction's cross-entropy with
    the target proportions is subtracted from its entropy, which gives a KL divergence.
    """

    def __init__(
        self,
        weights: LossWeights,
        entropy_gradient: EntropyGradient,
        temperature: float,
        steps: int,
        lr: float,
        target: ClassProportions | None,
    ) -> None:
        self.weights = weights
        self.entropy_gradient = entropy_gradient
        self.temperature = temperature
        self.steps = steps
        self.lr = lr
        self.target = target

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self._optimize)

    def _optimize(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        w = tasks.class_nodes
        target = None
        if self.target is not None:
            target = self.target(tasks, class_softmax(self._logits(tasks, w)))
        # Adam as a plain function of tensors, so that training can differentiate through the steps
        # and every task of the batch has its own state.
        first_moment = second_moment = torch.zeros_like(w)
        for step in range(1, self.steps + 1):
            gradient = self._gradient(tasks, w, target)
            first_moment = 0.9 * first_moment + 0.1 * gradient
            second_moment = 0.999 * second_moment + 0.001 * gradient.square()
            direction = first_moment / (1 - 0.9**step)
            deviation = (second_moment / (1 - 0.999**step)).sqrt()
            w = w - self.lr * direction / (deviation + 1e-8)
        return w, self._logits(tasks, w)

    def _logits(self, tasks: DenseBatch, w: Tensor) -> Tensor:
        return -self.temperature / 2 * squared_distances(w, tasks.x).mT

    def _gradient(self, tasks: DenseBatch, w: Tensor, target: Tensor | None) -> Tensor:
        """Return the gradient of the objective with respect to `w`, `[G, way, F]`.

        It is written by hand, because predictions usually run under `torch.no_grad`.
        """
        p = class_softmax(self._logits(tasks, w))
        is_query = unknown_mask(tasks)
        is_support = 1 - is_query
        n_queries = is_query.sum(1, keepdim=True)
        n_supports = is_support.sum(1, keepdim=True)

        mean_p = (p * is_query).sum(1, keepdim=True) / n_queries
        marginal = self.entropy_gradient(mean_p)
        if target is not None:
            marginal = marginal - self.entropy_gradient(target[:, None])
        conditional = self.entropy_gradient(p)
        p_gradient = self.weights.conditional * conditional - self.weights.marginal * marginal
        p_gradient = p_gradient * is_query / n_queries
        # Softmax Jacobian of the query terms, then the cross-entropy of the supports.
        logit_gradient = p * (p_gradient - (p * p_gradient).sum(2, keepdim=True))
        support_gradient = self.weights.support * (p * is_support - tasks.one_hot) / n_supports
        logit_gradient = logit_gradient + support_gradient
        # d logit_ik / d w_k = τ (x_i - w_k).
        x_term = torch.bmm(logit_gradient.mT, tasks.x)
        w_term = logit_gradient.sum(1)[..., None] * w
        return self.temperature * (x_term - w_term)


def proportions_from_predictions(
    prior: Sequence[float] | None, prior_strength: float
) -> ClassProportions:
    """Return the target of the mean prediction: proportions of the first predictions and the prior.

    The returned function maps tasks and class probabilities `[G, n, way]` to `[G, way]`.
    """

    def target(tasks: DenseBatch, probs: Tensor) -> Tensor:
        query_probs = probs * unknown_mask(tasks)
        return estimate_proportions(query_probs, class_prior(prior, tasks.one_hot), prior_strength)

    return target


@register_method(paper="Boudiaf et al. 2020", inductive=False, transductive=True)
def tim(
    encoder: nn.Module,
    *,
    dim: int,
    steps: int = 100,
    lr: float = 1e-3,
    temperature: float = 15.0,
    support_weight: float = 0.1,
    marginal_weight: float = 0.3,
    conditional_weight: float = 0.3,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    prior: Sequence[float] | None = None,
    balanced: bool = False,
    prior_strength: float = 0.0,
) -> GraphMethod:
    """Transductive information maximization: confident predictions with expected proportions.

    Formula:
        logit_ik = -τ/2 ‖x_i - w_k‖²,  p_i = softmax_k(logit_i),  τ = temperature
        w_k initially the mean of class k's supports
        w ← Adam on  a · mean_supports CE(p_i, y_i) + b · KL(mean_q p_q, π) + c · mean_q H(p_q)
        a, b, c = support_weight, marginal_weight, conditional_weight,  H(p) = -Σ_k p_k log p_k
        π_k ∝ Σ_q p_qk + prior_strength · way · prior_k, of the first p;  with balanced, π = prior

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        steps: steps of Adam.
        lr: learning rate of Adam.
        temperature: factor τ on half the squared distance.
        support_weight: weight of the supports' cross-entropy.
        marginal_weight: weight of the divergence of the mean prediction from the expected
            proportions.
        conditional_weight: weight of the mean entropy of predictions.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task.
        prior: class proportions of the queries; None means uniform.
        balanced: the queries have exactly the proportions of the prior, as the paper assumes.
            Otherwise the expected proportions are those of the first predictions, by the nearest
            class mean.
        prior_strength: pseudo-count per class of the prior in that estimate.

    Returns:
        A transductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `steps` is below 1, the prior is not positive, `prior_strength` is negative
            or `center` has the wrong length; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("tim", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Boudiaf, Masud, Rony, Dolz, Piantanida, Ben Ayed, 2020, Transductive Information
        Maximization for Few-Shot Learning.

    Deviations:
        The expected proportions are estimated by default (uniform in the paper), with weights
        chosen for this on the validation classes of CIFAR-FS (0.1, 1 and 0.1 in the paper). 100
        steps at 0.001 (1,000 at 0.0001 in the paper, which is the same
        total distance). Features are centered on the
        task's own mean.
    """
    check_prior(prior, prior_strength)
    # An infinite pseudo-count fixes the proportions to the prior.
    target = proportions_from_predictions(prior, math.inf if balanced else prior_strength)
    weights = LossWeights(support_weight, marginal_weight, conditional_weight)
    layer = InformationMaximization(weights, shannon_gradient, temperature, steps, lr, target)
    return _create("tim", encoder, dim, layer, power, center)


@register_method(paper="Veilleux et al. 2021", inductive=False, transductive=True)
def alpha_tim(
    encoder: nn.Module,
    *,
    dim: int,
    alpha: float = 2.0,
    steps: int = 100,
    lr: float = 1e-3,
    temperature: float = 15.0,
    support_weight: float = 1.0,
    marginal_weight: float = 1.0,
    conditional_weight: float = 1.0,
    power: float = 1.0,
    center: Sequence[float] | None = None,
) -> GraphMethod:
    """TIM with α-entropies, which penalize imbalanced predictions less, for imbalanced queries.

    Formula:
        logit_ik = -τ/2 ‖x_i - w_k‖²,  p_i = softmax_k(logit_i),  τ = temperature
        w_k initially the mean of class k's supports
        w ← Adam on  a · mean_supports CE(p_i, y_i) - b · H_α(mean_q p_q) + c · mean_q H_α(p_q)
        a, b, c = support_weight, marginal_weight, conditional_weight
        H_α(p) = (1 - Σ_k p_k^α) / (α - 1)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        alpha: order of the entropies, not 1; the paper uses 2 for one shot and 7 for five or more.
        steps: steps of Adam.
        lr: learning rate of Adam.
        temperature: factor τ on half the squared distance.
        support_weight: weight of the supports' cross-entropy.
        marginal_weight: weight of the α-entropy of the mean prediction.
        conditional_weight: weight of the mean α-entropy of predictions.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task.

    Returns:
        A transductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `alpha` is not positive or is 1, `steps` is below 1 or `center` has the wrong
            length; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("alpha_tim", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Veilleux, Boudiaf, Piantanida, Ben Ayed, 2021, Realistic Evaluation of Transductive Few-Shot
        Learning.

    Deviations:
        100 steps at 0.001 (1,000 at 0.0001 in the paper). Features are centered on the task's own
        mean.
    """
    if not alpha > 0 or alpha == 1:
        raise InvalidInputError(f"alpha must be positive and not 1 (use tim for 1), got {alpha}")
    weights = LossWeights(support_weight, marginal_weight, conditional_weight)
    layer = InformationMaximization(weights, alpha_gradient(alpha), temperature, steps, lr, None)
    return _create("alpha_tim", encoder, dim, layer, power, center)


def _create(
    name: str,
    encoder: nn.Module,
    dim: int,
    layer: InformationMaximization,
    power: float,
    center: Sequence[float] | None,
) -> GraphMethod:
    if layer.steps < 1:
        raise InvalidInputError(f"steps must be at least 1, got {layer.steps}")
    check_center(center, dim)
    return GraphMethod(
        encoder,
        normalized_class_mean_graph(power, center),
        [layer],
        class_node_logits,
        check=require_labeled(name),
    )
