"""Preparing features and guessing how queries are divided."""

import math

import numpy as np
import pytest
import torch
from reference import propagation
from reference_check import UNLABELED

import graphfew as gf
from graphfew.core.dense_batch import DenseBatch
from graphfew.propagation.class_priors import (
    check_prior,
    class_prior,
    estimate_proportions,
    sinkhorn,
)
from graphfew.propagation.feature_transforms import check_center, power_normalize

CENTER = [0.1, -0.2, 0.0, 0.3, 0.05]


@pytest.mark.parametrize("center", [None, CENTER], ids=["own", "given"])
@pytest.mark.parametrize("power", [1.0, 0.5])
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_power_normalize_treats_each_task_separately(tasks, power, center):
    ours = power_normalize(gf.collate(tasks), power, center).x.split([len(e.y) for e in tasks])
    for e, rows in zip(tasks, ours, strict=True):
        assert (
            np.abs(rows.numpy() - propagation.power_normalized(e.x.numpy(), power, center)).max()
            < 1e-12
        )


@pytest.mark.parametrize("center", [CENTER[:3], [*CENTER[:4], math.inf]])
def test_invalid_centers_raise(center):
    with pytest.raises(ValueError, match=r"the center has \d values and the encoder 5 outputs"):
        check_center(center, 5)


def shares(rows):
    return torch.tensor([rows], dtype=torch.float64)


def test_estimated_proportions_include_pseudo_counts():
    seen, even = shares([[1, 0], [0.5, 0.5], [1, 0], [0, 0]]), torch.tensor([0.5, 0.5]).double()
    assert estimate_proportions(seen, even, 0.0).tolist()[0] == pytest.approx([2.5 / 3, 0.5 / 3])
    assert estimate_proportions(seen, even, 1.0).tolist()[0] == pytest.approx([3.5 / 5, 1.5 / 5])
    assert estimate_proportions(seen, torch.tensor([0.25, 0.75]).double(), math.inf).tolist()[
        0
    ] == [0.25, 0.75]


def test_class_prior_is_normalized_and_checked():
    assert class_prior([1.0, 3.0], shares([[0, 0]])).tolist() == [0.25, 0.75]
    assert class_prior(None, shares([[0, 0, 0, 0]])).tolist() == [0.25] * 4
    with pytest.raises(ValueError, match="the prior has 3 classes and the task 2"):
        class_prior([1.0, 2.0, 3.0], shares([[0, 0]]))
    for prior in ([1.0], [1.0, 0.0], [1.0, math.nan], [1.0, -2.0]):
        with pytest.raises(ValueError, match="give a positive number for each class"):
            check_prior(prior)
    with pytest.raises(ValueError, match="strength is -1"):
        check_prior(None, -1.0)


def test_sinkhorn_satisfies_both_marginals():
    generator = torch.Generator().manual_seed(0)
    scores = 5 * torch.randn(3, 12, 4, generator=generator, dtype=torch.float64)
    counted = (torch.arange(12) >= 3).double()[None, :, None].expand(3, -1, -1)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    out = sinkhorn(scores, counted, prior)
    assert torch.allclose(out.sum(2), counted[..., 0])
    assert torch.allclose(out.sum(1), (9 * prior).expand(3, -1), rtol=0, atol=1e-5)
    # Of all such shares the ones that differ from the scores by a term per row and per column: cross ratios stay.
    log, free = out[:, 3:].log(), scores[:, 3:]
    for part in (log, free):
        part.sub_(part[:, :1].clone()).sub_(part[:, :, :1].clone())
    assert torch.allclose(log, free, rtol=0, atol=1e-8)


def test_sinkhorn_does_not_depend_on_the_batch():
    generator = torch.Generator().manual_seed(0)
    scores = (
        torch.tensor([1.0, 20.0]).double()[:, None, None]
        * torch.randn(2, 9, 3, generator=generator).double()
    )
    counted, prior = torch.ones(2, 9, 1).double(), torch.full((3,), 1 / 3).double()
    both = sinkhorn(scores, counted, prior)
    for one in (0, 1):
        assert torch.equal(both[one], sinkhorn(scores[[one]], counted[[one]], prior)[0])


def test_dense_batch_marks_supports():
    label = shares([[1, 0], [0, 0], [0, 1]])
    assert DenseBatch(label, label, torch.zeros(1, 3, dtype=torch.bool)).labeled.tolist() == [
        [True, False, True]
    ]
