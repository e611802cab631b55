"""Class scores that are updated label by label, against solutions from the start."""

import numpy as np
import pytest
import torch

from graphfew.labeling.annotation.accuracy_estimate import (
    choose_power,
    estimate_accuracy,
    wilson_interval,
)
from graphfew.labeling.annotation.label_graph import (
    ALPHA,
    LabelGraph,
    find_influences,
    no_scores,
    normalize_scores,
    update_scores,
)
from graphfew.labeling.annotation.predictions import ModelProbs, Predictions
from graphfew.propagation import sparse_knn_gaussian, spread_labels

N_ITEMS = 60


@pytest.fixture(scope="module")
def points():
    generator = torch.Generator().manual_seed(0)
    centers = 6 * torch.randn(3, 4, generator=generator)
    return centers.repeat(N_ITEMS // 3, 1) + torch.randn(N_ITEMS, 4, generator=generator)


@pytest.fixture(scope="module")
def graph(points):
    return LabelGraph(*sparse_knn_gaussian(points, 8))


def label_one_by_one(graph, labels):
    scores, assigned = no_scores(N_ITEMS), {}
    for item, class_id in labels.items():
        assigned = {**assigned, item: class_id}
        scores = update_scores(graph, scores, assigned)
    return scores


def solve(graph, labels, class_ids):
    """Scores of all labels at once, by the library's own solver."""
    sources = torch.zeros(N_ITEMS, len(class_ids))
    for item, class_id in labels.items():
        sources[item, class_ids.index(class_id)] = 1
    return spread_labels(graph.topology, graph.weights, sources, ALPHA, tolerance=1e-7).T


LABELS = {0: 4, 1: 7, 2: 9, 3: 4, 10: 7, 5: 9, 6: 4}


def test_single_updates_equal_one_solution(graph):
    scores = label_one_by_one(graph, LABELS)
    torch.testing.assert_close(
        scores.sums, solve(graph, LABELS, scores.class_ids), atol=1e-5, rtol=1e-3
    )


def test_changed_and_removed_labels_equal_one_solution(graph):
    scores = label_one_by_one(graph, LABELS)
    changed = {0: 9, 1: 7, 2: 9, 3: 4, 5: 9}
    after = update_scores(graph, scores, changed)
    torch.testing.assert_close(
        after.sums, solve(graph, changed, after.class_ids), atol=1e-5, rtol=1e-3
    )


def test_class_without_labels_is_dropped(graph):
    scores = label_one_by_one(graph, LABELS)
    rest = {item: class_id for item, class_id in LABELS.items() if class_id != 7}
    assert set(update_scores(graph, scores, rest).class_ids) == {4, 9}
    assert update_scores(graph, scores, {}).class_ids == ()


def test_held_out_scores_equal_those_without_the_label(graph):
    scores = label_one_by_one(graph, LABELS)
    items = list(LABELS)
    held_out = scores.held_out_scores(items)
    for row, item in enumerate(items):
        others = {i: c for i, c in LABELS.items() if i != item}
        expected = solve(graph, others, scores.class_ids)
        expected = expected[:, item] / expected.sum(1)
        torch.testing.assert_close(held_out[row], expected, atol=1e-5, rtol=5e-3)


def test_held_out_score_of_the_only_label_is_zero(graph):
    scores = label_one_by_one(graph, {0: 1, 1: 2, 3: 1})
    assert scores.held_out_scores([1])[0, scores.class_ids.index(2)] == 0


def test_influences_of_a_continued_log_equal_those_of_single_labels(graph):
    scores = label_one_by_one(graph, LABELS)
    found = find_influences(graph, LABELS)
    for item, influence in scores.influences.items():
        assert found[item].own == pytest.approx(influence.own, rel=1e-3)
        assert found[item].total == pytest.approx(influence.total, rel=1e-3)
    assert find_influences(graph, []) == {}


def test_labeled_items_have_certain_probabilities(graph):
    probs = label_one_by_one(graph, LABELS).probs(power=2.0)
    torch.testing.assert_close(probs.sum(1), torch.ones(N_ITEMS))
    assert probs[0].tolist() == [1, 0, 0]


def test_items_without_a_path_to_labels_are_uniform():
    x = torch.tensor([[0.0], [0.1], [0.2], [90.0], [90.1], [90.2]])
    graph = LabelGraph(*sparse_knn_gaussian(x, 2))
    scores = update_scores(graph, no_scores(6), {0: 0, 1: 1})
    assert scores.probs()[3:].tolist() == [[0.5, 0.5]] * 3


def test_duplicates_and_one_class_are_finite():
    graph = LabelGraph(*sparse_knn_gaussian(torch.zeros(5, 2), 3))
    scores = update_scores(graph, no_scores(5), {0: 3})
    assert scores.probs(4.0).tolist() == [[1.0]] * 5


def test_powers_do_not_underflow():
    probs = normalize_scores(torch.tensor([[1e-20, 3e-20]]), 8.0)
    assert probs[0, 1] == pytest.approx(3**8 / (1 + 3**8))


def test_excluded_classes_have_no_probability(graph):
    scores = label_one_by_one(graph, LABELS)
    predictions = Predictions(scores, None, ((20, 4), (20, 7), (21, 99)))
    assert predictions.likely(20, 3)[0] == (9, pytest.approx(1.0))


def test_model_is_mixed_and_unknown_classes_keep_their_graph_scores(graph):
    scores = label_one_by_one(graph, LABELS)
    model = ModelProbs((9, 4, 55), torch.tensor([[1.0, 0.0, 0.0]]).repeat(N_ITEMS, 1), 5)
    alone, mixed = Predictions(scores), Predictions(scores, model)
    torch.testing.assert_close(mixed.probs.sum(1), torch.ones(N_ITEMS))
    assert mixed.probs[20, scores.class_ids.index(9)] >= 0.5
    torch.testing.assert_close(mixed.probs[0], alone.probs[0])
    outdated = ModelProbs((55,), torch.ones(N_ITEMS, 1), 5)
    torch.testing.assert_close(Predictions(scores, outdated).probs, alone.probs)


def test_accuracy_counts_drawn_items_without_their_own_label(graph):
    labels = {item: item % 3 for item in range(12)}
    labels[0] = 1  # of cluster 0: every prediction without this label is 0
    scores = label_one_by_one(graph, labels)
    estimate = estimate_accuracy(scores, range(10))
    assert estimate is not None
    assert estimate.mean == pytest.approx(0.9)
    assert estimate.low < 0.9 < estimate.high
    with_rejected = estimate_accuracy(scores, range(10), n_rejected=5)
    assert with_rejected is not None
    assert with_rejected.mean == pytest.approx(9 / 15)
    assert estimate_accuracy(scores, range(4)) is None


def test_power_is_larger_for_clear_clusters(points):
    labels = {item: item % 3 for item in range(15)}
    noise = torch.randn(N_ITEMS, 4, generator=torch.Generator().manual_seed(1))
    clear = LabelGraph(*sparse_knn_gaussian(points, 30))
    mixed = LabelGraph(*sparse_knn_gaussian(noise, 30))
    assert choose_power(label_one_by_one(clear, labels)) > 2
    assert choose_power(label_one_by_one(mixed, labels)) < 2
    assert choose_power(no_scores(3)) == 2


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (3, 40)])
def test_wilson_interval_equals_that_of_scipy(k, n):
    from scipy import stats

    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_interval_covers_the_accuracy():
    draws = np.random.default_rng(0).binomial(30, 0.8, size=400)
    intervals = [wilson_interval(int(k), 30) for k in draws]
    assert np.mean([low <= 0.8 <= high for low, high in intervals]) > 0.92
