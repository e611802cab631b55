"""TADAM: prototypes whose encoder is conditioned on the task, with a learned scale of the metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from graphfew.core.episode import Episode
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Metric, squared_euclidean
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import ScaledMetric, class_mean_graph, task_class_means
from graphfew.nn.readout import class_node_logits

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]


class TaskScale(nn.Module):
    """`γ [T, width]` and `β [T, width]` from task means `[T, dim]`: residual nets, times scalars that begin at 0."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.gamma, self.beta = Residual(dim, width), Residual(dim, width)
        self.gamma_scale, self.beta_scale = (
            nn.Parameter(torch.zeros(())),
            nn.Parameter(torch.zeros(())),
        )

    def forward(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Factors, 1 at first, and shifts, 0 at first."""
        return 1 + self.gamma_scale * self.gamma(mean), self.beta_scale * self.beta(mean)


class Residual(nn.Module):
    """Three linear layers, the last two beside a way around them."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, width)
        self.rest = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """`[T, dim]` to `[T, width]`."""
        x = self.first(x).relu()
        out: Tensor = x + self.rest(x)
        return out


class Conditioning(nn.Module):
    """Encodes again, every batch-normed map of the encoder scaled and shifted by what the task's supports say.

    An encoder without batch-normed maps has its features scaled and shifted.
    """

    def __init__(self, encoder: nn.Module, dim: int) -> None:
        super().__init__()
        widths = [norm.num_features for norm in _norms(encoder)] or [dim]
        self.scales = nn.ModuleList(TaskScale(dim, width) for width in widths)

    def forward(self, encoder: nn.Module, episode: Episode, encoded: Episode) -> Episode:
        """The episode encoded in the light of its first encoding."""
        means = task_class_means(encoded)
        hooks = [_film(scale(means), episode.task) for scale in self.scales]
        norms = list(_norms(encoder))
        if not norms:
            return encoded.encode(lambda x: hooks[0](self, (), x))
        handles = [
            norm.register_forward_hook(hook) for norm, hook in zip(norms, hooks, strict=True)
        ]
        try:
            return episode.encode(encoder)
        finally:
            for handle in handles:
                handle.remove()


def _norms(encoder: nn.Module) -> Iterable[nn.BatchNorm2d]:
    return (module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d))


def _film(scales: tuple[Tensor, Tensor], task: Tensor) -> Hook:
    gamma, beta = scales

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        del module, inputs
        shape = (len(output), -1, *[1] * (output.ndim - 2))
        return gamma[task].view(shape) * output + beta[task].view(shape)

    return hook


@register_method(paper="Oreshkin et al. 2018", loss=node_loss)
def tadam(
    encoder: nn.Module,
    *,
    dim: int,
    metric: Metric = squared_euclidean,
    scale: float = 1.0,
    learn_scale: bool = True,
) -> GraphMethod:
    """Prototypes of features that depend on the task: a second encoding is conditioned on the mean of the first.

    Formula:
        z = mean_k mean_{y_i = k} encoder(x_i)
        x = the encoder's output with h ← γ(z) ⊙ h + β(z) after every batch norm,  γ = 1 + γ₀ f(z),  β = β₀ g(z)
        logit_qk = scale · s(x_q, c_k),  c_k = mean_{y_i = k} x_i,  s(a, b) = -‖a - b‖²

    Args:
        encoder: `[N, ...] -> [N, dim]`; its `BatchNorm2d` layers are conditioned, or its output where it has none.
        dim: the encoder's output width.
        metric: similarity `([P, F], [P, F]) -> [P, 1]`.
        scale: factor on the similarity, at first.
        learn_scale: train the factor.

    Train with `node_loss`. The encoder cannot be frozen beforehand, since an item's features depend on its task.

    Raises:
        ValueError: a task with unlabeled nodes.

    Source: Oreshkin, Rodríguez, Lacoste, 2018, TADAM: Task Dependent Adaptive Metric for Improved Few-Shot Learning.

    Deviations: without the classification of all training classes beside the episodes, and without the penalty on the
    two scalars of each layer, which begin at 0.
    """
    layers = [ScaledMetric(metric, scale, learn_scale=learn_scale)]
    return GraphMethod(
        encoder,
        class_mean_graph,
        layers,
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("tadam"),
        condition=Conditioning(encoder, dim),
    )
