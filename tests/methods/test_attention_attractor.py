"""Attention attractor against gradient descent on its objective, and its gradients against differences."""

import numpy as np
import pytest
import torch
from against import LABELED, linear, plain, same, softmax, weights
from episodes import identity_model, task
from reference import metric

import graphfew as gf


def attractor(state, x, y, way):
    memory = [
        linear(state, "memory.2", np.tanh(linear(state, "memory.0", b))) for b in state["base"]
    ]
    out = []
    for c in range(way):
        heard = []
        for i in (i for i in range(len(y)) if y[i] == c):
            share = softmax(
                [state["attention_scale"] * metric.cosine(x[i], b) for b in state["base"]]
            )
            heard.append(sum(a * m for a, m in zip(share, memory, strict=True)))
        out.append(state["origin"] + np.mean(heard, axis=0))
    return np.array(out)


def descended(state, x, y, way, steps=50_000):
    support = [i for i in range(len(y)) if y[i] >= 0]
    goal, stiffness = attractor(state, x, y, way), np.exp(state["log_stiffness"])
    w = goal.copy()
    for _ in range(steps):
        slope = 2 * stiffness * (w - goal)
        for i in support:
            share = softmax(np.concatenate([state["base"] @ x[i], w @ x[i]]))[len(state["base"]) :]
            slope = slope + np.outer(share - np.eye(way)[y[i]], x[i]) / len(support)
        w = w - 0.1 * slope
        if np.abs(slope).max() < 1e-12:
            break
    return w


@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_scores(tasks):
    model = identity_model("attention_attractor", num_base_classes=4, hidden=6)
    state = weights(model.layers.get_submodule("0"))

    def formula(x, y, query, way):
        return x[np.array(query)] @ descended(state, x, y, way).T

    same(model, tasks, formula, tolerance=1e-9)


def test_base_classes_stay_answerable():
    e = task(8, 3, (1, 2), 3)
    model = identity_model("attention_attractor", num_base_classes=4, hidden=6)
    joint = gf.methods.base_and_novel_logits(model, model(e))
    assert joint.shape == (3, 4 + 3)
    base = weights(model.layers.get_submodule("0"))["base"]
    x, _, query, _ = plain(e)
    assert np.abs(joint[:, :4].detach().numpy() - x[np.array(query)] @ base.T).max() < 1e-12
    assert torch.equal(joint[:, 4:], model(e).logits)
    with pytest.raises(ValueError, match="attention_attractor"):
        gf.methods.base_and_novel_logits(identity_model("feat"), model(e))


def test_gradients_through_the_fit_are_those_of_differences():
    e, target = task(8, 3, (1, 2), 3), torch.tensor([0, 1, 2])
    model = identity_model("attention_attractor", num_base_classes=4, hidden=6)
    x = e.x.clone().requires_grad_()
    gf.node_loss(model(e.encode(lambda _: x)), target).backward()

    def loss():
        return gf.node_loss(model(e.encode(lambda _: x.detach())), target).item()

    values = [x, *model.parameters()]
    for value in values:
        spot = int(value.grad.abs().argmax())
        place = value.data.view(-1)
        start = place[spot].item()
        around = []
        for step in (1e-5, -1e-5):
            place[spot] = start + step
            around.append(loss())
        place[spot] = start
        assert value.grad.view(-1)[spot].item() == pytest.approx(
            (around[0] - around[1]) / 2e-5, rel=1e-5, abs=1e-9
        )


def test_long_features_do_not_upset_the_fit():
    """Where a full Newton step overshoots, a shorter one is taken."""
    e = task(8, 3, (2,), 3).encode(lambda x: 30 * x)
    model = identity_model("attention_attractor", num_base_classes=4, hidden=6)
    state = weights(model.layers.get_submodule("0"))
    fitted = model(e).graphs[1].nodes[len(e.y) :].detach().numpy()
    x, y, _, way = plain(e)
    support = [i for i in range(len(y)) if y[i] >= 0]
    slope = 2 * np.exp(state["log_stiffness"]) * (fitted - attractor(state, x, y, way))
    for i in support:
        share = softmax(np.concatenate([state["base"] @ x[i], fitted @ x[i]]))[4:]
        slope = slope + np.outer(share - np.eye(way)[y[i]], x[i]) / len(support)
    assert np.abs(slope).max() < 1e-6
