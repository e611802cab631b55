"""Sums of several distances between items, each standardized for each query."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.nn.image_distances import DistanceTable, distance_edges, image_side, to_images
from graphfew.ops.distortion import distortion_table


@dataclasses.dataclass(frozen=True)
class ScorePart:
    """Some of the features, and how two items are compared by them.

    Attributes:
        width: number of features.
        weight: factor on the standardized distance.
        channels: 0 compares vectors by the squared Euclidean distance; else the features are maps
            of that many channels, compared by the image distortion model.
        window: largest displacement of a pixel in maps.
        patch: side of the patches that are compared in maps, odd.
        penalty: cost of a displacement of one pixel in maps.

    Example:
        >>> from graphfew.nn.weighted_scores import ScorePart
        >>> ScorePart(width=64, weight=2.0).channels
        0
    """

    width: int
    weight: float = 1.0
    channels: int = 0
    window: int = 3
    patch: int = 3
    penalty: float = 0.003

    @property
    def distances(self) -> DistanceTable:
        """The function from features `[m, width]` and `[n, width]` to distances `[m, n]`."""
        if self.channels == 0:
            return _squared_distances
        return functools.partial(_map_distances, self)


def read_parts(parts: Sequence[Mapping[str, Any]], dim: int) -> tuple[ScorePart, ...]:
    """Read parts that are given as JSON values, and check them.

    Args:
        parts: the fields of each `ScorePart`.
        dim: number of features of all parts together.

    Returns:
        The parts.

    Raises:
        InvalidInputError: there is no part, a field is unknown or out of range, or the widths do
            not add up to `dim`.
    """
    known = [field.name for field in dataclasses.fields(ScorePart)]
    read = []
    for number, part in enumerate(parts):
        unknown = sorted(set(part) - set(known))
        if unknown or "width" not in part:
            raise InvalidInputError(
                f"part {number} has the keys {sorted(part)}; give width and any of "
                f"{', '.join(known[1:])}"
            )
        read.append(_check_part(number, ScorePart(**part)))
    widths = [part.width for part in read]
    if not widths or sum(widths) != dim:
        raise InvalidInputError(
            f"the parts have widths {widths}, but the encoder has {dim} features; give one part "
            "for each encoder of backbones.concat, in order"
        )
    return tuple(read)


def _check_part(number: int, part: ScorePart) -> ScorePart:
    is_valid = (
        part.width > 0
        and 0 <= part.weight < torch.inf
        and part.channels >= 0
        and part.window >= 0
        and part.patch > 0
        and part.patch % 2 == 1
        and 0 <= part.penalty < torch.inf
    )
    if not is_valid:
        raise InvalidInputError(
            f"part {number} is {part}; weight, channels, window and penalty must be 0 or more, "
            "width positive and patch odd"
        )
    if part.channels:
        image_side(part.width, part.channels)
    return part


class ScoreCombination(nn.Module):
    """Layer that sets the edges from supports to queries to a sum of standardized similarities.

    Args:
        parts: what the features consist of, in order.
        scale: factor on the sum.

    Example:
        >>> import torch, graphfew as gf
        >>> from graphfew.nn.weighted_scores import ScoreCombination, ScorePart
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.eye(3, 4), y, query=y < 0, way=2)
        >>> layer = ScoreCombination((ScorePart(2), ScorePart(2)), scale=1.0)
        >>> layer(gf.nn.support_query_graph(episode)).edges.shape
        torch.Size([2, 1])
    """

    def __init__(self, parts: Sequence[ScorePart], scale: float) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.scale = scale

    def forward(self, graph: Graph) -> Graph:
        """Return the graph, which `support_query_graph` has built, with new edges."""
        edges = distance_edges(graph, functools.partial(combined_distances, self.parts))
        return graph.replace(edges=-self.scale * edges)

    def extra_repr(self) -> str:
        return f"parts={self.parts}, scale={self.scale}"


def combined_distances(
    parts: Sequence[ScorePart], queries: Float[Tensor, "m F"], supports: Float[Tensor, "n F"]
) -> Float[Tensor, "m n"]:
    """Compute the weighted sum of the standardized distances of all parts.

    Args:
        parts: what the features consist of, in order.
        queries: `[m, F]`.
        supports: `[n, F]`.

    Returns:
        `[m, n]`.
    """
    widths = [part.width for part in parts]
    total = queries.new_zeros(len(queries), len(supports))
    blocks = zip(
        parts, torch.split(queries, widths, 1), torch.split(supports, widths, 1), strict=True
    )
    for part, a, b in blocks:
        total = total + part.weight * standardize_rows(part.distances(a, b))
    return total


def standardize_rows(table: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """Shift and scale each row to mean 0 and variance 1, so that each query stays independent.

    Args:
        table: `[m, n]`.

    Returns:
        `[m, n]`; zeros for a row of equal values.
    """
    centered = table - table.mean(1, keepdim=True)
    deviation = centered.square().mean(1, keepdim=True).sqrt()
    # Rounding leaves a trace in rows of equal values, which must not be scaled up.
    floor = torch.finfo(table.dtype).eps * (1 + table.abs().amax(1, keepdim=True))
    return centered / deviation.clamp_min(16 * floor)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    # By differences instead of products: equal for any number of queries.
    return (a[:, None] - b).square().sum(2)


def _map_distances(part: ScorePart, a: Tensor, b: Tensor) -> Tensor:
    images = to_images(a, part.channels), to_images(b, part.channels)
    return distortion_table(*images, part.window, part.patch, part.penalty)
