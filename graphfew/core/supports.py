"""The labeled supports of dense tasks, without queries and unlabeled nodes."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graphfew.core.dense_batch import DenseBatch


@dataclasses.dataclass(frozen=True, eq=False)
class Supports:
    """Labeled supports of tasks of the same way, padded to the largest number of supports.

    Attributes:
        x: features, `[G, S, F]`; zero where padded.
        one_hot: one-hot labels, `[G, S, way]` in the dtype of `x`; zero where padded.
        mask: `[G, S]` bool, False where padded.
        nodes: `[G, S]` int64, index of each support among the nodes of its task.
    """

    x: Float[Tensor, "G S F"]
    one_hot: Float[Tensor, "G S way"]
    mask: Bool[Tensor, "G S"]
    nodes: Int[Tensor, "G S"]

    @property
    def counts(self) -> Float[Tensor, " G"]:
        """Number of supports of each task, `[G]` in the dtype of `x`."""
        return self.mask.sum(1).to(self.x.dtype)

    def double(self) -> Supports:
        """Return the supports in float64."""
        return dataclasses.replace(self, x=self.x.double(), one_hot=self.one_hot.double())


def gather_supports(tasks: DenseBatch) -> Supports:
    """Collect the labeled supports of each task.

    Args:
        tasks: tasks of one size and way.

    Returns:
        The supports in the order of the nodes, padded nodes last.
    """
    labeled = tasks.labeled
    n_supports = int(labeled.sum(1).max())
    # A stable sort moves the supports to the front and keeps their order.
    order = labeled.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    nodes = order[:, :n_supports]
    mask = labeled.gather(1, nodes)
    task = torch.arange(len(nodes), device=nodes.device)[:, None]
    return Supports(
        x=tasks.x[task, nodes] * mask[:, :, None],
        one_hot=tasks.one_hot[task, nodes],
        mask=mask,
        nodes=nodes,
    )
