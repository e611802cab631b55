"""iMAML against gradient descent to convergence, and its gradients against finite differences."""

import numpy as np
import pytest
import torch
from episodes import DIM, identity_model, task
from gradient_check import assert_gradients, losses_before_and_after
from reference_check import assert_matches, mean_squared_deviation, softmax, state_arrays

import graphfew as gf
from graphfew.core.dense_batch import dense_task
from graphfew.core.supports import gather_supports

TASKS = [task(8, 3, (1, 2), 3), task(9, 3, (2,), 2), task(3, 3, (1,), 4)]


def formula(state, regularization, steps=50_000):
    """Gradient descent on the objective of one task, item by item."""

    def logits(x, y, query, way):
        support = [i for i in range(len(y)) if y[i] >= 0]
        penalty = regularization * mean_squared_deviation(x[support])
        rate = 1 / (penalty + max(x[i] @ x[i] for i in support) + 1)
        w, b = state["weight"].copy(), state["bias"].copy()
        for _ in range(steps):
            dw = penalty * (w - state["weight"])
            db = penalty * (b - state["bias"])
            for i in support:
                residual = (softmax(w @ x[i] + b) - np.eye(way)[y[i]]) / len(support)
                dw, db = dw + np.outer(residual, x[i]), db + residual
            w, b = w - rate * dw, b - rate * db
            if max(np.abs(dw).max(), np.abs(db).max()) < 1e-13:
                break
        return np.array([w @ x[q] + b for q in range(len(y)) if query[q]])

    return logits


@pytest.mark.parametrize("regularization", [0.1, 0.5])
def test_logits(regularization):
    model = identity_model("imaml", way=3, regularization=regularization)
    state = state_arrays(model.layers.get_submodule("0.fit.start"))
    assert_matches(model, TASKS, formula(state, regularization), tolerance=1e-10)


def test_implicit_gradients_match_finite_differences():
    assert_gradients(identity_model("imaml", way=3), TASKS[:2])


def test_second_derivatives_raise():
    model = identity_model("imaml", way=3)
    start = model.layers.get_submodule("0.fit.start").weight
    (grad,) = torch.autograd.grad(model(TASKS[0]).logits.square().sum(), start, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("offset", [10, 100])
@pytest.mark.parametrize("regularization", [1e-3, 0.1])
def test_features_with_a_large_common_part_are_fitted(offset, regularization):
    model = identity_model("imaml", way=3, regularization=regularization)
    fit = model.layers[0].fit
    supports = gather_supports(dense_task(TASKS[0].encode(lambda x: x + offset)))
    spread = mean_squared_deviation(supports.x[0].numpy())
    fitted, start = fit(supports), fit.start(supports)
    weight = torch.cat([fitted.weight, fitted.bias[:, :, None]], dim=2).detach().requires_grad_()
    attractor = torch.cat([start.weight, start.bias[:, :, None]], dim=2).detach()
    x = torch.nn.functional.pad(supports.x, (0, 1), value=1.0)
    loss = torch.nn.functional.cross_entropy((x @ weight.mT)[0], supports.one_hot[0])
    loss = loss + regularization * spread / 2 * (weight - attractor).square().sum()
    loss.backward()
    assert weight.grad.abs().max() < 1e-6


def test_strong_regularization_keeps_the_start():
    model = identity_model("imaml", way=3, regularization=1e8)
    start = model.layers.get_submodule("0.fit.start")
    e = TASKS[0]
    expected = e.x[e.query] @ start.weight.T + start.bias
    assert torch.allclose(model(e).logits, expected, rtol=0, atol=1e-6)


def test_training_improves_the_loss():
    tasks = gf.Tasks(gf.data.glyphs(), way=3, shot=2, query=3, seed=0)
    model = gf.create("imaml", encoder=gf.backbones.conv4(width=4), way=3)
    before, after = losses_before_and_after(model, tasks, steps=6, lr=1e-2)
    assert after < before - 0.02


def test_invalid_arguments():
    with pytest.raises(ValueError, match="regularization must be positive and finite, got 0"):
        gf.create("imaml", encoder=gf.backbones.identity(DIM), regularization=0.0)
