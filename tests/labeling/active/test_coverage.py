"""ProbCover against a reference that is written with loops."""

import math

import numpy as np
import pytest
import torch

from graphfew.labeling.active import coverage
from graphfew.labeling.active.coverage import cover_greedily, covering_items, pure_radius
from graphfew.labeling.active.item_graph import build_item_graph
from graphfew.labeling.active.labeling_state import make_state
from graphfew.labeling.active.typicality import cluster_items


def random_state(seed, n_items=40, n_labels=3):
    rng = np.random.default_rng(seed)
    centers = 4 * rng.normal(size=(5, 3))
    x = torch.from_numpy(centers[rng.integers(5, size=n_items)] + rng.normal(size=(n_items, 3)))
    labels = torch.full((n_items,), -1)
    labels[:n_labels] = torch.arange(n_labels) % 2
    return make_state(build_item_graph(x), labels)


def reference_cover(state, cluster, n, min_purity):
    """ProbCover, ball by ball."""
    x, labels = state.graph.features.tolist(), state.class_index.tolist()
    items = range(len(x))
    distance = [[math.dist(x[i], x[j]) for j in items] for i in items]
    radius = 0.0
    for tried in sorted({d for row in distance for d in row}):
        n_pure = 0
        for i in items:
            clusters = {cluster[j] for j in items if distance[i][j] <= tried}
            n_pure += len(clusters) == 1
        if n_pure >= min_purity * len(x):
            radius = tried
    balls = [{j for j in items if distance[i][j] <= radius} for i in items]
    candidates = set(state.candidates.tolist())
    covered = set().union(*(balls[i] for i in items if labels[i] >= 0))
    chosen = []
    for _ in range(n):
        left = sorted(candidates - set(chosen))
        if not any(balls[i] - covered for i in left):
            covered = {i for i in items if labels[i] >= 0} | set(chosen)
        best = max(left, key=lambda i: len(balls[i] - covered))
        covered |= balls[best]
        chosen.append(best)
    return chosen, radius


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_labels", [0, 3])
def test_covering_items_match_a_reference(seed, n_labels):
    state = random_state(seed, n_labels=n_labels)
    chosen = covering_items(state, 12, np.random.default_rng(seed), min_purity=0.9)
    n_clusters = max(2, n_labels + 12)
    cluster = cluster_items(state.graph.features, n_clusters, np.random.default_rng(seed))
    expected, radius = reference_cover(state, cluster.tolist(), 12, 0.9)
    distance = torch.cdist(state.graph.features, state.graph.features)
    assert float(pure_radius(distance, torch.from_numpy(cluster), 0.9)) == pytest.approx(radius)
    assert chosen.tolist() == expected


def test_picks_go_on_once_everything_is_covered():
    is_in_ball = torch.ones(6, 6, dtype=torch.bool)
    is_labeled = torch.arange(6) == 2
    picked = cover_greedily(is_in_ball, is_labeled, ~is_labeled, 5)
    assert sorted(picked.tolist()) == [0, 1, 3, 4, 5]


def test_large_sets_are_sampled_with_all_labeled_items(monkeypatch):
    monkeypatch.setattr(coverage, "MAX_ITEMS", 20)
    state = random_state(0)
    chosen = covering_items(state, 5, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == 5
    assert state.is_candidate[chosen].all()
    many = covering_items(state, 30, np.random.default_rng(0))
    assert len(set(many.tolist())) == 30
