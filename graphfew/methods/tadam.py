"""TADAM: prototypes of task-conditioned features with a learned metric scale."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from graphfew.core.episode import Episode
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Metric, squared_euclidean
from graphfew.nn.method import GraphMethod, bounded_features
from graphfew.nn.prototypes import ScaledMetric, class_mean_graph, task_class_means
from graphfew.nn.readout import class_node_logits

ForwardHook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]


class TaskEmbeddingNetwork(nn.Module):
    """Scale γ and shift β of one batch norm from the task embedding: residual MLPs times scalars.

    The scalars start at 0, so that the encoder is initially unconditioned.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.gamma = ResidualMLP(dim, width)
        self.beta = ResidualMLP(dim, width)
        self.gamma_scale = nn.Parameter(torch.zeros(()))
        self.beta_scale = nn.Parameter(torch.zeros(()))

    def forward(self, task_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Map task embeddings `[T, dim]` to scales and shifts, both `[T, width]`."""
        gamma = 1 + self.gamma_scale * self.gamma(task_embedding)
        beta = self.beta_scale * self.beta(task_embedding)
        return gamma, beta


class ResidualMLP(nn.Module):
    """Three linear layers with a skip connection around the last two."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, width)
        self.rest = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[T, dim]` to `[T, width]`."""
        x = self.first(x).relu()
        out: Tensor = x + self.rest(x)
        return out


class TaskConditioning(nn.Module):
    """Second encoding of an episode, with every batch norm scaled and shifted per task.

    If the encoder has no `BatchNorm2d` layer, its output is scaled and shifted instead.
    """

    def __init__(self, encoder: nn.Module, dim: int) -> None:
        super().__init__()
        widths = [norm.num_features for norm in _batch_norms(encoder)] or [dim]
        self.scales = nn.ModuleList(TaskEmbeddingNetwork(dim, width) for width in widths)

    def forward(self, encoder: nn.Module, episode: Episode) -> Episode:
        """Encode the episode twice, the second time conditioned on the class means of the first."""
        encoded = episode.encode(lambda x: bounded_features(encoder, x))
        task_embedding = task_class_means(encoded)
        hooks = []
        for scale in self.scales:
            gamma, beta = scale(task_embedding)
            hooks.append(_film_hook(gamma, beta, episode.task))
        norms = _batch_norms(encoder)
        if not norms:
            return encoded.encode(lambda x: hooks[0](self, (), x))
        # Hooks leave the encoder's own code unchanged, so that any backbone can be conditioned.
        handles = [
            norm.register_forward_hook(hook) for norm, hook in zip(norms, hooks, strict=True)
        ]
        try:
            return episode.encode(encoder)
        finally:
            for handle in handles:
                handle.remove()


def _batch_norms(encoder: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]


def _film_hook(gamma: Tensor, beta: Tensor, task: Tensor) -> ForwardHook:
    """Return a hook that applies the scale and shift of each item's task to its channels."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        del module, inputs
        spatial = [1] * (output.ndim - 2)
        shape = (len(output), -1, *spatial)
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
    """Prototypes of task-conditioned features: a second encoding depends on the first one's mean.

    The encoder cannot be frozen and its features cannot be cached, since an item's features depend
    on its task.

    Formula:
        z = mean_k mean_{y_i = k} encoder(x_i)
        x = output of the encoder with h ← γ(z) ⊙ h + β(z) after every batch norm
        γ = 1 + γ₀ f(z),  β = β₀ g(z),  f and g residual MLPs,  γ₀ = β₀ = 0 initially
        logit_qk = scale · s(x_q, c_k),  c_k = mean_{y_i = k} x_i,  s(a, b) = -‖a - b‖²

    Args:
        encoder: `[N, ...] -> [N, dim]`; its `BatchNorm2d` layers are conditioned, or its output if
            it has none.
        dim: output width of the encoder.
        metric: similarity `([P, F], [P, F]) -> [P, 1]`.
        scale: initial factor on the similarity.
        learn_scale: train the factor.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("tadam", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Oreshkin, Rodríguez, Lacoste, 2018, TADAM: Task Dependent Adaptive Metric for Improved
        Few-Shot Learning.

    Deviations:
        The auxiliary classification of all training classes and the penalty on the two scalars per
        layer are omitted.
    """
    return GraphMethod(
        encoder,
        class_mean_graph,
        [ScaledMetric(metric, scale, learn_scale=learn_scale)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("tadam"),
        condition=TaskConditioning(encoder, dim),
    )
