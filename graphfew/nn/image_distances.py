"""Edges between images: distances under deformation, for graphs of supports and queries."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphfew.core.builders import complete_graph
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError

# From images `[m, c, h, w]` and `[n, c, h, w]` to distances `[m, n]`.
DistanceTable = Callable[[Tensor, Tensor], Tensor]


class ImageDistances(nn.Module):
    """Layer that sets the edges from supports to queries to scaled negative distances of images.

    Args:
        distances: from images `[m, c, h, w]` and `[n, c, h, w]` to distances `[m, n]`, such as
            `graphfew.ops.distortion.distortion_table`; called once per task.
        channels: number of channels; the features are flattened square images.
        scale: factor on the distances.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.nn.image_distances import ImageDistances
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.eye(3, 4), y, query=y < 0, way=2)
        >>> layer = ImageDistances(lambda a, b: torch.cdist(a.flatten(1), b.flatten(1)), channels=1)
        >>> layer(gf.nn.support_query_graph(episode)).edges.flatten()
        tensor([-1.4142, -1.4142])
    """

    def __init__(self, distances: DistanceTable, channels: int, scale: float = 1.0) -> None:
        super().__init__()
        self.distances = distances
        self.channels = channels
        self.scale = scale

    def forward(self, graph: Graph) -> Graph:
        """Return the graph, which `support_query_graph` has built, with new edges."""
        return graph.replace(edges=-self.scale * distance_edges(graph, self._compare))

    def _compare(self, queries: Tensor, supports: Tensor) -> Tensor:
        images = to_images(queries, self.channels), to_images(supports, self.channels)
        return self.distances(*images)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, scale={self.scale}"


def distance_edges(graph: Graph, distances: DistanceTable) -> Float[Tensor, "E 1"]:
    """Compute the edges from supports to queries of each task from their features.

    Args:
        graph: a graph of `support_query_graph`, with nodes `[N, F]`.
        distances: from features `[m, F]` of queries and `[n, F]` of supports to `[m, n]`.

    Returns:
        `[E, 1]` the distances.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.nn.image_distances import distance_edges
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.eye(3), y, query=y < 0, way=2)
        >>> distance_edges(gf.nn.support_query_graph(episode), torch.cdist).flatten()
        tensor([1.4142, 1.4142])
    """
    episode = graph.episode
    sizes = list(episode.sizes)
    tables = []
    for nodes, is_query, is_labeled in zip(
        torch.split(graph.nodes, sizes),
        torch.split(episode.query, sizes),
        torch.split(episode.labeled, sizes),
        strict=True,
    ):
        # Edges are sorted by receiver, then by sender, like the rows of the table.
        tables.append(distances(nodes[is_query], nodes[is_labeled]).flatten())
    return torch.cat(tables)[:, None]


def complete_distance_graph(episode: Episode, distances: DistanceTable, channels: int) -> Graph:
    """Build the complete graph of the images of each task, with their distances as edges.

    Args:
        episode: an episode of flattened square images `x [N, F]`, or of images `[N, c, h, w]`.
        distances: as for `ImageDistances`.
        channels: number of channels.

    Returns:
        A graph with nodes `[N, F]` and edges `[E, 1]`, from which methods that propagate labels or
        learn on edges can start.

    Raises:
        InvalidInputError: the features are no square images of that many channels.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.nn.image_distances import complete_distance_graph
        >>> from graphfew.ops.distortion import distortion_table
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.eye(3, 4), y, query=y < 0, way=2)
        >>> complete_distance_graph(episode, distortion_table, channels=1).edges.shape
        torch.Size([9, 1])
    """
    flat = episode.x.flatten(1)
    topology = complete_graph(episode.sizes, flat.device)
    tables = []
    for nodes in torch.split(flat, list(episode.sizes)):
        images = to_images(nodes, channels)
        tables.append(distances(images, images).flatten())
    return Graph(flat, torch.cat(tables)[:, None], topology, episode)


def image_side(dim: int, channels: int) -> int:
    """Return the side of square images of `dim` values.

    Args:
        dim: number of values of an image.
        channels: number of its channels.

    Returns:
        The side in pixels.

    Raises:
        InvalidInputError: no square image of that many channels has `dim` values.

    Example:
        >>> from graphfew.nn.image_distances import image_side
        >>> image_side(9 * 28 * 28, channels=9)
        28
    """
    side = math.isqrt(dim // channels) if channels > 0 else 0
    if channels < 1 or side * side * channels != dim:
        raise InvalidInputError(
            f"features of width {dim} are no square images of {channels} channels; pass the number "
            "of channels of the encoder's maps, such as 9 for gradient_maps"
        )
    return side


def to_images(features: Float[Tensor, "n F"], channels: int) -> Float[Tensor, "n c h w"]:
    """Unflatten features to square images.

    Args:
        features: `[n, F]`.
        channels: number of channels.

    Returns:
        `[n, channels, side, side]`.

    Raises:
        InvalidInputError: the features are no square images of that many channels.
    """
    side = image_side(features.shape[1], channels)
    return features.view(-1, channels, side, side)


def map_channels(encoder: nn.Module, dim: int, channels: int | None) -> int:
    """Return the number of channels of an encoder's maps.

    Args:
        encoder: a backbone may declare the number as `num_maps` of its network.
        dim: output width of the encoder.
        channels: the number; None takes the declared one, else every feature is an image of its
            own of one pixel, which cannot be deformed.

    Returns:
        The number of channels.

    Raises:
        InvalidInputError: the features are no square images of that many channels.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.nn.image_distances import map_channels
        >>> map_channels(gf.backbones.gradient_maps(), 7056, None)
        9
    """
    if channels is None:
        declared = getattr(getattr(encoder, "net", None), "num_maps", None)
        channels = dim if declared is None else int(declared)
    image_side(dim, channels)
    return channels
