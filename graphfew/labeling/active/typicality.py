"""TypiClust: the most typical item of each cluster."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from graphfew.labeling.active.labeling_state import Index, LabelingState

MAX_CLUSTERS = 500
# Smaller clusters are outliers; they are used if no other is left.
MIN_CLUSTER = 6
# With more clusters, k-means learns from a batch of items at a time.
MAX_BATCH_CLUSTERS = 50
BATCH_SIZE = 5000
SMALL_SET = 5000


def typical_items(state: LabelingState, n: int, rng: np.random.Generator) -> Index:
    """Suggest the most typical items of clusters without labels, largest clusters first.

    There are as many clusters as items will be labeled. It suits the start, when there are few
    labels or none.

    Formula:
        typicality(i) = 1 / mean distance of i to its 20 nearest neighbors

    Args:
        state: items and labels.
        n: number of items.
        rng: initializes k-means.

    Returns:
        Item indices, best first.

    Example:
        >>> import numpy as np, torch
        >>> from graphfew.labeling.active import build_item_graph, make_state
        >>> x = torch.cat([torch.arange(9.0), 100 + torch.arange(7.0)])[:, None]
        >>> state = make_state(build_item_graph(x), torch.full((16,), -1))
        >>> items = typical_items(state, 2, np.random.default_rng(0))
        >>> sorted((items >= 9).tolist())  # one of each cluster
        [False, True]

    Source:
        Hacohen, Dekel, Weinshall, 2022, Active Learning on a Budget: Opposite Strategies Suit High
        and Low Budgets (TypiClust).

    Deviations:
        Clusters are those of features that are diffused over the kNN graph of all items, without
        self-supervised training; neighbors may be in another cluster. The cluster with the fewest
        labels, given and suggested, is always next, where the authors' code cycles through
        clusters. Distances are not squared, unlike in that code. Near-duplicates are not suggested
        together. Small clusters are used if no other is left.
    """
    n_clusters = min(state.n_labeled + n, MAX_CLUSTERS, state.graph.n_items)
    cluster = cluster_items(state.graph.diffused, n_clusters, rng)
    return pick_by_cluster(state, cluster, state.graph.typicality, n)


def pick_by_cluster(
    state: LabelingState, cluster: Index, score: Float[Tensor, " N"], n: int
) -> Index:
    """Pick the item with the largest score of the cluster with the fewest labels, and repeat.

    Of clusters with as few labels, the largest is next. Clusters with at most five items are used
    after all others.

    Args:
        state: items and labels.
        cluster: `[N]` cluster of each item.
        score: `[N]`.
        n: number of items.

    Returns:
        Item indices in the order of the picks.
    """
    sizes = np.bincount(cluster)
    n_labels = np.bincount(cluster[state.class_index.numpy() >= 0], minlength=len(sizes))
    candidates = state.candidates.numpy()
    by_score = candidates[score[candidates].argsort(descending=True, stable=True).numpy()]
    queues = [by_score[cluster[by_score] == c] for c in range(len(sizes))]
    picked_of = np.zeros(len(sizes), dtype=np.int64)
    left_of = np.array([len(queue) for queue in queues])
    picked = []
    for _ in range(min(n, len(candidates))):
        is_small = sizes < MIN_CLUSTER
        # The last key is the first to sort by.
        order = np.lexsort((-sizes, n_labels + picked_of, is_small, picked_of >= left_of))
        chosen = order[0]
        picked.append(queues[chosen][picked_of[chosen]])
        picked_of[chosen] += 1
    return np.array(picked, dtype=np.int64)


def cluster_items(x: Float[Tensor, "N F"], n_clusters: int, rng: np.random.Generator) -> Index:
    """Cluster items by k-means; in batches if there are many clusters and items.

    Args:
        x: `[N, F]`.
        n_clusters: number of clusters, at most `N`.
        rng: initializes the centers.

    Returns:
        `[N]` cluster of each item.
    """
    # Both are slow to import.
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    distinct = len(torch.unique(x, dim=0)) if len(x) <= SMALL_SET else n_clusters
    n_clusters = min(n_clusters, distinct)
    seed = int(rng.integers(2**31))
    if n_clusters <= MAX_BATCH_CLUSTERS or len(x) <= SMALL_SET:
        model = KMeans(n_clusters, n_init=1, random_state=seed)
    else:
        model = MiniBatchKMeans(n_clusters, n_init=1, batch_size=BATCH_SIZE, random_state=seed)
    # Threads add up the centers in any order, and the result would differ between runs.
    with threadpool_limits(limits=1):
        cluster: Index = model.fit_predict(x.numpy()).astype(np.int64)
    return cluster
