"""`ItemGraph`: what strategies need of the items; it does not depend on labels."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError
from graphfew.estimators.auto.members import NEIGHBORS as GRAPH_NEIGHBORS
from graphfew.estimators.auto.members import MemberGraph, member_graph_of
from graphfew.labeling.active.graph_spectrum import GraphSpectrum, smallest_eigenvectors
from graphfew.propagation.components import connected_components
from graphfew.propagation.feature_scaling import fit_scaling
from graphfew.propagation.neighbors import Neighbors, Search, knn
from graphfew.propagation.search_choice import auto_search
from graphfew.propagation.undirected_graph import union_graph

# Neighbors that typicality averages over; the graph has the nearest 10 of them.
NEIGHBORS = 20
# Number of eigenvectors of the Laplacian.
RANK = 50
# Items closer than this fraction of the median distance to the 10th neighbor are near-duplicates.
NEAR_FRACTION = 0.1
# Relative rounding of squared distances of equal items.
SAME_ROUNDINGS = 64


@dataclasses.dataclass(frozen=True, eq=False)
class ItemGraph:
    """Items with their nearest neighbors. Build it once and suggest from it after every label.

    Attributes:
        x: `[N, F]` features as they were given.
        neighbors: the 20 nearest of each item.
        member_graph: scaled features and kNN graph of the default classifier.

    Example:
        >>> import torch
        >>> graph = build_item_graph(torch.tensor([[0.0], [0.0], [5.0], [9.0]]))
        >>> graph.duplicate_group.tolist()
        [0, 0, 2, 3]
    """

    x: Float[Tensor, "N F"]
    neighbors: Neighbors
    member_graph: MemberGraph

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.x)

    @property
    def features(self) -> Float[Tensor, "N F"]:
        """`[N, F]` scaled features."""
        return self.member_graph.features

    @property
    def topology(self) -> Topology:
        """The kNN graph."""
        return self.member_graph.topology

    @property
    def weights(self) -> Float[Tensor, "E 1"]:
        """`[E, 1]` weights of the edges of the kNN graph."""
        return self.member_graph.edge_weights

    @cached_property
    def typicality(self) -> Float[Tensor, " N"]:
        """`[N]` inverse mean distance to the nearest neighbors."""
        mean = self.neighbors.distance.mean(1)
        return 1 / (mean + torch.finfo(mean.dtype).eps)

    @cached_property
    def diffused(self) -> Float[Tensor, "N F"]:
        """`[N, F]` features diffused over the graph, in which clusters are compact."""
        return self.member_graph.scaling.normalize(self.member_graph.diffused)

    @cached_property
    def spectrum(self) -> GraphSpectrum:
        """The smoothest functions on the graph."""
        return smallest_eigenvectors(self.topology, self.weights, RANK)

    @cached_property
    def duplicate_group(self) -> Int[Tensor, " N"]:
        """`[N]` group of near-duplicates of each item, as the number of its first item."""
        distance = self.neighbors.distance
        reach = distance[:, min(GRAPH_NEIGHBORS, distance.shape[1]) - 1].median()
        rounding = SAME_ROUNDINGS * torch.finfo(distance.dtype).eps
        # Scaled rows have a mean squared length of 1, which bounds the rounding of distances.
        radius = (NEAR_FRACTION * reach).clamp_min(rounding**0.5)
        receiver, rank = torch.nonzero(distance <= radius).unbind(1)
        edge_index = (self.neighbors.index[receiver, rank], receiver)
        near = Topology(self.n_items, distance.device, edge_index=edge_index)
        undirected, _ = union_graph(near, distance[receiver, rank][:, None])
        return connected_components(undirected)


@torch.no_grad()
def build_item_graph(x: Float[Tensor, "N F"], *, search: Search = auto_search) -> ItemGraph:
    """Scale features and find the nearest neighbors of every item.

    Args:
        x: `[N, F]` features, at least two items.
        search: finds neighbors, see `graphfew.propagation.knn`; the default is
            approximate for more than 30,000 items.

    Returns:
        The items with their graph.

    Raises:
        InvalidInputError: there are fewer than two items, or values are not finite.

    Example:
        >>> import torch
        >>> build_item_graph(torch.eye(3)).neighbors.index.shape
        torch.Size([3, 2])
    """
    if x.ndim != 2 or len(x) < 2:
        raise InvalidInputError(
            f"the items have shape {tuple(x.shape)}; suggestions need features [n, F] of at least "
            "2 items"
        )
    is_finite = x.isfinite().all(1)
    if not bool(is_finite.all()):
        first = int((~is_finite).int().argmax())
        raise InvalidInputError(
            f"{int((~is_finite).sum())} items have NaN or infinite values, the first is item "
            f"{first}; remove or impute them"
        )
    scaling = fit_scaling(x)
    features = scaling(x)
    neighbors = knn(features, min(NEIGHBORS, len(x) - 1), search=search)
    # The same graph as that of a fit, so that predictions need no second search.
    nearest = Neighbors(
        neighbors.index[:, :GRAPH_NEIGHBORS], neighbors.distance[:, :GRAPH_NEIGHBORS]
    )
    return ItemGraph(x, neighbors, member_graph_of(scaling, features, nearest))
