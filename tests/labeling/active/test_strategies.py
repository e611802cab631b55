"""Strategies against references that are written with loops, pair by pair."""

import itertools
import math

import numpy as np
import pytest
import torch

from graphfew.labeling import build_item_graph, typical_items, uncertain_items
from graphfew.labeling.active.labeling_state import make_state
from graphfew.labeling.active.typicality import MIN_CLUSTER, cluster_items, pick_by_cluster
from graphfew.labeling.active.uncertainty import entropy, smallest_margin

SEEDS = range(4)


def random_state(seed, n_items=60, n_labels=5, n_classes=3, predict=None):
    rng = np.random.default_rng(seed)
    centers = 4 * rng.normal(size=(6, 4))
    x = torch.from_numpy(centers[rng.integers(6, size=n_items)] + rng.normal(size=(n_items, 4)))
    labels = torch.full((n_items,), -1)
    labels[torch.from_numpy(rng.permutation(n_items)[:n_labels])] = (
        torch.arange(n_labels) % n_classes
    )
    options = {} if predict is None else {"predict": predict}
    return make_state(build_item_graph(x), labels, **options)


def distance(a, b):
    return math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))


def reference_diffused(graph):
    """Features averaged with those of their neighbors, 30 times, edge by edge."""
    x = graph.features.tolist()
    edges = zip(graph.topology.receivers, graph.topology.senders, graph.weights[:, 0], strict=True)
    edges = [(int(i), int(j), float(weight)) for i, j, weight in edges]
    degree = [0.0] * len(x)
    for i, _, weight in edges:
        degree[i] += weight
    current = x
    for _ in range(30):
        following = [[0.1 * value for value in row] for row in x]
        for i, j, weight in edges:
            for column, value in enumerate(current[j]):
                following[i][column] += 0.9 * weight / degree[i] * value
        current = following
    return graph.member_graph.scaling.normalize(torch.tensor(current, dtype=torch.float64))


def reference_typical(state, cluster, n):
    """TypiClust, item by item."""
    x, labels = state.graph.features.tolist(), state.class_index.tolist()
    candidates = state.candidates.tolist()
    typicality = {}
    for i in candidates:
        nearest = sorted(distance(x[i], x[j]) for j in range(len(x)) if j != i)[:20]
        typicality[i] = len(nearest) / sum(nearest)
    chosen = []
    while len(chosen) < min(n, len(candidates)):
        best = None
        for c in set(cluster.tolist()):
            members = [i for i in range(len(x)) if cluster[i] == c]
            left = [i for i in candidates if cluster[i] == c and i not in chosen]
            if not left:
                continue
            n_labels = sum(labels[i] >= 0 or i in chosen for i in members)
            rank = (len(members) < MIN_CLUSTER, n_labels, -len(members), c)
            if best is None or rank < best[0]:
                best = rank, max(left, key=lambda i: typicality[i])
        chosen.append(best[1])
    return chosen


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n_labels", [0, 5])
def test_typical_items_match_a_reference(seed, n_labels):
    state = random_state(seed, n_labels=n_labels)
    chosen = typical_items(state, 8, np.random.default_rng(seed))
    cluster = cluster_items(
        reference_diffused(state.graph), n_labels + 8, np.random.default_rng(seed)
    )
    assert chosen.tolist() == reference_typical(state, cluster, 8)


def test_small_clusters_are_last_and_labeled_clusters_wait():
    state = random_state(0, n_items=20, n_labels=0)
    cluster = np.array([0] * 9 + [1] * 8 + [2] * 3)
    state.class_index[0] = 0
    chosen = pick_by_cluster(state, cluster, torch.arange(20.0), 18)
    in_order = [cluster[i] for i in chosen]
    # Cluster 0 has a label, so the smaller cluster 1 is first.
    assert in_order[:3] == [1, 0, 1]
    assert all(c < 2 for c in in_order[:17])
    assert in_order[17] == 2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("uncertainty", [smallest_margin, entropy])
def test_uncertain_items_match_a_reference(seed, uncertainty):
    probs = torch.from_numpy(np.random.default_rng(seed).dirichlet([0.3] * 4, 60))
    state = random_state(seed, predict=lambda *_: probs)
    scores = {}
    for i in state.candidates.tolist():
        row = sorted(probs[i].tolist(), reverse=True)
        if uncertainty is smallest_margin:
            scores[i] = 1 - (row[0] - row[1])
        else:
            scores[i] = -sum(p * math.log(p) for p in row if p > 0)
    expected = sorted(scores, key=lambda i: -scores[i])[:7]
    chosen = uncertain_items(state, 7, np.random.default_rng(0), uncertainty=uncertainty)
    assert chosen.tolist() == expected


def test_uncertainty_draws_at_random_among_equal_items():
    state = random_state(0, predict=lambda *_: torch.full((60, 3), 1 / 3))
    draws = [uncertain_items(state, 3, np.random.default_rng(seed)) for seed in range(5)]
    different = [a.tolist() != b.tolist() for a, b in itertools.pairwise(draws)]
    assert any(different)
