"""MetaOptNet's heads against the published quadratic programs, solved by SciPy for one task."""

import numpy as np
import pytest
import torch
from episodes import DIM, identity_model, task
from gradient_check import assert_gradients, losses_before_and_after
from reference_check import LABELED, assert_matches, mean_squared_deviation, state_arrays
from scipy.optimize import minimize
from sklearn.datasets import load_digits

import graphfew as gf

NAMES = ("metaoptnet_ridge", "metaoptnet_svm")
LARGE = [task(1, 3, (4,), 3), task(2, 2, (5, 6), 2)]


def kernel_parts(x, y):
    support = [i for i in range(len(y)) if y[i] >= 0]
    square = mean_squared_deviation(x[support])
    kernel = np.array([[x[i] @ x[j] for j in support] for i in support])
    return support, square, kernel


def ridge_formula(state):
    """The published program, `min ½ zᵀ (K + p I) z - 2 yᵀ z` for each class, with λ = 1."""

    def logits(x, y, query, way):
        support, square, kernel = kernel_parts(x, y)
        columns = []
        for c in range(way):
            target = np.array([2.0 * (y[i] == c) for i in support])
            z = np.linalg.solve(kernel + square * np.eye(len(support)), target)
            scores = [
                sum(a * (x[i] @ x[q]) for a, i in zip(z, support, strict=True))
                for q in _true(query)
            ]
            columns.append([state["scale"] * score for score in scores])
        return np.array(columns).T

    return logits


def svm_formula(state, penalty, regularization):
    """The dual of Crammer and Singer in its own variables, `[n, way]`."""

    def logits(x, y, query, way):
        support, square, kernel = kernel_parts(x, y)
        n = len(support)
        label = np.array([[float(y[i] == c) for c in range(way)] for i in support])
        matrix = kernel / square + regularization * np.eye(n)

        def value(flat):
            a = flat.reshape(n, way)
            return 0.5 * np.sum(a * (matrix @ a)) - np.sum(label * a)

        def gradient(flat):
            return (matrix @ flat.reshape(n, way) - label).ravel()

        row_sums = np.kron(np.eye(n), np.ones(way))
        result = minimize(
            value,
            np.zeros(n * way),
            jac=gradient,
            method="SLSQP",
            bounds=[(None, bound) for bound in (penalty * label).ravel()],
            constraints={"type": "eq", "fun": lambda v: row_sums @ v, "jac": lambda v: row_sums},
            options={"ftol": 1e-15, "maxiter": 1000},
        )
        dual = result.x.reshape(n, way)
        rows = []
        for q in _true(query):
            total = sum(dual[r] * (x[i] @ x[q]) for r, i in enumerate(support))
            rows.append(state["scale"] * total / square)
        return np.array(rows)

    return logits


def _true(mask):
    return [i for i, value in enumerate(mask) if value]


@pytest.mark.parametrize(
    "tasks", [*LABELED.values(), LARGE], ids=[*LABELED, "more supports than features"]
)
def test_ridge_logits(tasks):
    model = identity_model("metaoptnet_ridge")
    assert_matches(model, tasks, ridge_formula(state_arrays(model.layers.get_submodule("0.fit"))))


@pytest.mark.parametrize(("penalty", "regularization"), [(1.0, 1.0), (0.2, 0.1), (5.0, 0.1)])
@pytest.mark.parametrize(
    "tasks", [LABELED["equal"], LABELED["mixed"], LARGE], ids=["equal", "mixed", "large"]
)
def test_svm_logits(tasks, penalty, regularization):
    model = identity_model("metaoptnet_svm", penalty=penalty, regularization=regularization)
    state = state_arrays(model.layers.get_submodule("0.fit"))
    assert_matches(model, tasks, svm_formula(state, penalty, regularization), tolerance=1e-5)


def test_supports_outside_the_margin_have_no_influence():
    """Moving a support that is classified with a margin of 1 does not move the weights."""
    x = torch.tensor([[1.0, 1], [-1, 1], [9, 1], [-9, 1], [0, 0]], dtype=torch.float64)
    y = torch.tensor([0, 1, 0, 1, -1])
    model = gf.create(
        "metaoptnet_svm", encoder=gf.backbones.identity(2), penalty=100.0, regularization=1e-6
    ).double()
    e = gf.Episode.single(x, y, y < 0, 2)
    weight = model(e).graphs[1].nodes[5:] / 10
    margins = x[:4] @ (weight[0] - weight[1])
    # The margins are reached up to the small term on the diagonal of the kernel.
    assert torch.allclose(margins[:2], margins.new_tensor([1.0, -1.0]), atol=1e-2)
    assert margins[2] > 5
    assert margins[3] < -5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shots", [(1, 2), (4,)])
def test_gradients(name, shots):
    assert_gradients(identity_model(name), [task(1, 3, shots, 2), task(2, 2, shots, 2)], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_classifier_works_untrained_at_any_scale(name, scale):
    x, y = load_digits(return_X_y=True)
    x = scale * (x - x.mean(0))
    classifier = gf.FewShotClassifier(name).fit(x[:100], y[:100])
    assert classifier.score(x[300:600], y[300:600]) > 0.7
    assert classifier.predict_proba(x[300:600]).max(1).mean() > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_training_improves_the_loss(name):
    tasks = gf.Tasks(gf.data.glyphs(), way=5, shot=2, query=3, seed=0)
    model = gf.create(name, encoder=gf.backbones.conv4(width=6))
    before, after = losses_before_and_after(model, tasks, steps=25, lr=1e-2, batch=2)
    assert after < before - 0.1


@pytest.mark.parametrize(
    ("name", "argument"),
    [*((name, "scale") for name in NAMES), (NAMES[0], "regularization"), (NAMES[1], "penalty")],
)
def test_invalid_arguments(name, argument):
    with pytest.raises(ValueError, match=f"{argument} must be positive and finite, got 0.0"):
        gf.create(name, encoder=gf.backbones.identity(DIM), **{argument: 0.0})
