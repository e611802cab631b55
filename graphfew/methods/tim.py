"""TIM: a classifier of the task whose answers are sure, and spread over the classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, class_softmax, update_classes_and_queries
from graphfew.core.graph import Graph
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

TINY = 1e-12
Slope = Callable[[Tensor], Tensor]


def shannon(p: Tensor) -> Tensor:
    """The derivative of `-Σ p log p` by p, up to a constant."""
    return -p.clamp_min(TINY).log()


def alpha_entropy(alpha: float) -> Slope:
    """The derivative of `(1 - Σ p^α) / (α - 1)` by p."""
    return lambda p: -alpha / (alpha - 1) * p.clamp_min(TINY).pow(alpha - 1)


@dataclasses.dataclass(frozen=True)
class Weights:
    """Of the supports' cross-entropy, of the entropy of the mean answer, and of the mean entropy of answers."""

    support: float
    marginal: float
    conditional: float


class Descend:
    """Class nodes by Adam on `a CE(supports) - b H(mean answer) + c mean H(answer)`; edges are the last logits."""

    def __init__(
        self,
        weights: Weights,
        entropy: Slope,
        temperature: float,
        steps: int,
        lr: float,
        prior: Callable[[DenseBatch, Tensor], Tensor] | None,
    ) -> None:
        self.weights = weights
        self.entropy = entropy
        self.temperature = temperature
        self.steps = steps
        self.lr = lr
        self.prior = prior

    def __call__(self, graph: Graph) -> Graph:
        """The graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self._descend)

    def _descend(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        w = tasks.class_nodes
        aim = (
            None if self.prior is None else self.prior(tasks, class_softmax(self._logits(tasks, w)))
        )
        mean = square = torch.zeros_like(w)
        for step in range(1, self.steps + 1):
            slope = self._slope(tasks, w, aim)
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope.square()
            w = w - self.lr * (mean / (1 - 0.9**step)) / (
                (square / (1 - 0.999**step)).sqrt() + 1e-8
            )
        return w, self._logits(tasks, w)

    def _logits(self, tasks: DenseBatch, w: Tensor) -> Tensor:
        return -self.temperature / 2 * squared_distances(w, tasks.x).mT

    def _slope(self, tasks: DenseBatch, w: Tensor, aim: Tensor | None) -> Tensor:
        """The derivative of the objective by w, `[G, way, F]`."""
        p = class_softmax(self._logits(tasks, w))
        free = unknown_mask(tasks)
        asked, known = free.sum(1, keepdim=True), (1 - free).sum(1, keepdim=True)
        mean = (p * free).sum(1, keepdim=True) / asked
        marginal = self.entropy(mean) - (0.0 if aim is None else self.entropy(aim[:, None]))
        by_answer = (
            (self.weights.conditional * self.entropy(p) - self.weights.marginal * marginal)
            * free
            / asked
        )
        by_logit = p * (by_answer - (p * by_answer).sum(2, keepdim=True))
        by_logit = by_logit + self.weights.support * (p * (1 - free) - tasks.one_hot) / known
        return self.temperature * (torch.bmm(by_logit.mT, tasks.x) - by_logit.sum(1)[..., None] * w)


def counted_answers(
    prior: Sequence[float] | None, strength: float
) -> Callable[[DenseBatch, Tensor], Tensor]:
    """What the mean answer is held to, `[G, way]`: how the first answers count the classes, and the prior."""

    def aim(tasks: DenseBatch, answers: Tensor) -> Tensor:
        return estimate_proportions(
            answers * unknown_mask(tasks), class_prior(prior, tasks.one_hot), strength
        )

    return aim


@register_method(paper="Boudiaf et al. 2020", inductive=False, transductive=True)
def tim(
    encoder: nn.Module,
    *,
    dim: int,
    steps: int = 100,
    lr: float = 1e-3,
    temperature: float = 15.0,
    support: float = 0.1,
    marginal: float = 0.3,
    conditional: float = 0.3,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    prior: Sequence[float] | None = None,
    balanced: bool = False,
    strength: float = 0.0,
) -> GraphMethod:
    """Class nodes that make the queries' answers sure one by one and, together, divided as expected. Needs no training.

    Formula:
        logit_ik = -τ/2 ‖x_i - w_k‖²,  p_i = softmax_k(logit_i),  w_k at first the mean of class k's supports
        w ← Adam on  a · mean_supports CE(p_i, y_i) + b · KL(mean_q p_q, π) + c · mean_q H(p_q)
        π_k ∝ Σ_q p_qk + strength · way · prior_k, of the first p;  with balanced, π = prior
        H(p) = -Σ_k p_k log p_k,  a, b, c = support, marginal, conditional,  τ = temperature

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        steps, lr: of Adam; `-temperature/2 ‖x - w‖²` are the logits.
        temperature: as above.
        support, marginal, conditional: weights of the supports' cross-entropy, of the divergence of the mean answer
            from what is expected, and of the mean entropy of answers.
        power, center: of the features, see `graphfew.propagation.feature_transforms.power_normalize`.
        prior: proportions of the classes among the queries; None takes them as even.
        balanced: the paper's assumption, that the queries are divided as the prior says. Otherwise what is expected is
            how the first answers, those of the nearest class mean, divide them.
        strength: for how many queries of each class the prior counts in that.

    Raises:
        ValueError: fewer than one step, proportions that are not positive, a negative strength, or a center that does
            not fit; later, a task with unlabeled nodes.

    Source: Boudiaf, Masud, Rony, Dolz, Piantanida, Ben Ayed, 2020, Transductive Information Maximization for Few-Shot
    Learning.

    Deviations: the expected division is estimated by default (theirs is even), with weights chosen for that on the
    validation classes of CIFAR-FS (theirs 0.1, 1, 0.1); 100 steps at 0.001 (theirs 1,000 at 0.0001, for the same
    distance); features are centerd on the task's own mean.
    """
    aim = counted_answers(prior, float("inf") if balanced else strength)
    weights = Weights(support, marginal, conditional)
    return _method(
        "tim",
        encoder,
        dim,
        Descend(weights, shannon, temperature, steps, lr, aim),
        power,
        center,
        prior,
        strength,
    )


@register_method(paper="Veilleux et al. 2021", inductive=False, transductive=True)
def alpha_tim(
    encoder: nn.Module,
    *,
    dim: int,
    alpha: float = 2.0,
    steps: int = 100,
    lr: float = 1e-3,
    temperature: float = 15.0,
    support: float = 1.0,
    marginal: float = 1.0,
    conditional: float = 1.0,
    power: float = 1.0,
    center: Sequence[float] | None = None,
) -> GraphMethod:
    """TIM with α-entropies, which ask less for even answers, for queries of any division. Needs no training.

    Formula:
        logit_ik = -τ/2 ‖x_i - w_k‖²,  p_i = softmax_k(logit_i),  w_k at first the mean of class k's supports
        w ← Adam on  a · mean_supports CE(p_i, y_i) - b · H_α(mean_q p_q) + c · mean_q H_α(p_q)
        H_α(p) = (1 - Σ_k p_k^α) / (α - 1),  a, b, c = support, marginal, conditional,  τ = temperature

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        alpha: of the entropies, not 1; theirs is 2 at one shot and 7 at five and more.
        steps, lr, temperature, power, center: as `tim` has them.
        support, marginal, conditional: weights of the supports' cross-entropy, of the α-entropy of the mean answer, and
            of the mean α-entropy of answers.

    Raises:
        ValueError: alpha of 0 or less, or 1; fewer than one step; a center that does not fit; later, a task with
            unlabeled nodes.

    Source: Veilleux, Boudiaf, Piantanida, Ben Ayed, 2021, Realistic Evaluation of Transductive Few-Shot Learning.

    Deviations: 100 steps at 0.001 (theirs 1,000 at 0.0001); features are centerd on the task's own mean.
    """
    if not alpha > 0 or alpha == 1:
        raise ValueError(f"alpha is {alpha}; it must be positive and not 1 (that is tim)")
    weights = Weights(support, marginal, conditional)
    layer = Descend(weights, alpha_entropy(alpha), temperature, steps, lr, None)
    return _method("alpha_tim", encoder, dim, layer, power, center, None, 0.0)


def _method(
    name: str,
    encoder: nn.Module,
    dim: int,
    layer: Descend,
    power: float,
    center: Sequence[float] | None,
    prior: Sequence[float] | None,
    strength: float,
) -> GraphMethod:
    if layer.steps < 1:
        raise ValueError(f"steps is {layer.steps}; give at least 1")
    check_prior(prior, strength)
    check_center(center, dim)
    return GraphMethod(
        encoder,
        normalized_class_mean_graph(power, center),
        [layer],
        class_node_logits,
        check=require_labeled(name),
    )
