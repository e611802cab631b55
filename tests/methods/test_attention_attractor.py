"""Attention attractor against gradient descent, and its gradients against finite differences."""

import numpy as np
import pytest
import torch
from episodes import identity_model, task
from reference import metric
from reference_check import LABELED, assert_matches, linear, softmax, state_arrays, task_arrays

import graphfew as gf


def attractor(state, x, y, way):
    memory = [
        linear(state, "memory.2", np.tanh(linear(state, "memory.0", b))) for b in state["base"]
    ]
    out = []
    for c in range(way):
        messages = []
        for i in (i for i in range(len(y)) if y[i] == c):
            probs = softmax(
                [state["attention_scale"] * metric.cosine(x[i], b) for b in state["base"]]
            )
            messages.append(sum(a * m for a, m in zip(probs, memory, strict=True)))
        out.append(state["origin"] + np.mean(messages, axis=0))
    return np.array(out)


def gradient_descent(state, x, y, way, steps=50_000):
    support = [i for i in range(len(y)) if y[i] >= 0]
    goal, stiffness = attractor(state, x, y, way), np.exp(state["log_stiffness"])
    w = goal.copy()
    for _ in range(steps):
        slope = 2 * stiffness * (w - goal)
        for i in support:
            probs = softmax(np.concatenate([state["base"] @ x[i], w @ x[i]]))[len(state["base"]) :]
            slope = slope + np.outer(probs - np.eye(way)[y[i]], x[i]) / len(support)
        w = w - 0.1 * slope
        if np.abs(slope).max() < 1e-12:
            break
    return w


@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_scores(tasks):
    model = identity_model("attention_attractor", num_base_classes=4, hidden=6)
    state = state_arrays(model.layers.get_submodule("0"))

    def formula(x, y, query, way):
        return x[np.array(query)] @ gradient_descent(state, x, y, way).T

    assert_matches(model, tasks, formula, tolerance=1e-9)


def test_base_and_novel_logits():
    e = task(8, 3, (1, 2), 3)
    model = identity_model("attention_attractor", num_base_classes=4, hidden=6)
    joint = gf.methods.base_and_novel_logits(model, model(e))
    assert joint.shape == (3, 4 + 3)
    base = state_arrays(model.layers.get_submodule("0"))["base"]
    x, _, query, _ = task_arrays(e)
    assert np.abs(joint[:, :4].detach().numpy() - x[np.array(query)] @ base.T).max() < 1e-12
    assert torch.equal(joint[:, 4:], model(e).logits)
    with pytest.raises(ValueError, match="attention_attractor"):
        gf.methods.base_and_novel_logits(identity_model("feat"), model(e))


def test_implicit_gradients_match_finite_differences():
    e, target = task(8, 3, (1, 2), 3), torch.tensor([0, 1, 2])
    model = identity_model("attention_attractor", num_base_classes=4, hidden=6)
    x = e.x.clone().requires_grad_()
    gf.node_loss(model(e.encode(lambda _: x)), target).backward()

    def loss():
        return gf.node_loss(model(e.encode(lambda _: x.detach())), target).item()

    values = [x, *model.parameters()]
    for value in values:
        index = int(value.grad.abs().argmax())
        flat = value.data.view(-1)
        start = flat[index].item()
        around = []
        for step in (1e-5, -1e-5):
            flat[index] = start + step
            around.append(loss())
        flat[index] = start
        assert value.grad.view(-1)[index].item() == pytest.approx(
            (around[0] - around[1]) / 2e-5, rel=1e-5, abs=1e-9
        )


def test_fit_converges_for_large_features():
    """The line search takes a shorter step if a full Newton step overshoots."""
    e = task(8, 3, (2,), 3).encode(lambda x: 30 * x)
    model = identity_model("attention_attractor", num_base_classes=4, hidden=6)
    state = state_arrays(model.layers.get_submodule("0"))
    fitted = model(e).graphs[1].nodes[len(e.y) :].detach().numpy()
    x, y, _, way = task_arrays(e)
    support = [i for i in range(len(y)) if y[i] >= 0]
    slope = 2 * np.exp(state["log_stiffness"]) * (fitted - attractor(state, x, y, way))
    for i in support:
        probs = softmax(np.concatenate([state["base"] @ x[i], fitted @ x[i]]))[4:]
        slope = slope + np.outer(probs - np.eye(way)[y[i]], x[i]) / len(support)
    assert np.abs(slope).max() < 1e-6
