"""Transductive propagation networks and their loss against loops."""

import numpy as np
import pytest
import torch
from episodes import DIM, identity_model, randomized, task
from reference_check import UNLABELED, assert_matches, batch_norm, linear, softmax, state_arrays

import graphfew as gf


def width(state, x):
    h = np.maximum(batch_norm(state, "1.norm", linear(state, "0", x)), 0)
    h = np.maximum(linear(state, "2", h), 0)
    return np.sqrt(len(x)) * np.exp(linear(state, "4", h)[0])


def spread(x, y, way, k, alpha, steps=20_000):
    """Zhou's iteration without its constant factor, over the union of the k nearest, until nothing moves."""
    n = len(x)
    distance = [
        [sum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True)) for j in range(n)]
        for i in range(n)
    ]
    near = [
        sorted((j for j in range(n) if j != i), key=lambda j, i=i: distance[i][j])[:k]
        for i in range(n)
    ]
    w = np.array(
        [
            [np.exp(-distance[i][j] / 2) if j in near[i] or i in near[j] else 0.0 for j in range(n)]
            for i in range(n)
        ]
    )
    degree = w.sum(1)
    s = np.array([[w[i, j] / np.sqrt(degree[i] * degree[j]) for j in range(n)] for i in range(n)])
    start = np.array([[float(label == c) for c in range(way)] for label in y])
    score = start
    for _ in range(steps):
        score = alpha * s @ score + start
    return score


def formula(model, k, alpha):
    state = state_arrays(model.layers.get_submodule("0.width.net"))

    def scores(x, y, query, way):
        scaled = [row / width(state, row) for row in x]
        return spread(scaled, y, way, k, alpha)[np.array(query)]

    return scores


@pytest.mark.parametrize("k", [2, 20])
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_transductive_scores(tasks, k):
    model = identity_model("tpn", k=k, alpha=0.9)
    assert_matches(model, tasks, formula(model, k, 0.9))


def test_inductive_scores():
    model = identity_model("tpn", k=3, alpha=0.9, transductive=False)
    assert_matches(model, UNLABELED["unlabeled"], formula(model, 3, 0.9), per_query=True)


def test_labeled_node_loss_includes_supports():
    e, target = task(3, 3, (2, 1), 2, unlabeled=2), torch.tensor([1, 2])
    model = identity_model("tpn")
    out = model(e)
    label = e.y.clone()
    label[e.query] = target
    terms = [
        -np.log(softmax(row)[c])
        for row, c in zip(out.graphs[-1].nodes.detach().numpy(), label.tolist(), strict=True)
        if c >= 0
    ]
    assert len(terms) == 4 + 2 + (1 if (label >= 0).sum() == 7 else 0)
    assert gf.methods.labeled_node_loss(out, target).item() == pytest.approx(
        np.mean(terms), rel=0, abs=1e-10
    )


def test_labeled_node_loss_needs_node_logits():
    e = task(3, 3, (1,), 2)
    with pytest.raises(ValueError, match="got nodes"):
        gf.methods.labeled_node_loss(identity_model("egnn", width=4)(e), torch.tensor([0, 1]))


def test_initial_width_is_sqrt_dim():
    model = gf.create("tpn", encoder=gf.backbones.identity(DIM)).double().eval()
    x = torch.randn(4, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(
        model.layers.get_submodule("0.width")(x), torch.tensor(DIM**0.5).double(), rtol=0.1
    )


def test_conv_width_network():
    model = randomized(gf.create("tpn", encoder=gf.backbones.identity(50), channels=2))
    out = model.layers.get_submodule("0.width")(torch.randn(3, 50, dtype=torch.float64))
    assert out.shape == (3, 1)
    assert (out > 0).all()
    e = task(3, 3, (1,), 2, dim=50)
    assert model(e).logits.shape == (2, 3)
    with pytest.raises(ValueError, match="width 50 are not 3 square maps"):
        gf.create("tpn", encoder=gf.backbones.identity(50), channels=3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"alpha": 1.0}, "alpha must .* got 1.0"), ({"k": 0}, "k must .* got 0")],
)
def test_invalid_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        identity_model("tpn", **arguments)
