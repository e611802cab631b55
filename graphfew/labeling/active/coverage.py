"""ProbCover: the items whose neighborhoods cover the most others."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from graphfew.labeling.active.labeling_state import Index, LabelingState
from graphfew.labeling.active.typicality import cluster_items

MIN_PURITY = 0.95
# The balls of this many items are stored as bits of a matrix of all pairs.
MAX_ITEMS = 8000
# The radii that are tried are quantiles of the distances to the nearest item of another cluster.
N_RADII = 50


def covering_items(
    state: LabelingState, n: int, rng: np.random.Generator, *, min_purity: float = MIN_PURITY
) -> Index:
    """Suggest items whose balls cover the most items that are not covered yet.

    The radius is the largest at which a share of `min_purity` of the balls contains items of one
    cluster only. The balls of labeled items count as covered.

    Args:
        state: items and labels.
        n: number of items.
        rng: initializes k-means, and draws the items of large sets.
        min_purity: share of balls within one cluster, from 0 to 1.

    Returns:
        Item indices, best first.

    Example:
        >>> import numpy as np, torch
        >>> from graphfew.labeling.active import build_item_graph, make_state
        >>> x = torch.cat([torch.arange(9.0), 100 + torch.arange(7.0)])[:, None]
        >>> state = make_state(build_item_graph(x), torch.full((16,), -1))
        >>> items = covering_items(state, 2, np.random.default_rng(0))
        >>> sorted((items >= 9).tolist())  # one of each cluster
        [False, True]

    Source:
        Yehuda, Dekel, Hacohen, Weinshall, 2022, Active Learning Through a Covering Lens
        (ProbCover).

    Deviations:
        Features are scaled as the default classifier scales them, without self-supervised training.
        The number of classes is unknown: k-means has as many clusters as items will be labeled, at
        most 500. Once everything is covered, all balls count as uncovered again, except those of
        the labeled and suggested items themselves. Of more than 8,000 items, a random 8,000 are
        used. Near-duplicates are not suggested together.
    """
    rows = _sample(state, n, rng)
    x = state.graph.features[rows]
    n_clusters = min(max(2, state.n_labeled + n), len(x), 500)
    cluster = torch.from_numpy(cluster_items(x, n_clusters, rng))
    distance = _pairwise_distances(x)
    is_in_ball = distance <= pure_radius(distance, cluster, min_purity)
    del distance
    is_labeled = state.class_index[rows] >= 0
    picked = cover_greedily(is_in_ball, is_labeled, state.is_candidate[rows], n)
    chosen: Index = rows[picked].numpy()
    return chosen


def pure_radius(
    distance: Float[Tensor, "N N"], cluster: Tensor, min_purity: float
) -> Float[Tensor, ""]:
    """Find the largest radius at which enough balls contain items of one cluster only.

    Args:
        distance: of all pairs.
        cluster: `[N]` cluster of each item.
        min_purity: share of such balls.

    Returns:
        The radius: the largest distance below that to another cluster of all but a share of
        `1 - min_purity` of the items.
    """
    n_items = len(cluster)
    nearest_other = torch.full((n_items,), torch.inf, dtype=distance.dtype)
    for start in range(0, n_items, 1000):
        rows = slice(start, start + 1000)
        is_same = cluster[rows, None] == cluster
        nearest_other[rows] = distance[rows].masked_fill(is_same, torch.inf).amin(1)
    # Balls of this radius are pure, and at the next larger distance one more is not.
    n_impure = int(n_items * (1 - min_purity) + 1e-9)
    limit = nearest_other.sort().values[min(n_impure, n_items - 1)]
    below = torch.where(distance < limit, distance, -torch.inf)
    return below.amax().clamp_min(0)


def cover_greedily(
    is_in_ball: Bool[Tensor, "N N"],
    is_labeled: Bool[Tensor, " N"],
    is_candidate: Bool[Tensor, " N"],
    n: int,
) -> Tensor:
    """Pick the candidate whose ball has the most uncovered items, and repeat.

    Args:
        is_in_ball: whether item j is in the ball of item i, symmetric.
        is_labeled: items whose balls are covered at the start.
        is_candidate: items that can be picked; at least `n`.
        n: number of picks.

    Returns:
        `[n]` positions in the order of the picks.
    """
    is_chosen = is_labeled.clone()
    is_covered = is_in_ball[is_labeled].any(0)
    gain = is_in_ball[:, ~is_covered].sum(1)
    picked = []
    for _ in range(n):
        open_gain = gain.masked_fill(~is_candidate | is_chosen, -1)
        best = int(open_gain.argmax())
        if open_gain[best] == 0:
            # Everything is covered: start again, so that dense regions get a second label.
            is_covered = is_chosen.clone()
            gain = is_in_ball[:, ~is_covered].sum(1)
            open_gain = gain.masked_fill(~is_candidate | is_chosen, -1)
            best = int(open_gain.argmax())
        newly = is_in_ball[best] & ~is_covered
        gain = gain - is_in_ball[:, newly].sum(1)
        is_covered = is_covered | newly
        is_chosen[best] = True
        picked.append(best)
    return torch.tensor(picked)


def _sample(state: LabelingState, n: int, rng: np.random.Generator) -> Tensor:
    """All items, or labeled ones, `n` candidates and others at random, in order."""
    n_items = state.graph.n_items
    if n_items <= MAX_ITEMS:
        return torch.arange(n_items)
    priority = torch.from_numpy(rng.random(n_items))
    priority[state.class_index >= 0] = -1
    needed = torch.from_numpy(rng.permutation(state.candidates.numpy())[:n])
    priority[needed] = -1
    size = max(MAX_ITEMS, int((priority < 0).sum()))
    return priority.argsort()[:size].sort().values


def _pairwise_distances(x: Float[Tensor, "N F"]) -> Float[Tensor, "N N"]:
    squares = x.square().sum(1)
    table = torch.addmm(squares, x, x.T, alpha=-2).add_(squares[:, None])
    return table.clamp_min_(0).sqrt_()
