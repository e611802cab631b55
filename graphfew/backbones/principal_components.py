"""Projection of features on their principal components."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew._utils.model_spec import JSON, ModelSpec
from graphfew.backbones.backbone_registry import build_inner, register_backbone
from graphfew.backbones.base import Backbone
from graphfew.errors import InvalidInputError


@register_backbone
def pca(encoder: Backbone | Mapping[str, JSON], components: int, seed: int = 0) -> Backbone:
    """Normalize features and project them on their principal components.

    The directions are part of the weights. `encoder.net.fit(features)` computes them, best from
    features of the data that the inner encoder was trained on; `graphfew train --components` does
    so itself. Before, they are the first axes.

    Args:
        encoder: a backbone, whose weights are shared, or the name and arguments of one.
        components: number of components, at most the encoder's width.
        seed: seed of the initial weights of an encoder given by name.

    Returns:
        A backbone from `[N, ...]` to `[N, components]`; all features have the length
        `sqrt(components)`.

    Raises:
        InvalidInputError: `components` is below 1 or above the encoder's width.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> encoder = backbones.pca(backbones.identity(3), components=2)
        >>> encoder.net.fit(torch.eye(3))
        >>> encoder(torch.eye(3)).shape
        torch.Size([3, 2])
    """
    inner, spec = build_inner(encoder, seed)
    if not 1 <= components <= inner.out_dim:
        raise InvalidInputError(
            f"pca got components={components}; the encoder's {inner.out_dim} features have 1 to "
            f"{inner.out_dim} principal components"
        )
    net = PrincipalComponents(inner, inner.out_dim, components)
    arguments: dict[str, JSON] = {"encoder": spec, "components": components}
    return Backbone(net, components, ModelSpec("pca", arguments))


@final
class PrincipalComponents(nn.Module):
    """The features of a network, projected on principal components.

    Features are L2-normalized, centered, projected, and scaled to the length `sqrt(k)`:

    Formula:
        `sqrt(k) * normalize((normalize(net(x)) - mean) @ directions)`

    Args:
        net: `[N, ...] -> [N, F]`.
        width: F.
        components: k, number of directions.
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, net: nn.Module, width: int, components: int) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("directions", torch.eye(width, components))

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N k"]:
        """Encode items to `[N, k]`."""
        unit = F.normalize(self.net(x), dim=1)
        projected: Tensor = (unit - self.mean) @ self.directions
        out: Tensor = F.normalize(projected, dim=1) * math.sqrt(projected.shape[1])
        return out

    @torch.no_grad()
    def fit(self, features: Float[Tensor, "N F"]) -> None:
        """Set the mean and the directions of largest variance.

        Args:
            features: output of `net` for at least k + 1 items, `[N, F]`.

        Raises:
            InvalidInputError: there are not enough items.
        """
        components = self.directions.shape[1]
        if len(features) <= components:
            raise InvalidInputError(
                f"{components} principal components need more than {components} items, got "
                f"{len(features)}; use fewer components, or more items"
            )
        # In double precision, because the covariance squares the condition number.
        unit = F.normalize(features.to(torch.float64), dim=1)
        centered = unit - unit.mean(0)
        # eigh sorts eigenvalues in ascending order.
        _, eigenvectors = torch.linalg.eigh(centered.T @ centered)
        directions = eigenvectors.flip(1)[:, :components]
        # The sign of an eigenvector is arbitrary. Make its largest entry positive, so that all
        # machines give the same directions.
        largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
        self.mean.copy_(unit.mean(0))
        self.directions.copy_(directions * largest.sign())
