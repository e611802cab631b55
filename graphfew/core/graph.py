"""`Graph`: node and edge values on a topology."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxtyping import Float
from torch import Tensor

from graphfew.core.episode import Episode
from graphfew.core.topology import Topology


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Node and edge values on a topology, together with the episode they come from.

    Attributes:
        nodes: `[N, F]`, the items of the episode first, then class nodes if there are any.
        edges: `[E, C]`, in the order of `topology`.
        topology: senders and receivers of the edges.
        episode: labels, queries and task sizes.
        penalty: `[tasks]`, what the layers so far add to the loss of each task, such as a
            divergence of latent codes; None if no layer does. Losses like `penalized_node_loss` add
            that of the last graph.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
        >>> episode = gf.Episode.single(torch.eye(3), y, query, way=2)
        >>> graph = gf.Graph(episode.x, torch.ones(9, 1), gf.complete_graph([3]), episode)
        >>> graph.replace(edges=2 * graph.edges).edges.sum()
        tensor(18.)
    """

    nodes: Float[Tensor, "N F"]
    edges: Float[Tensor, "E C"]
    topology: Topology
    episode: Episode
    penalty: Float[Tensor, " tasks"] | None = None

    def replace(self, **changes: Any) -> Graph:
        """Copy the graph with changed fields.

        Args:
            **changes: new values by field name.

        Returns:
            The changed copy.
        """
        return dataclasses.replace(self, **changes)
