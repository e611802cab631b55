"""Attention attractor: novel classes are fitted beside base classes that stay answerable."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import (
    DenseBatch,
    update_class_nodes,
    update_query_edges,
    weighted_class_means,
)
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod, MethodOutput
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits

NEWTON, CONJUGATE = 20, 60
STEPS = (1.0, 0.5, 0.25, 0.1, 0.02)
TINY = 1e-30


@dataclasses.dataclass(frozen=True)
class Problem:
    """The fit of novel weights `w [G, way, F]`: cross-entropy of the supports among base and novel classes, plus
    `Σ_k (w_k - u_k)ᵀ diag(γ) (w_k - u_k)`.

    Shapes:
        x: `[G, n, F]`; label: `[G, n, way]` one-hot rows, zero where a node is no support; base: `[G, n, B]` scores of
        the base classes; attractor: `[G, way, F]`; stiffness: `[F]`, γ.
    """

    x: Tensor
    label: Tensor
    base: Tensor
    attractor: Tensor
    stiffness: Tensor

    def value(self, w: Tensor) -> Tensor:
        """`[G]`."""
        known = self.label.sum(2)
        joint = torch.cat([self.base, torch.bmm(self.x, w.mT)], dim=2)
        loss = joint.logsumexp(2) * known - (joint[:, :, -w.shape[1] :] * self.label).sum(2)
        return loss.sum(1) / known.sum(1) + (self.stiffness * (w - self.attractor).square()).sum(
            (1, 2)
        )

    def gradient(self, w: Tensor) -> Tensor:
        """`[G, way, F]`."""
        residual = (self._shares(w) - self.label) * self._weight
        return torch.bmm(residual.mT, self.x) + 2 * self.stiffness * (w - self.attractor)

    def curvature(self, w: Tensor) -> Callable[[Tensor], Tensor]:
        """The Hessian at w, as a function of `[G, way, F]`."""
        shares = self._shares(w)

        def times(v: Tensor) -> Tensor:
            change = torch.bmm(self.x, v.mT)
            change = shares * (change - (shares * change).sum(2, keepdim=True)) * self._weight
            return torch.bmm(change.mT, self.x) + 2 * self.stiffness * v

        return times

    @property
    def _weight(self) -> Tensor:
        known = self.label.sum(2, keepdim=True)
        return known / known.sum(1, keepdim=True)

    def _shares(self, w: Tensor) -> Tensor:
        return torch.cat([self.base, torch.bmm(self.x, w.mT)], dim=2).softmax(2)[
            :, :, -w.shape[1] :
        ]


def conjugate_gradients(times: Callable[[Tensor], Tensor], target: Tensor) -> Tensor:
    """`v` with `times(v) = target`, `[G, way, F]`, for a positive definite `times`."""
    v = torch.zeros_like(target)
    residual = direction = target
    square = residual.square().sum((1, 2), keepdim=True)
    for _ in range(CONJUGATE):
        moved = times(direction)
        step = square / (direction * moved).sum((1, 2), keepdim=True).clamp_min(TINY)
        v, residual = v + step * direction, residual - step * moved
        last, square = square, residual.square().sum((1, 2), keepdim=True)
        direction = residual + square / last.clamp_min(TINY) * direction
    return v


def minimize(problem: Problem) -> Tensor:
    """The weights that solve the problem, by Newton's method; of a few step lengths each task takes the best.

    Where features are so large that no step's value is finite, the weights stay where they are.
    """
    w = problem.attractor
    for _ in range(NEWTON):
        direction = conjugate_gradients(problem.curvature(w), problem.gradient(w))
        tried = torch.stack([w - step * direction for step in STEPS])
        value, best = (
            torch.stack([problem.value(t) for t in tried]).nan_to_num(torch.inf, torch.inf).min(0)
        )
        w = torch.where(
            value.isfinite()[:, None, None], tried[best, torch.arange(len(w), device=w.device)], w
        )
    return w


class _Implicit(torch.autograd.Function):
    """The solution, with the gradient of the equation that it solves."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, solution: Tensor, times: Callable[[Tensor], Tensor]
    ) -> Tensor:
        del gradient
        ctx.times = times
        return solution.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return -conjugate_gradients(ctx.times, grads[0]), None, None


def solve(problem: Problem) -> Tensor:
    """The minimizer, differentiable in everything that the problem is made of (implicit function theorem)."""
    fixed = Problem(*(getattr(problem, f.name).detach() for f in dataclasses.fields(Problem)))
    with torch.no_grad():
        solution = minimize(fixed)
        times = fixed.curvature(solution)
    out: Tensor = _Implicit.apply(problem.gradient(solution), solution, times)  # type: ignore[no-untyped-call]
    return out


class Attractor(nn.Module):
    """Class nodes: fitted weights of the novel classes, drawn to what the base classes that look like them say."""

    def __init__(self, dim: int, base: int, hidden: int) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.randn(base, dim) / dim**0.5)
        self.memory = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, dim))
        self.origin = nn.Parameter(torch.zeros(dim))
        self.sharpness = nn.Parameter(torch.tensor(2.0))
        self.log_stiffness = nn.Parameter(torch.full((dim,), 0.1).log())

    def forward(self, graph: Graph) -> Graph:
        """The graph with new class nodes."""
        return graph.replace(nodes=update_class_nodes(graph, self._fit))

    def _fit(self, tasks: DenseBatch) -> Tensor:
        near = F.normalize(tasks.x, dim=2) @ F.normalize(self.base, dim=1).T
        attention = (self.sharpness * near).softmax(dim=2)
        attractor = self.origin + weighted_class_means(tasks.one_hot, attention) @ self.memory(
            self.base
        )
        return solve(
            Problem(
                tasks.x, tasks.one_hot, tasks.x @ self.base.T, attractor, self.log_stiffness.exp()
            )
        )


def score(graph: Graph) -> Graph:
    """Edges from classes to queries: the inner product of weights and features."""
    return graph.replace(edges=update_query_edges(graph, _products))


def _products(tasks: DenseBatch) -> Tensor:
    assert tasks.class_nodes is not None
    return torch.bmm(tasks.x, tasks.class_nodes.mT)


def base_and_novel_logits(model: GraphMethod, out: MethodOutput) -> Tensor:
    """`[Q, base + max(way)]`: scores of the base classes beside those of the task's own, for one softmax over all.

    Args:
        model: an `attention_attractor`.
        out: its output.

    Raises:
        ValueError: another method.
    """
    layer = next((m for m in model.layers.children() if isinstance(m, Attractor)), None)
    if layer is None:
        raise ValueError("the model has no base classes; joint_logits is for attention_attractor")
    graph = out.graphs[-1]
    return torch.cat(
        [graph.nodes[: len(graph.episode.y)][graph.episode.query] @ layer.base.T, out.logits], dim=1
    )


@register_method(paper="Ren et al. 2019", loss=node_loss)
def attention_attractor(
    encoder: nn.Module, *, dim: int, base: int = 64, hidden: int = 50
) -> GraphMethod:
    """Novel classes are fitted to their supports beside base classes, near an attractor that the base classes give.

    Formula:
        m_k = mean_{i of class k} softmax_b(s cos(x_i, v_b)),  v_b the weights of base class b
        u_k = u + Σ_b m_kb g(v_b),  g a network of one hidden layer
        w = argmin  mean_i CE([V x_i ; w x_i], y_i) + Σ_k (w_k - u_k)ᵀ diag(γ) (w_k - u_k)
        logit_qk = w_kᵀ x_q

    Args:
        encoder: `[N, ...] -> [N, dim]`; trained before and left as it is.
        dim: the encoder's output width.
        base: base classes; their weights `[base, dim]` are the parameter `base` of the first layer, to be filled with
            those of a classifier of the training classes, or learned with the rest.
        hidden: units of the memory.

    Train with `node_loss`. The logits are those of the task's own classes; `joint_logits` adds the base classes'.

    Raises:
        ValueError: a task with unlabeled nodes.

    Source: Ren, Liao, Fetaya, Zemel, 2019, Incremental Few-Shot Learning with Attention Attractor Networks.

    Deviations: the fit is solved by Newton's method to convergence and differentiated there by the implicit function
    theorem, by conjugate gradients (theirs by a truncated series); the support's loss is a mean; the stiffness is
    learned as its logarithm.
    """
    return GraphMethod(
        encoder,
        class_mean_graph,
        [Attractor(dim, base, hidden), score],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("attention_attractor"),
    )
