"""Transductive methods without training, against loop-written references."""

import importlib
import math
from functools import partial

import numpy as np
import pytest
import torch
from episodes import DIM, task
from reference import assignment
from reference_check import LABELED, UNLABELED, assert_matches

import graphfew as gf
from graphfew.propagation import spread_labels

THREE = {key: UNLABELED[key] for key in ("equal", "unlabeled")}
PRIOR = [1.0, 2.0, 3.0]


def create(name, **arguments):
    return gf.create(name, encoder=gf.backbones.identity(DIM), **arguments).double()


def bind_arguments(formula, **arguments):
    return lambda *e: formula(*e, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"balanced": True, "inv_temperature": 4.0},
        {"prior_strength": 0.0, "num_iterations": 3},
        {"power": 1.0, "rate": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_pt_map(tasks, arguments):
    assert_matches(
        create("pt_map", **arguments),
        tasks,
        bind_arguments(assignment.pt_map, **arguments),
        probs=True,
        tolerance=1e-9,
    )


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("tasks", THREE.values(), ids=THREE)
def test_pt_map_with_a_prior(tasks, balanced):
    arguments = {"prior": PRIOR, "balanced": balanced, "inv_temperature": 4.0}
    assert_matches(
        create("pt_map", **arguments),
        tasks,
        bind_arguments(assignment.pt_map, **arguments),
        probs=True,
        tolerance=1e-9,
    )


@pytest.mark.parametrize(
    "arguments",
    [{}, {"balanced": True, "inv_temperature": 3.0}, {"smoothing": 0.0}, {"k": 2}],
    ids=str,
)
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_propagated_prototypes(tasks, arguments):
    assert_matches(
        create("propagated_prototypes", **arguments),
        tasks,
        bind_arguments(assignment.propagated, **arguments),
        probs=True,
        tolerance=1e-9,
    )


@pytest.mark.parametrize("arguments", [{}, {"k": 1, "weight": 2.0, "num_iterations": 5}], ids=str)
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_laplacian_shot(tasks, arguments):
    assert_matches(
        create("laplacian_shot", **arguments),
        tasks,
        bind_arguments(assignment.laplacian, **arguments),
        probs=True,
    )


@pytest.mark.parametrize(
    "arguments",
    [{}, {"prior_strength": math.inf}, {"prior_strength": 5.0, "inv_temperature": 3.0}],
    ids=str,
)
@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_bd_cspn(tasks, arguments):
    assert_matches(
        create("bd_cspn", **arguments), tasks, bind_arguments(assignment.bd_cspn, **arguments)
    )


def shannon(p):
    return -(p * np.log(p)).sum()


def tsallis(alpha):
    return lambda p: (1 - (p**alpha).sum()) / (alpha - 1)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_tim(tasks, balanced):
    def target(probs):
        way = len(probs[0])
        return np.full(way, 1 / way) if balanced else np.mean(probs, axis=0)

    expected = bind_arguments(
        assignment.gradient_descent,
        steps=3,
        weights=(0.1, 0.3, 0.3),
        entropy=shannon,
        target=target,
    )
    assert_matches(create("tim", steps=3, balanced=balanced), tasks, expected, tolerance=1e-8)


@pytest.mark.parametrize("alpha", [2.0, 7.0])
@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_alpha_tim(tasks, alpha):
    expected = bind_arguments(
        assignment.gradient_descent, steps=3, weights=(1.0, 1.0, 1.0), entropy=tsallis(alpha)
    )
    assert_matches(create("alpha_tim", steps=3, alpha=alpha), tasks, expected, tolerance=1e-8)


def test_propagated_prototypes_sparse_matches_dense(monkeypatch):
    module = importlib.import_module("graphfew.methods.propagated_prototypes")
    tasks = [task(3, 4, (2, 3), 12, unlabeled=20), task(4, 3, (1,), 9, unlabeled=4)]
    for arguments in ({}, {"smoothing": 0.0}):
        model = create("propagated_prototypes", **arguments)
        dense = model(gf.collate(tasks)).logits
        with monkeypatch.context() as patch:
            patch.setattr(module, "DENSE_NODES", 5)
            patch.setattr(module, "spread_labels", partial(spread_labels, tolerance=1e-13))
            large = model(gf.collate(tasks)).logits
        assert torch.allclose(large.softmax(1), dense.softmax(1), rtol=0, atol=1e-9)


def imbalanced_task(counts, seed=0):
    """A 1-shot task with `counts` queries per class, whose supports are off their class means."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.tensor([0, 1] + [0] * counts[0] + [1] * counts[1])
    x = torch.randn(len(truth), DIM, generator=generator, dtype=torch.float64)
    x[:, 0] += 3.0 * (2 * truth - 1)
    y = torch.where(torch.arange(len(truth)) < 2, truth, -1)
    return gf.Episode.single(x, y, y < 0, 2), truth[2:]


@pytest.mark.parametrize("name", ["pt_map", "propagated_prototypes"])
def test_class_balance_assumption_on_imbalanced_tasks(name):
    """With 45 and 5 queries, estimating the proportions beats assuming balance; knowing them is best."""
    tasks = [imbalanced_task((45, 5), seed) for seed in range(20)]
    e, truth = gf.collate([e for e, _ in tasks]), torch.cat([t for _, t in tasks])
    accuracy = {
        key: (create(name, center=[0.0] * DIM, **arguments)(e).logits.argmax(1) == truth)
        .double()
        .mean()
        .item()
        for key, arguments in {
            "uniform": {"balanced": True},
            "estimated": {},
            "known": {"balanced": True, "prior": [9.0, 1.0]},
        }.items()
    }
    assert accuracy["uniform"] < 0.75
    assert accuracy["estimated"] > accuracy["uniform"] + 0.1
    assert accuracy["known"] > 0.95


def test_laplacian_regularization_can_change_nearest_class():
    e = task(1, 2, (1,), 2, dim=2)
    x = torch.tensor(
        [[1.0, 0], [-1, 0.1], [0.1, 1], [-0.2, 1.0], [-0.3, 0.9], [-0.3, 1.1]]
    ).double()
    y = torch.tensor([0, 1, -1, -1, -1, -1])
    e = gf.Episode.single(x, y, y < 0, 2)
    model = gf.create(
        "laplacian_shot", encoder=gf.backbones.identity(2), weight=3.0, center=[0.0, 0.0]
    ).double()
    alone = gf.create(
        "laplacian_shot", encoder=gf.backbones.identity(2), weight=0.0, center=[0.0, 0.0]
    ).double()
    assert alone(e).logits.argmax(1).tolist() == [0, 1, 1, 1]
    assert model(e).logits.argmax(1).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("pt_map", {"prior_strength": -1.0}, "strength is -1"),
        ("pt_map", {"prior": [1.0, 0.0]}, "positive number for each"),
        ("pt_map", {"center": [0.0]}, "the center has 1 values"),
        ("tim", {"steps": 0}, "steps must .* got 0"),
        ("alpha_tim", {"alpha": 1.0}, "alpha must .* got 1"),
        ("laplacian_shot", {"k": 0}, "k must .* got 0"),
        ("propagated_prototypes", {"smoothing": 1.0}, "smoothing must .* got 1"),
        ("propagated_prototypes", {"k": 0}, "k must .* got 0"),
        ("bd_cspn", {"prior_strength": -2.0}, "strength is -2"),
    ],
)
def test_invalid_arguments(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        create(name, **arguments)


def test_prior_of_wrong_way_is_rejected():
    with pytest.raises(ValueError, match="the prior has 3 classes and the task 4"):
        create("pt_map", prior=PRIOR)(task(1, 4, (1,), 2))
