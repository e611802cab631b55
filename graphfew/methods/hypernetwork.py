"""A hypernetwork: a network on sets predicts the linear classifier of a task."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import weighted_class_means
from graphfew.core.episode import Episode
from graphfew.core.supports import Supports
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled, require_positive
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Layers
from graphfew.nn.linear_classifier import (
    LinearClassifier,
    LinearWeights,
    fit_linear_classifier,
)
from graphfew.nn.method import GraphMethod
from graphfew.nn.predictors import FittedContext, TransformedPredictor, unit_length
from graphfew.nn.prototypes import unit_class_mean_graph
from graphfew.nn.readout import class_node_logits


class SetHypernetwork(nn.Module):
    """Prediction of the weights and bias of each class from sets of supports."""

    def __init__(self, dim: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.summary = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.output = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, dim + 1)
        )
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        # The network starts at 0, so that the weights start as the class means.
        last = self.output[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, supports: Supports) -> LinearWeights:
        """Return the weights and biases of each task."""
        label = supports.one_hot
        # All classes share the network, so that their number and order do not matter.
        class_summary = weighted_class_means(label, self.summary(supports.x))
        task_summary = class_summary.mean(1, keepdim=True).expand_as(class_summary)
        change: Tensor = self.output(torch.cat([class_summary, task_summary], dim=2))
        means = F.normalize(weighted_class_means(label, supports.x), dim=2)
        weight = means + change[:, :, :-1]
        return LinearWeights(self.scale * weight, self.scale * change[:, :, -1])


def fit_predicted_classifier(layers: Layers, context: Episode) -> FittedContext:
    """Predict the classifier of one encoded task."""
    fitted = fit_linear_classifier(layers, context.encode(unit_length))
    return FittedContext(TransformedPredictor(unit_length, fitted.predictor))


@register_method(paper="Ha et al. 2017", loss=node_loss, works_untrained=True)
def hypernetwork(
    encoder: nn.Module, *, dim: int, hidden: int = 64, scale: float = 10.0
) -> GraphMethod:
    """A network on sets that predicts a task's linear classifier from its supports.

    It is the general case of methods that generate weights: the row of a class depends on its own
    supports and on all classes of the task, but on no order and no number of them. It starts as
    the cosine classifier of class means, so that it also works without training.

    Formula:
        z = x / ‖x‖
        s_k = mean_{y_i = k} f(z_i),  t = mean_k s_k,  f an MLP with one hidden layer
        (Δ_k, b_k) = g([s_k, t]),  g an MLP with one hidden layer, 0 at the start
        w_k = m_k / ‖m_k‖ + Δ_k,  m_k = mean_{y_i = k} z_i
        logit_qk = α · (w_kᵀ z_q + b_k)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        hidden: hidden units of both MLPs, and the width of the summaries.
        scale: initial value of α, which is learned.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `hidden` is below 1 or `scale` is not positive; later, if a task has
            unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("hypernetwork", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Ha, Dai, Le, 2017, HyperNetworks; the networks on sets: Zaheer, Kottur, Ravanbakhsh, Poczos,
        Salakhutdinov, Smola, 2017, Deep Sets.

    Deviations:
        No paper has exactly this form: the weights of the classifier are predicted from a set of
        supports (from an embedding of the layer or the past inputs in HyperNetworks), as a change
        of the class mean.
    """
    if hidden < 1:
        raise InvalidInputError(f"hidden must be at least 1, got {hidden}")
    require_positive(scale=scale)
    return GraphMethod(
        encoder,
        unit_class_mean_graph,
        [LinearClassifier(SetHypernetwork(dim, hidden, scale))],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("hypernetwork"),
        fit_context=fit_predicted_classifier,
    )
