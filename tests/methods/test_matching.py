"""Matching networks against loops, with and without full context."""

import numpy as np
import pytest
import torch
from episodes import DIM, identity_model, task
from reference import metric
from reference_check import LABELED, assert_matches, linear, sigmoid, softmax, state_arrays

import graphfew as gf


def attention(queries, supports, labels, way, scale):
    rows = []
    for q in queries:
        coefficients = softmax([scale * metric.cosine(q, s) for s in supports])
        rows.append(
            [
                sum(a for a, c in zip(coefficients, labels, strict=True) if c == k)
                for k in range(way)
            ]
        )
    return np.array(rows)


def split_task(x, y, query):
    support = [i for i in range(len(y)) if y[i] >= 0]
    return (
        [x[i] for i in support],
        [y[i] for i in support],
        [x[i] for i in range(len(y)) if query[i]],
    )


def lstm(state, name, suffix, x, h, c):
    """One step of torch's LSTM: input, forget, cell and output gates, in this order."""
    gates = (
        state[f"{name}weight_ih{suffix}"] @ x
        + state[f"{name}bias_ih{suffix}"]
        + state[f"{name}weight_hh{suffix}"] @ h
        + state[f"{name}bias_hh{suffix}"]
    )
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def run_lstm(state, rows, suffix):
    h, c, out = np.zeros(DIM), np.zeros(DIM), []
    for row in rows:
        h, c = lstm(state, "0.lstm.", suffix, row, h, c)
        out.append(h)
    return out


def full_context_probs(state, x, y, query, way, steps):
    supports, labels, queries = split_task(x, y, query)
    forth, back = (
        run_lstm(state, supports, "_l0"),
        run_lstm(state, supports[::-1], "_l0_reverse")[::-1],
    )
    supports = [s + a + b for s, a, b in zip(supports, forth, back, strict=True)]
    embedded = []
    for first in queries:
        h, c = first, np.zeros(DIM)
        for _ in range(steps):
            coefficients = softmax([h @ s for s in supports])
            seen = sum(a * s for a, s in zip(coefficients, supports, strict=True))
            out, c = lstm(state, "1.cell.", "", np.concatenate([first, seen]), h, c)
            h = out + first
        embedded.append(h)
    return attention(embedded, supports, labels, way, state["2.scale"])


@pytest.mark.parametrize("scale", [1.0, 7.0])
@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_attention_probs(tasks, scale):
    def formula(x, y, query, way):
        supports, labels, queries = split_task(x, y, query)
        return attention(queries, supports, labels, way, scale)

    model = gf.create("matching", encoder=gf.backbones.identity(DIM), scale=scale).double()
    assert_matches(model, tasks, formula, probs=True)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_full_context(tasks, steps):
    model = identity_model("matching_fce", steps=steps)
    state = state_arrays(model.layers)
    assert_matches(model, tasks, lambda *e: full_context_probs(state, *e, steps), probs=True)


def test_default_scale_is_one_and_fixed():
    model = gf.create("matching", encoder=gf.backbones.identity(DIM))
    assert [p.item() for p in model.parameters()] == [1.0]
    assert not any(p.requires_grad for p in model.parameters())


def test_full_context_with_zero_weights_matches_matching():
    """LSTMs with zero weights leave plain matching networks."""
    e = task(8, 3, (1, 2), 3)
    model = gf.create("matching_fce", encoder=gf.backbones.identity(DIM)).double()
    for name, value in model.named_parameters():
        if "scale" not in name:
            value.data.zero_()
    plain = gf.create("matching", encoder=gf.backbones.identity(DIM)).double()
    assert torch.allclose(model(e).logits, plain(e).logits, rtol=0, atol=1e-12)


def test_zero_steps_are_rejected():
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        identity_model("matching_fce", steps=0)


def test_reference_linear_matches_torch():
    layer = torch.nn.Linear(3, 2).double()
    x = torch.arange(3.0, dtype=torch.float64)
    assert np.allclose(
        linear(state_arrays(torch.nn.Sequential(layer)), "0", x.numpy()), layer(x).detach().numpy()
    )
