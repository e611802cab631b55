"""Class weights that make the predictions meet a prior."""

import pytest
import torch

from graphfew.propagation import volume_weights


def draw_scores(seed, tasks, nodes, classes):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(tasks, nodes, classes, generator=generator, dtype=torch.float64)


def fractions(scores, weights):
    predicted = (scores * weights).argmax(2)
    return torch.nn.functional.one_hot(predicted, scores.shape[2]).double().mean(1)


@pytest.mark.parametrize("nodes", [7, 60, 3000])
def test_predictions_meet_the_prior(nodes):
    scores = draw_scores(nodes, 3, nodes, 4)
    scores[:, :, 0] += 0.3
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    weights = volume_weights(scores, prior)
    gap = (fractions(scores, weights) - prior).abs().amax(1)
    assert (gap <= max(1e-3, 1 / nodes)).all()
    assert torch.allclose(weights.mean(2), torch.ones(3, 1, dtype=torch.float64))
    assert (weights > 0).all()
    before = (fractions(scores, torch.ones_like(weights)) - prior).abs().amax(1)
    assert (before > 0.1).all()


def test_tasks_stop_separately():
    scores = draw_scores(0, 5, 40, 3)
    scores[1, :, 0] += 5
    scores[2, :20] = scores[2, :1]
    prior = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    together = volume_weights(scores, prior)
    alone = [volume_weights(scores[[task]], prior) for task in range(5)]
    assert torch.equal(together, torch.cat(alone))


def test_the_order_of_classes_has_no_influence():
    scores = draw_scores(1, 1, 50, 3)
    prior, order = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64), [2, 0, 1]
    permuted = volume_weights(scores[..., order], prior[order])
    assert torch.allclose(permuted, volume_weights(scores, prior)[..., order])


def test_only_counted_nodes_matter():
    scores = draw_scores(2, 1, 50, 3)
    is_counted = torch.arange(50)[None] < 20
    prior = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    weights = volume_weights(scores, prior, is_counted)
    assert torch.equal(weights, volume_weights(scores[:, :20], prior))
    assert (fractions(scores[:, :20], weights) * 20).tolist() == [[10, 5, 5]]


def test_unreachable_priors_end():
    """Tied scores cannot be divided; a class with -inf is never predicted."""
    prior = torch.tensor([0.5, 0.5])
    tied = torch.tensor([[[0.9, 0.4]] * 6])
    weights = volume_weights(tied, prior)
    assert torch.isfinite(weights).all()
    impossible = torch.tensor([[[0.9, -torch.inf]] * 6])
    assert fractions(impossible, volume_weights(impossible, prior)).tolist() == [[1.0, 0.0]]
    none = volume_weights(tied, prior, torch.zeros(1, 6, dtype=torch.bool))
    assert torch.isfinite(none).all()


def test_starting_weights_are_kept_if_they_fit():
    scores = torch.tensor([[[0.9, 0.4], [0.2, 0.3]]])
    start = torch.tensor([[[0.9, 1.1]]])
    assert torch.equal(volume_weights(scores, torch.tensor([0.5, 0.5]), start=start), start)
