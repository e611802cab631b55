"""The fitted linear head against gradient descent on the same objective."""

import numpy as np
import pytest
import torch
from episodes import DIM, task
from reference_check import LABELED, assert_matches, softmax

import graphfew as gf


def gradient_descent(x, y, way, inv_regularization, steps=20_000):
    """Multinomial logistic regression: ½‖W‖² + C · summed cross-entropy, by gradient descent."""
    support = [i for i in range(len(y)) if y[i] >= 0]
    w, b = np.zeros((way, x.shape[1])), np.zeros(way)
    for _ in range(steps):
        dw, db = w.copy(), np.zeros(way)
        for i in support:
            residual = inv_regularization * (softmax(w @ x[i] + b) - np.eye(way)[y[i]])
            dw, db = dw + np.outer(residual, x[i]), db + residual
        w, b = w - 0.05 * dw, b - 0.05 * db
        if max(np.abs(dw).max(), np.abs(db).max()) < 1e-11:
            break
    return w, b


def formula(inv_regularization):
    def probs(x, y, query, way):
        x = np.array([row / np.linalg.norm(row) for row in x])
        w, b = gradient_descent(x, y, way, inv_regularization)
        return np.array([softmax(w @ x[q] + b) for q in range(len(y)) if query[q]])

    return probs


@pytest.mark.parametrize("tasks", [LABELED["equal"], LABELED["mixed"][:2]], ids=["equal", "mixed"])
@pytest.mark.parametrize("inv_regularization", [0.5, 2.0])
def test_multiclass_probs(tasks, inv_regularization):
    model = gf.create(
        "linear_head", encoder=gf.backbones.identity(DIM), inv_regularization=inv_regularization
    ).double()
    assert_matches(model, tasks, formula(inv_regularization), probs=True, tolerance=1e-7)


def test_binary_probs():
    """Scikit-learn has one row of weights for two classes, and would penalize it twice as much."""
    model = gf.create(
        "linear_head", encoder=gf.backbones.identity(DIM), inv_regularization=0.7
    ).double()
    assert_matches(model, [task(5, 2, (2,), 3)], formula(0.7), probs=True, tolerance=1e-7)


def test_feature_norm_matters_only_without_normalization():
    e = task(8, 3, (1, 2), 3)
    longer = gf.Episode.single(
        e.x * torch.linspace(1, 3, len(e.y))[:, None].double(), e.y, e.query, 3
    )
    for cosine in (True, False):
        model = gf.create(
            "linear_head", encoder=gf.backbones.identity(DIM), normalize=cosine
        ).double()
        assert torch.allclose(model(e).logits, model(longer).logits, atol=1e-8) == cosine


def test_invalid_arguments():
    with pytest.raises(ValueError, match=r"inv_regularization must .* got 0"):
        gf.create("linear_head", encoder=gf.backbones.identity(DIM), inv_regularization=0.0)
