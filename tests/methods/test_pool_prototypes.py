"""Pool prototypes against loops, and the effect of the unlabeled set."""

import numpy as np
import pytest
import torch
from episodes import DIM, task
from reference import assignment
from reference_check import UNLABELED, assert_matches

import graphfew as gf
from graphfew.propagation.feature_transforms import project_to_principal_axes

ARGUMENTS = [
    {},
    {"outlier_threshold": None, "prior_weight": 1.0, "inv_temperature": 4.0},
    {"prior_weight": 0.0, "num_iterations": 3},
    {"n_components": 2, "rate": 0.5},
]


def create(dim=DIM, **arguments):
    return gf.create("pool_prototypes", encoder=gf.backbones.identity(dim), **arguments).double()


@pytest.mark.parametrize("transductive", [False, True])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_logits(tasks, arguments, transductive):
    arguments = {**arguments, "transductive": transductive}
    assert_matches(
        create(**arguments), tasks, lambda *e: assignment.pool(*e, **arguments), tolerance=1e-8
    )


def test_prior_of_the_unlabeled_set():
    tasks = [task(1, 3, (1, 2), 4, unlabeled=5)]
    arguments = {"prior": [1.0, 2.0, 3.0], "prior_weight": 1.0}
    assert_matches(
        create(**arguments), tasks, lambda *e: assignment.pool(*e, **arguments), tolerance=1e-8
    )


def test_in_mode_matches_method_created_in_that_mode():
    e = gf.collate(UNLABELED["unlabeled"])
    together, alone = (create(transductive=t) for t in (True, False))
    assert torch.equal(alone.in_mode(transductive=True)(e).logits, together(e).logits)
    assert torch.equal(together.in_mode(transductive=False)(e).logits, alone(e).logits)


def gaussian_task(seed, *, n_ood=0, counts=(30, 30, 30)):
    """A 3-way 1-shot task with `counts` unlabeled items per class and `n_ood` far from all classes."""
    generator = torch.Generator().manual_seed(seed)
    centers = 4 * torch.eye(8, dtype=torch.float64)[: 3 + 1]
    truth = torch.cat(
        [
            torch.arange(3),
            torch.arange(3).repeat_interleave(torch.tensor(counts)),
            torch.full((n_ood,), 3),
            torch.arange(3).repeat_interleave(20),
        ]
    )
    x = centers[truth] + torch.randn(len(truth), 8, generator=generator, dtype=torch.float64)
    y = torch.where(torch.arange(len(truth)) < 3, truth, -1)
    query = torch.arange(len(truth)) >= len(truth) - 60
    return gf.Episode.single(x, y, query, 3), truth[query]


def accuracy(model, tasks):
    return np.mean(
        [(model(e).logits.argmax(1) == truth).double().mean().item() for e, truth in tasks]
    )


def test_unlabeled_nodes_help_inductive_queries():
    tasks = [gaussian_task(seed) for seed in range(20)]
    using = create(8)
    assert accuracy(using, tasks) > accuracy(using.in_mode(unlabeled=False), tasks) + 0.03


def test_outlier_class_reduces_harm_of_ood_nodes():
    tasks = [gaussian_task(seed, n_ood=60) for seed in range(20)]
    options = {"center": [0.0] * 8, "prior_weight": 1.0}
    assert (
        accuracy(create(8, **options), tasks)
        > accuracy(create(8, outlier_threshold=None, **options), tasks) + 0.02
    )


def test_prior_weight_helps_balanced_and_hurts_imbalanced_sets():
    balanced, imbalanced = (
        [gaussian_task(seed, counts=counts) for seed in range(20)]
        for counts in ((30, 30, 30), (80, 5, 5))
    )
    exact, free = create(8, prior_weight=1.0), create(8, prior_weight=0.0)
    assert accuracy(exact, balanced) >= accuracy(free, balanced)
    assert accuracy(exact, imbalanced) < accuracy(free, imbalanced) - 0.02


def test_without_unlabeled_nodes_class_nodes_are_fixed():
    e = task(3, 3, (1, 2), 4)
    still, moved = create(num_iterations=1), create(num_iterations=20)
    assert torch.allclose(still(e).logits, moved(e).logits, rtol=0, atol=1e-9)


LARGE = [
    {},
    {"outlier_threshold": None},
    {"prior_weight": 1.0, "inv_temperature": 100.0},
    {"prior_weight": 1.0, "prior": [1e-6, 1.0, 1e3]},
    {"prior_weight": 1.0, "prior": [1e-6, 1.0, 1e3], "inv_temperature": 2000.0},
    {"prior_weight": 0.0, "transductive": True},
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("arguments", LARGE, ids=str)
def test_large_tasks_have_the_same_logits(arguments, dtype, monkeypatch):
    """One exponential per node and class, instead of one in every iteration."""
    model = create(**arguments).to(dtype)
    tasks = [task(1, 3, (1, 2), 4, unlabeled=30), task(2, 3, (1, 2), 4, unlabeled=30)]
    e = gf.collate([*tasks, task(3, 3, (2,), 2, unlabeled=9)]).to(dtype)
    expected = model(e).logits
    monkeypatch.setattr("graphfew.methods._outlier_assignment.DENSE_NODES", 5)
    actual = model(e).logits
    assert torch.isfinite(actual).all()
    close = 1e-9 if dtype == torch.float64 else 1e-3
    assert torch.allclose(actual, expected, rtol=close, atol=close)


@pytest.mark.parametrize(("nodes", "width"), [(6, 9), (9, 6), (3, 3)])
@pytest.mark.parametrize("n_components", [2, 20])
def test_principal_axes_preserve_singular_values(nodes, width, n_components):
    x = torch.randn(nodes, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1] + [-1] * (nodes - 2))
    e = gf.Episode.single(x, y, y < 0, 2)
    turned = project_to_principal_axes(e, n_components).x
    assert turned.shape == (nodes, n_components)
    kept = np.linalg.svd(x.numpy())[1][:n_components]
    assert np.allclose(np.linalg.svd(turned.numpy())[1][: len(kept)], kept, atol=1e-8)
    if n_components > width:
        assert torch.allclose(torch.cdist(turned, turned), torch.cdist(x, x), atol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prior_weight": 1.5}, "prior_weight must .* got 1.5"),
        ({"outlier_threshold": 0.0}, "outlier_threshold must .* got 0.0"),
        ({"n_components": 0}, "n_components must .* got 0"),
        ({"inv_temperature": -1.0}, "inv_temperature must .* got -1"),
        ({"prior": [1.0, 0.0]}, "positive number"),
        ({"center": [0.0]}, "the center has 1"),
    ],
)
def test_invalid_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        create(**arguments)
