"""Logistic regression by Newton's method against loops and against gradient descent."""

import sys

import numpy as np
import pytest
from episodes import DIM, identity_model, task
from gradient_check import assert_gradients, losses_before_and_after
from reference_check import LABELED, assert_matches, mean_squared_deviation, sigmoid, state_arrays
from sklearn.datasets import load_digits

import graphfew as gf

LARGE = [task(1, 3, (4,), 3), task(2, 2, (5, 6), 2)]
BATCHES = {**LABELED, "more supports than features": LARGE}


def binary_fit(rows, labels, penalty, steps):
    """Newton's method: one step is `(Xᵀ S X + p I) w = Xᵀ (S η + y - μ)`."""
    w = np.zeros(len(rows[0]))
    for _ in range(steps):
        hessian, moment = penalty * np.eye(len(w)), np.zeros(len(w))
        for row, label in zip(rows, labels, strict=True):
            prob = sigmoid(w @ row)
            weight = prob * (1 - prob)
            hessian += weight * np.outer(row, row)
            moment += (weight * (w @ row) + label - prob) * row
        w = np.linalg.solve(hessian, moment)
    return w


def formula(state, steps):
    def logits(x, y, query, way):
        support = [i for i in range(len(y)) if y[i] >= 0]
        penalty = np.exp(state["log_regularization"]) * mean_squared_deviation(x[support])
        rows = [np.append(x[i], 1) for i in support]
        fits = [
            binary_fit(rows, [float(y[i] == c) for i in support], penalty, steps)
            for c in range(way)
        ]
        return np.array(
            [
                [state["scale"] * np.append(x[q], 1) @ w for w in fits]
                for q in range(len(y))
                if query[q]
            ]
        )

    return logits


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("steps", [1, 5])
def test_logits(tasks, steps):
    model = identity_model("logistic", steps=steps)
    state = state_arrays(model.layers.get_submodule("0.fit"))
    assert_matches(model, tasks, formula(state, steps))


@pytest.mark.parametrize("shots", [(1, 2), (4,)])
def test_converges_to_the_penalized_likelihood(shots):
    """At the optimum, `p w = Σ_i (y_i - μ_i) x_i` for each class."""
    e = task(1, 3, shots, 2)
    model = gf.create("logistic", encoder=gf.backbones.identity(DIM), steps=30).double()
    with gf.nn.eval_mode(model):
        predictor = gf.evaluation.fit_method(model, e.drop_queries()).fitted.predictor
    x, y = e.x[e.labeled].numpy(), e.y[e.labeled].numpy()
    penalty = 0.1 * mean_squared_deviation(x)
    for c in range(3):
        w, b = predictor.weight[c].detach().numpy(), predictor.bias[c].item()
        residual = (y == c) - sigmoid(x @ w + b)
        assert np.abs(penalty * w - residual @ x).max() < 1e-6
        assert abs(penalty * b - residual.sum()) < 1e-6


def test_classes_are_fitted_in_chunks(monkeypatch):
    e = task(1, 4, (1, 2), 3)
    model = identity_model("logistic")
    expected = model(e).logits
    monkeypatch.setattr(sys.modules[gf.methods.logistic.__module__], "CHUNK_BYTES", 1)
    assert (model(e).logits - expected).abs().max() < 1e-12


@pytest.mark.parametrize("shots", [(1, 2), (4,)])
def test_gradients(shots):
    tasks = [task(1, 3, shots, 2), task(2, 2, shots, 2)]
    assert_gradients(identity_model("logistic", steps=3), tasks)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_classifier_works_untrained_at_any_scale(scale):
    x, y = load_digits(return_X_y=True)
    x = scale * (x - x.mean(0))
    classifier = gf.FewShotClassifier("logistic").fit(x[:300], y[:300])
    assert classifier.score(x[300:600], y[300:600]) > 0.75
    assert classifier.predict_proba(x[300:600]).max(1).mean() > 0.5


def test_training_improves_the_loss():
    tasks = gf.Tasks(gf.data.glyphs(), way=5, shot=2, query=3, seed=0)
    model = gf.create("logistic", encoder=gf.backbones.conv4(width=6))
    before, after = losses_before_and_after(model, tasks, steps=25, lr=1e-2, batch=2)
    assert after < before - 0.1


@pytest.mark.parametrize(
    ("name", "value"), [("regularization", 0.0), ("scale", -1.0), ("steps", 0)]
)
def test_invalid_arguments(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*got {value}"):
        gf.create("logistic", encoder=gf.backbones.identity(DIM), **{name: value})
