"""Attention attractor networks: novel-class weights fitted next to fixed base classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, update_class_nodes
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.base_classes import base_class_attention
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph, inner_product_edges
from graphfew.nn.readout import class_node_logits
from graphfew.propagation.solvers import conjugate_gradients

NEWTON_STEPS = 20
CONJUGATE_GRADIENT_STEPS = 60
CONJUGATE_GRADIENT_TOLERANCE = 1e-12
STEP_SIZES = (1.0, 0.5, 0.25, 0.1, 0.02)


@dataclasses.dataclass(frozen=True)
class NovelClassObjective:
    """Objective of the novel weights `w`: support cross-entropy plus a quadratic attractor term.

    The cross-entropy is over base and novel classes; the attractor term is
    `Σ_k (w_k - u_k)ᵀ diag(γ) (w_k - u_k)`.

    Attributes:
        x: `[G, n, F]` node features.
        label: `[G, n, way]` one-hot labels; zero rows for unlabeled nodes and queries.
        base_logits: `[G, n, n_base]` logits of the base classes.
        attractor: `[G, way, F]`, the attractors `u`.
        stiffness: `[F]`, the diagonal `γ`.
    """

    x: Tensor
    label: Tensor
    base_logits: Tensor
    attractor: Tensor
    stiffness: Tensor

    def value(self, w: Tensor) -> Tensor:
        """Return the objective of each task, `[G]`."""
        is_support = self.label.sum(2)
        novel_logits = torch.bmm(self.x, w.mT)
        logits = torch.cat([self.base_logits, novel_logits], dim=2)
        log_partition = logits.logsumexp(2) * is_support
        cross_entropy = log_partition - (novel_logits * self.label).sum(2)
        attraction = (self.stiffness * (w - self.attractor).square()).sum((1, 2))
        return cross_entropy.sum(1) / is_support.sum(1) + attraction

    def gradient(self, w: Tensor) -> Tensor:
        """Return the gradient with respect to `w`, `[G, way, F]`."""
        residual = (self._novel_probs(w) - self.label) * self._support_weight()
        return torch.bmm(residual.mT, self.x) + 2 * self.stiffness * (w - self.attractor)

    def hessian(self, w: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the Hessian-vector product at `w`, a function of `[G, way, F]`."""
        probs = self._novel_probs(w)

        def product(v: Tensor) -> Tensor:
            logit_change = torch.bmm(self.x, v.mT)
            # Jacobian of the softmax, restricted to the novel classes: diag(p) - p pᵀ.
            mean_change = (probs * logit_change).sum(2, keepdim=True)
            prob_change = probs * (logit_change - mean_change) * self._support_weight()
            return torch.bmm(prob_change.mT, self.x) + 2 * self.stiffness * v

        return product

    def detach(self) -> NovelClassObjective:
        """Return the same objective without gradient history."""
        tensors = (getattr(self, field.name) for field in dataclasses.fields(self))
        return NovelClassObjective(*(tensor.detach() for tensor in tensors))

    def _support_weight(self) -> Tensor:
        is_support = self.label.sum(2, keepdim=True)
        return is_support / is_support.sum(1, keepdim=True)

    def _novel_probs(self, w: Tensor) -> Tensor:
        # Base classes take part in the softmax, but their weights are fixed.
        logits = torch.cat([self.base_logits, torch.bmm(self.x, w.mT)], dim=2)
        return logits.softmax(2)[:, :, -w.shape[1] :]


def solve_per_task(product: Callable[[Tensor], Tensor], target: Tensor) -> Tensor:
    """Solve `product(v) = target` per task, `[G, way, F]`, for a positive definite `product`."""

    def column_product(columns: Tensor) -> Tensor:
        return product(columns.T.reshape(target.shape)).flatten(1).T

    # One task is one column. The last iterate is used as it is: Newton's method tolerates an
    # inexact direction, and features can be so large that no direction is finite.
    solution = conjugate_gradients(
        column_product,
        target.flatten(1).T.contiguous(),
        tolerance=CONJUGATE_GRADIENT_TOLERANCE,
        max_iterations=CONJUGATE_GRADIENT_STEPS,
        require_convergence=False,
    )
    return solution.T.reshape(target.shape)


def minimize(objective: NovelClassObjective) -> Tensor:
    """Minimize the objective by Newton's method with a line search over `STEP_SIZES` per task.

    If features are so large that every candidate has a non-finite value, `w` does not change.
    """
    w = objective.attractor
    task = torch.arange(len(w), device=w.device)
    for _ in range(NEWTON_STEPS):
        direction = solve_per_task(objective.hessian(w), objective.gradient(w))
        # A full Newton step can overshoot where the softmax saturates.
        candidates = torch.stack([w - step_size * direction for step_size in STEP_SIZES])
        values = torch.stack([objective.value(candidate) for candidate in candidates])
        best_value, best = values.nan_to_num(torch.inf, torch.inf).min(0)
        is_finite = best_value.isfinite()[:, None, None]
        w = torch.where(is_finite, candidates[best, task], w)
    return w


class _ImplicitGradient(torch.autograd.Function):
    """Identity on the solution whose backward pass differentiates `gradient(solution) = 0`."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, solution: Tensor, product: Callable[[Tensor], Tensor]
    ) -> Tensor:
        del gradient
        ctx.product = product
        return solution.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        # At the minimum, ∂w/∂θ = -H⁻¹ ∂gradient/∂θ. Autograd supplies the second factor, because
        # `gradient` is a differentiable function of θ; one linear solve supplies the first.
        return -solve_per_task(ctx.product, grads[0]), None, None


def solve(objective: NovelClassObjective) -> Tensor:
    """Return the minimizer `[G, way, F]`, differentiable by the implicit function theorem."""
    # The iterations are not recorded; only the implicit gradient at their end is.
    with torch.no_grad():
        fixed = objective.detach()
        solution = minimize(fixed)
        product = fixed.hessian(solution)
    gradient = objective.gradient(solution)
    out: Tensor = _ImplicitGradient.apply(gradient, solution, product)  # type: ignore[no-untyped-call]
    return out


class AttentionAttractor(nn.Module):
    """Class nodes: novel-class weights, attracted to a combination of similar base classes."""

    def __init__(self, dim: int, num_base_classes: int, hidden: int) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.randn(num_base_classes, dim) / dim**0.5)
        self.memory = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, dim))
        self.origin = nn.Parameter(torch.zeros(dim))
        self.attention_scale = nn.Parameter(torch.tensor(2.0))
        self.log_stiffness = nn.Parameter(torch.full((dim,), 0.1).log())

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes."""
        return graph.replace(nodes=update_class_nodes(graph, self._fit))

    def base_logits(self, x: Tensor) -> Tensor:
        """Return the logits of the base classes, `[..., num_base_classes]`."""
        return x @ self.base.T

    def _fit(self, tasks: DenseBatch) -> Tensor:
        class_attention = base_class_attention(tasks, tasks.x, self.base, self.attention_scale)
        attractor = self.origin + class_attention @ self.memory(self.base)
        objective = NovelClassObjective(
            x=tasks.x,
            label=tasks.one_hot,
            base_logits=self.base_logits(tasks.x),
            attractor=attractor,
            stiffness=self.log_stiffness.exp(),
        )
        return solve(objective)


@register_method(paper="Ren et al. 2019", loss=node_loss)
def attention_attractor(
    encoder: nn.Module, *, dim: int, num_base_classes: int = 64, hidden: int = 50
) -> GraphMethod:
    """Incremental few-shot learning: novel classes are fitted near an attractor of base classes.

    The logits contain the task's classes only; `base_and_novel_logits` adds the base classes.

    Formula:
        m_k = mean_{y_i = k} softmax_b(s cos(x_i, v_b)),  v_b the weights of base class b
        u_k = u + Σ_b m_kb g(v_b),  g an MLP with one hidden layer
        w = argmin  mean_i CE([V x_i ; w x_i], y_i) + Σ_k (w_k - u_k)ᵀ diag(γ) (w_k - u_k)
        logit_qk = w_kᵀ x_q

    Args:
        encoder: `[N, ...] -> [N, dim]`; pretrained and frozen in the paper.
        dim: output width of the encoder.
        num_base_classes: number of base classes. Their weights `[num_base_classes, dim]` are the
            parameter `base` of the first layer: copy those of a classifier of the training
            classes, or train them with the rest.
        hidden: hidden units of the memory network `g`.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("attention_attractor", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Ren, Liao, Fetaya, Zemel, 2019, Incremental Few-Shot Learning with Attention Attractor
        Networks.

    Deviations:
        The objective is minimized by Newton's method to convergence and differentiated by the
        implicit function theorem with conjugate gradients (the paper truncates recurrent
        back-propagation). The support loss is a mean. The stiffness is learned as its logarithm.
    """
    return GraphMethod(
        encoder,
        class_mean_graph,
        [AttentionAttractor(dim, num_base_classes, hidden), inner_product_edges],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("attention_attractor"),
    )
