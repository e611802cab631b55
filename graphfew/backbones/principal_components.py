"""Features of one length, turned to their principal components."""

from __future__ import annotations

import math
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional


@final
class PrincipalComponents(nn.Module):
    """A net's features brought to length 1, centerd, projected on few directions, and brought to one length again.

    `x -> sqrt(k) * unit((unit(net(x)) - mean) @ directions)`. The directions are those of `fit`; before it, the first
    `k` axes.

    Args:
        net: `[N, ...] -> [N, F]`.
        width: F.
        components: k, how many directions.
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, net: nn.Module, width: int, components: int) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("directions", torch.eye(width, components))

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N k"]:
        """`[N, k]`, each of length `sqrt(k)`."""
        found: Tensor = (functional.normalize(self.net(x), dim=1) - self.mean) @ self.directions
        longer: Tensor = functional.normalize(found, dim=1) * math.sqrt(found.shape[1])
        return longer

    @torch.no_grad()
    def fit(self, features: Float[Tensor, "N F"]) -> None:
        """Take the mean and the directions of most variance from features of the net.

        Raises:
            ValueError: fewer items than directions.
        """
        components = self.directions.shape[1]
        if len(features) <= components:
            raise ValueError(
                f"{components} principal components need more than {components} items to be found from, "
                f"and there are {len(features)}; take fewer components, or more items"
            )
        unit = functional.normalize(features.to(torch.float64), dim=1)
        centerd = unit - unit.mean(0)
        _, found = torch.linalg.eigh(centerd.T @ centerd)
        chosen = found.flip(1)[:, :components]
        # Eigenvectors have no sign of their own; this one makes them the same everywhere.
        largest = chosen.gather(0, chosen.abs().argmax(0, keepdim=True))
        self.mean.copy_(unit.mean(0))
        self.directions.copy_(chosen * largest.sign())
