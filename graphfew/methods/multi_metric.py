"""Multiple metrics: learned cosine metrics, mixed per task by their fit to its supports."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, update_query_edges
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits

EPSILON = 1e-12


class MetricMixture(nn.Module):
    """Edges `[E, 1]` from classes to queries: `log Σ_m α_m P_m(class | query)`.

    `P_m` is attention to the supports by the cosine after linear projection m. `α` maximizes the
    leave-one-out likelihood of the task's supports, by expectation maximization from uniform
    weights.
    """

    def __init__(
        self, dim: int, num_metrics: int, width: int, scale: float, num_iterations: int
    ) -> None:
        super().__init__()
        self.num_iterations = num_iterations
        self.projections = nn.Parameter(torch.randn(num_metrics, dim, width) / math.sqrt(dim))
        self.scale = nn.Parameter(torch.full((num_metrics,), float(scale)))

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new edges to queries; edges to classes do not change."""
        return graph.replace(edges=update_query_edges(graph, self._log_probs))

    def _log_probs(self, tasks: DenseBatch) -> Tensor:
        probs = self._metric_probs(tasks)
        mixture = self._mixture_weights(probs, tasks.one_hot)
        return (mixture[:, :, None, None] * probs).sum(1).clamp_min(EPSILON).log()

    def _metric_probs(self, tasks: DenseBatch) -> Tensor:
        """Return class probabilities of each node under each metric, `[G, metrics, n, way]`."""
        projected = torch.einsum("gnf,kfw->gknw", tasks.x, self.projections)
        projected = F.normalize(projected, dim=3)
        scores = self.scale[:, None, None] * (projected @ projected.mT)
        # A support does not attend to itself, so its row is a leave-one-out prediction.
        is_self = torch.eye(scores.shape[2], dtype=torch.bool, device=scores.device)
        is_attended = tasks.labeled[:, None, None] & ~is_self
        attention = scores.masked_fill(~is_attended, -torch.inf).softmax(dim=3)
        return attention @ tasks.one_hot[:, None]

    def _mixture_weights(self, probs: Tensor, label: Tensor) -> Tensor:
        """Return the mixture weights `[G, metrics]`, which sum to 1."""
        # With one shot per class every leave-one-out likelihood is 0; the epsilon then gives all
        # metrics equal responsibility.
        likelihood = (probs * label[:, None]).sum(3) + EPSILON
        is_support = label.sum(2)[:, None]
        mixture = torch.full_like(likelihood[:, :, 0], 1 / likelihood.shape[1])
        for _ in range(self.num_iterations):
            joint = mixture[:, :, None] * likelihood
            responsibility = joint / joint.sum(1, keepdim=True) * is_support
            # M-step: the mean responsibility over the supports.
            mixture = responsibility.sum(2) / is_support.sum(2)
        return mixture


@register_method(paper="Yu et al. 2018", loss=node_loss)
def multi_metric(
    encoder: nn.Module,
    *,
    dim: int,
    num_metrics: int = 4,
    width: int = 64,
    scale: float = 10.0,
    num_iterations: int = 10,
) -> GraphMethod:
    """Matching under several learned metrics, mixed per task by their fit to its supports.

    With one support per class no support can be predicted from the others of its class, and all
    metrics have equal weight.

    Formula:
        P_m(k | x) = Σ_{y_i = k} softmax_i(scale_m · cos(W_m x, W_m x_i)),  over supports x_i ≠ x
        α = argmax Π_supports Σ_m α_m P_m(y_i | x_i),  Σ_m α_m = 1,  by expectation maximization
        logit_qk = log Σ_m α_m P_m(k | x_q)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        num_metrics: number of linear projections, each with its own cosine and scale.
        width: output width of the projections.
        scale: initial factor on the cosines.
        num_iterations: iterations of expectation maximization; 0 weights all metrics equally.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `num_metrics` is below 1 or `num_iterations` is negative; later, if a
            task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("multi_metric", encoder=gf.backbones.identity(8), num_metrics=2)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Yu, Guo, Yi, Chang, Potdar, Cheng, Tesauro, Wang, Zhou, 2018, Diverse Few-Shot Text
        Classification with Multiple Metrics.

    Deviations:
        The metrics share an encoder and are trained jointly through the mixture (one network per
        cluster of source tasks in the paper, clustered beforehand by how tasks transfer). The
        mixture is fitted by leaving each support out.
    """
    if num_metrics < 1:
        raise InvalidInputError(f"num_metrics must be at least 1, got {num_metrics}")
    if num_iterations < 0:
        raise InvalidInputError(f"num_iterations must not be negative, got {num_iterations}")
    return GraphMethod(
        encoder,
        class_mean_graph,
        [MetricMixture(dim, num_metrics, width, scale, num_iterations)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("multi_metric"),
    )
