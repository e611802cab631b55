"""Parameters predicted from activations: an MLP maps class means to classifier weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, update_class_nodes
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled, require_positive
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import cosine
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import ScaledMetric, class_mean_graph, fit_class_nodes
from graphfew.nn.readout import class_node_logits


class ParameterPredictor(nn.Module):
    """Class nodes: an MLP of the class means that starts as the identity."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = _identity_linear(dim)
        self.second = _identity_linear(dim)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes of length 1."""
        return graph.replace(nodes=update_class_nodes(graph, self._predict))

    def _predict(self, tasks: DenseBatch) -> Tensor:
        assert tasks.class_nodes is not None
        activation = F.normalize(tasks.class_nodes, dim=2)
        hidden = self.first(activation).relu()
        return F.normalize(self.second(hidden), dim=2)


def _identity_linear(dim: int) -> nn.Linear:
    linear = nn.Linear(dim, dim)
    with torch.no_grad():
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    return linear


@register_method(paper="Qiao et al. 2018", loss=node_loss, works_untrained=True)
def parameters_from_activations(
    encoder: nn.Module, *, dim: int, scale: float = 10.0
) -> GraphMethod:
    """Classifier weights predicted from the mean activation of each class.

    One MLP serves all classes and starts as the identity, so that it works without training on
    features that are not negative.

    Formula:
        a_k = mean_{y_i = k} x_i
        w_k = φ(a_k) / ‖φ(a_k)‖,  φ(a) = B relu(A a / ‖a‖ + a₀) + b₀;  A = B = I at the start
        logit_qk = α · cos(w_k, x_q)

    Args:
        encoder: `[N, ...] -> [N, dim]`, with a ReLU at its end in the paper.
        dim: output width of the encoder.
        scale: initial value of α, which is learned.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `scale` is not positive; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.rand(6, 8), labels, labels < 0, way=2)
        >>> encoder = gf.backbones.identity(8)
        >>> gf.create("parameters_from_activations", encoder=encoder)(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Qiao, Liu, Shen, Yuille, 2018, Few-Shot Image Recognition by Predicting Parameters from
        Activations.

    Deviations:
        The logits are scaled cosines, so that features of any length give useful probabilities (the
        inner product of weights and activation in the paper: the same order of classes). Trained on
        episodes with the mean of their supports (all base classes at once in the paper, with one
        random image per class most of the time).
    """
    require_positive(scale=scale)
    return GraphMethod(
        encoder,
        class_mean_graph,
        [ParameterPredictor(dim), ScaledMetric(cosine, scale, learn_scale=True)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("parameters_from_activations"),
        fit_context=fit_class_nodes,
    )
