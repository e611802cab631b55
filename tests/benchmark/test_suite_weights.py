"""Fitting the weights of `method="auto"`, and that they are fitted without the measured data set."""

import numpy as np
import pytest
import torch

from benchmarks.unlabeled_sets.fit_weights import (
    Observation,
    fit_accuracy,
    fit_mixture_weights,
    fit_prior,
    observe_candidates,
)
from benchmarks.unlabeled_sets.spec import read_spec
from benchmarks.unlabeled_sets.weights import read_weights, weights_without
from graphfew.core import from_edges
from graphfew.estimators.auto.weights import default_weights
from graphfew.propagation.prior_estimation import estimate_prior


def observation(share, seed, n=400):
    """Two members that err at random on a set with a share of class 0."""
    rng = np.random.default_rng(seed)
    target = (rng.random(n) > share).astype(int)
    predictions = np.where(rng.random((3, n)) < 0.1, 1 - target, target)
    scores = np.stack([1 - predictions, predictions], 2) * 1.0
    # A chain through the items of one class, then the other.
    order = torch.from_numpy(np.argsort(target, kind="stable"))
    first, second = order[:-1], order[1:]
    topology = from_edges(torch.cat([first, second]), torch.cat([second, first]), n)
    return Observation(
        "made up",
        1.0,
        torch.tensor(scores),
        torch.tensor(target),
        torch.full((n,), -1),
        topology,
        torch.ones(2 * (n - 1), 1),
    )


def test_fitted_prior_corrects_random_errors():
    observations = [observation(share, i) for i, share in enumerate(np.linspace(0.05, 0.95, 19))]
    weights = fit_prior(observations)
    held_out = observation(0.97, 99)
    prior = estimate_prior(held_out.predictions, 2, 1.0, weights)
    raw = float((held_out.predictions == 0).double().mean())
    # Errors at random move the counts toward even shares.
    assert raw < 0.91
    assert prior[0] == pytest.approx(0.97, abs=0.025)
    candidates = [observe_candidates(item, weights) for item in observations]
    mixture = fit_mixture_weights(candidates)
    # A candidate that cuts fewer edges of the graph is better.
    assert mixture[0] < 0
    accuracy = fit_accuracy(observations, candidates, mixture)
    assert len(accuracy) == 18
    assert np.isfinite(accuracy).all()


def test_every_data_set_has_weights_that_were_fitted_without_it():
    spec = read_spec()
    assert set(read_weights()) == set(spec.datasets)
    fitted = [weights_without(name) for name in spec.datasets]
    assert len({weights.prior for weights in [*fitted, default_weights()]}) == len(fitted) + 1
