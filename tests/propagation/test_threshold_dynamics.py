"""PoissonMBO on sparse and dense graphs against loops."""

import numpy as np
import pytest
import torch
from reference import poisson

import graphfew as gf
from graphfew.propagation import poisson_learning, sparse_knn_gaussian, threshold_dynamics
from graphfew.propagation.poisson_equation import poisson_probs
from graphfew.propagation.symmetric_graph import dense_symmetric_graph
from graphfew.propagation.threshold_dynamics import poisson_mbo_probs

PRIOR = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def random_weights(seed, nodes, density):
    generator = torch.Generator().manual_seed(seed)
    w = torch.rand(nodes, nodes, generator=generator, dtype=torch.float64)
    w = torch.triu(w * (torch.rand(nodes, nodes, generator=generator) < density), 1)
    return w + w.T


def labels(seed, nodes, classes, known):
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(nodes, classes, dtype=torch.float64)
    chosen = torch.randperm(nodes, generator=generator)[:known]
    label[chosen, torch.arange(known) % classes] = 1
    return label


def graph_of(w):
    receivers, senders = torch.nonzero(w).unbind(1)
    return gf.from_edges(senders, receivers, len(w)), w[receivers, senders][:, None]


@pytest.mark.parametrize("density", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("seed", range(3))
def test_sparse_and_dense_equal_loops(seed, density):
    w, label = random_weights(seed, 20, density), labels(seed, 20, 3, 5)
    expected = poisson.mbo_probs(w.numpy(), label.numpy(), PRIOR.tolist())
    dense = poisson_mbo_probs(dense_symmetric_graph(w[None]), label, PRIOR)
    assert np.abs(dense.numpy() - expected).max() < 1e-9
    sparse = threshold_dynamics(*graph_of(w), label, PRIOR)
    known = expected.sum(1) > 0
    assert np.abs(sparse.numpy() - expected)[known].max() < 1e-9
    assert torch.equal(sparse[~known], torch.full_like(sparse[~known], 1 / 3))


@pytest.mark.parametrize("prior", [None, PRIOR])
@pytest.mark.parametrize("seed", range(3))
def test_poisson_probs_equal_loops(seed, prior):
    w, label = random_weights(seed, 20, 0.15), labels(seed, 20, 3, 6)
    values = None if prior is None else prior.tolist()
    expected = poisson.poisson_probs(w.numpy(), label.numpy(), values)
    dense = poisson_probs(dense_symmetric_graph(w[None]), label, prior)
    assert np.abs(dense.numpy() - expected).max() < 1e-9


def test_tasks_of_a_batch_do_not_depend_on_each_other():
    w = torch.stack([random_weights(seed, 20, 0.25) for seed in range(5)])
    label = torch.stack([labels(seed, 20, 3, 5) for seed in range(5)])
    together = poisson_mbo_probs(dense_symmetric_graph(w), label.flatten(0, 1), PRIOR)
    for task in range(5):
        alone = poisson_mbo_probs(dense_symmetric_graph(w[[task]]), label[task], PRIOR)
        assert torch.allclose(together.view(5, 20, 3)[task], alone, rtol=0, atol=1e-12)


def test_predictions_have_the_proportions_of_the_prior():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 2, generator=generator, dtype=torch.float64)
    x[:300, 0] += 4
    x[300:480, 1] += 4
    truth = torch.tensor([0] * 300 + [1] * 180 + [2] * 120)
    label = torch.zeros(600, 3, dtype=torch.float64)
    label[[0, 300, 480], [0, 1, 2]] = 1
    graph = sparse_knn_gaussian(x)
    predicted = threshold_dynamics(*graph, label, PRIOR).argmax(1)
    counts = predicted[~label.any(1)].bincount(minlength=3) / 597
    assert torch.allclose(counts.double(), PRIOR, rtol=0, atol=2 / 597)
    plain = poisson_learning(*graph, label).argmax(1)
    assert (predicted == truth).double().mean() > (plain == truth).double().mean()


def test_degenerate_graphs_have_finite_probs():
    label = labels(0, 12, 3, 4)
    known = label.any(1)
    empty = threshold_dynamics(*graph_of(torch.zeros(12, 12, dtype=torch.float64)), label, PRIOR)
    assert torch.equal(empty[known], label[known])
    assert torch.equal(empty[~known], torch.full_like(empty[~known], 1 / 3))
    for dtype in (torch.float32, torch.float64):
        complete = (1 - torch.eye(12)).to(dtype)
        probs = threshold_dynamics(*graph_of(complete), label.to(dtype), PRIOR.to(dtype))
        assert torch.isfinite(probs).all()
        assert torch.allclose(probs.sum(1), torch.ones(12, dtype=dtype))


def test_numbers_of_steps_must_be_positive():
    graph, label = graph_of(random_weights(0, 8, 0.9)), labels(0, 8, 3, 4)
    for wrong in ({"num_iterations": 0}, {"diffusion_steps": 0}):
        with pytest.raises(ValueError, match="both must be at least 1"):
            threshold_dynamics(*graph, label, PRIOR, **wrong)
