"""Attention attractor networks: novel-class weights fitted next to fixed base classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, update_class_nodes
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.attractor_objective import AttractorObjective, minimizer
from graphfew.nn.base_classes import base_class_attention
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph, inner_product_edges
from graphfew.nn.readout import class_node_logits


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
        objective = AttractorObjective(
            x=tasks.x,
            label=tasks.one_hot,
            base_logits=self.base_logits(tasks.x),
            attractor=attractor,
            stiffness=self.log_stiffness.exp(),
        )
        return minimizer(objective)


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
