"""Partitions of embeddings by k-means."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from graphfew.data.draws import Index, check_seed
from graphfew.errors import InvalidInputError

MAX_ITERATIONS = 3000


def kmeans_partitions(
    features: Float[Tensor, "n F"], n_clusters: int = 500, n_partitions: int = 1, *, seed: int = 0
) -> tuple[Index, ...]:
    """Partition items by k-means, the first time as they are, then with random dimension scaling.

    Formula:
        partition p = k-means of  φ_i ⊙ s_p,  s_0 = 1,  s_p ~ U(0, 1)^F for p > 0

    Args:
        features: `[n, F]` embeddings, such as `encode(data, encoder).x`. Labels are not needed.
        n_clusters: number of clusters of each partition.
        n_partitions: number of partitions. A single one is the best of 10 initializations, several
            have one initialization each.
        seed: seed of the scales and of the initial centers.

    Returns:
        For each partition, the cluster of each item, `[n]` int64.

    Raises:
        InvalidInputError: a number is out of range, or features are not finite.

    Example:
        >>> import graphfew as gf
        >>> digits = gf.data.digits(size=8)
        >>> partitions = kmeans_partitions(digits.x.flatten(1).float(), 20, n_partitions=2)
        >>> len(partitions), partitions[0].shape, int(partitions[0].max())
        (2, (1797,), 19)

    Source:
        Hsu, Levine, Finn, 2019, Unsupervised Learning via Meta-Learning (CACTUs).

    Deviations:
        The numbers of initializations are those of the published MAML code; that for prototypical
        networks uses 3 for each partition. Partitions are not computed again if many of their
        clusters are small; `CactusTasks` rejects them.
    """
    check_seed(seed)
    if not 2 <= n_clusters <= len(features) or n_partitions < 1:
        raise InvalidInputError(
            f"kmeans_partitions got n_clusters={n_clusters}, n_partitions={n_partitions} and "
            f"{len(features)} items; it needs 2 clusters or more, at most one per item, and at "
            "least 1 partition"
        )
    values = features.numpy(force=True).astype(np.float64)
    if not np.isfinite(values).all():
        raise InvalidInputError("features have NaN or infinite values; remove or impute them")
    n_initializations = 10 if n_partitions == 1 else 1
    partitions = []
    for number in range(n_partitions):
        sequence = np.random.SeedSequence(seed, spawn_key=(number,))
        scaled = values
        if number:
            scaled = values * np.random.default_rng(sequence).random(values.shape[1])
        partitions.append(_kmeans(scaled, n_clusters, n_initializations, sequence))
    return tuple(partitions)


def _kmeans(
    values: NDArray[np.float64],
    n_clusters: int,
    n_initializations: int,
    sequence: np.random.SeedSequence,
) -> Index:
    # Both are slow to import.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    model = KMeans(
        n_clusters,
        n_init=n_initializations,
        max_iter=MAX_ITERATIONS,
        random_state=int(sequence.generate_state(1)[0]),
    )
    # Threads add up the centers in any order; with one thread a resumed run gets the same clusters.
    with threadpool_limits(limits=1):
        clusters: Index = model.fit_predict(values).astype(np.int64)
    return clusters
