"""Ridge regression against loops, against penalties written out, and on digits."""

import numpy as np
import pytest
import torch
from episodes import DIM, identity_model, task
from gradient_check import assert_gradients, losses_before_and_after
from reference_check import LABELED, assert_matches, mean_squared_deviation, state_arrays
from sklearn.datasets import load_digits

import graphfew as gf
from graphfew.nn.ridge_regression import ridge_weights


def formula(state):
    """The primal solution, one class at a time, sums written as loops."""

    def logits(x, y, query, way):
        support = [i for i in range(len(y)) if y[i] >= 0]
        penalty = np.exp(state["log_regularization"]) * mean_squared_deviation(x[support])
        gram = penalty * np.eye(DIM + 1)
        for i in support:
            row = np.append(x[i], 1)
            gram += np.outer(row, row)
        columns = []
        for c in range(way):
            moment = sum(np.append(x[i], 1) for i in support if y[i] == c)
            w = np.linalg.solve(gram, moment)
            columns.append(
                [state["scale"] * np.append(x[q], 1) @ w for q in range(len(y)) if query[q]]
            )
        return np.array(columns).T

    return logits


@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_logits(tasks):
    model = identity_model("ridge")
    assert_matches(model, tasks, formula(state_arrays(model.layers.get_submodule("0.fit"))))


def test_primal_and_dual_systems_agree():
    """More supports than features take the primal system."""
    model = identity_model("ridge")
    state = state_arrays(model.layers.get_submodule("0.fit"))
    assert_matches(model, [task(1, 3, (4,), 3), task(2, 2, (5, 6), 2)], formula(state))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 7, generator=generator, dtype=torch.float64)
    y = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    penalty = torch.tensor([0.5, 2.0], dtype=torch.float64)
    padded = [torch.cat([v, v.new_zeros(2, 6, v.shape[2])], dim=1) for v in (x, y)]
    torch.testing.assert_close(ridge_weights(*padded, penalty), ridge_weights(x, y, penalty))


@pytest.mark.parametrize("shots", [(1,), (1, 2), (4,)])
def test_gradients(shots):
    assert_gradients(identity_model("ridge"), [task(1, 3, shots, 2), task(2, 2, shots, 2)])


def test_offset_of_all_features_does_not_regularize_more():
    e = task(1, 3, (2,), 4)
    model = gf.create("ridge", encoder=gf.backbones.identity(DIM)).double()
    first, second = (model(e.encode(lambda x, c=c: x + c)).logits for c in (100.0, 1000.0))
    assert torch.allclose(first.softmax(1), second.softmax(1), atol=1e-2)
    assert second.softmax(1).amax(1).mean() > 0.5


def test_penalty_is_relative_to_the_scale_of_the_features():
    e = task(1, 3, (2,), 4)
    model = gf.create("ridge", encoder=gf.backbones.identity(DIM)).double()
    centered = e.encode(lambda x: x - x[e.labeled].mean(0))
    small, large = (model(centered.encode(lambda x, s=s: s * x)).logits for s in (1e-3, 1e3))
    assert torch.allclose(small.softmax(1), large.softmax(1), atol=1e-2)
    assert small.softmax(1).amax(1).min() > 0.4


def test_zero_features_are_predicted_by_class_size():
    y = torch.tensor([0, 0, 0, 1, -1])
    e = gf.Episode.single(torch.zeros(5, DIM, dtype=torch.float64), y, y < 0, 2)
    logits = gf.create("ridge", encoder=gf.backbones.identity(DIM)).double()(e).logits
    expected = 10 * torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    assert torch.allclose(logits, expected, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_classifier_works_untrained_at_any_scale(scale):
    x, y = load_digits(return_X_y=True)
    x = scale * (x - x.mean(0))
    classifier = gf.FewShotClassifier("ridge").fit(x[:300], y[:300])
    assert classifier.score(x[300:600], y[300:600]) > 0.75
    assert classifier.predict_proba(x[300:600]).max(1).mean() > 0.5


def test_training_improves_the_loss():
    tasks = gf.Tasks(gf.data.glyphs(), way=5, shot=2, query=3, seed=0)
    model = gf.create("ridge", encoder=gf.backbones.conv4(width=6))
    before, after = losses_before_and_after(model, tasks, steps=25, lr=1e-2, batch=2)
    assert after < before - 0.1


@pytest.mark.parametrize("name", ["regularization", "scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_invalid_arguments(name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        gf.create("ridge", encoder=gf.backbones.identity(DIM), **{name: value})
