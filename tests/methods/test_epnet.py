"""Embedding propagation against loops."""

import numpy as np
import pytest
import torch
from episodes import DIM, task
from reference_check import UNLABELED, assert_matches

import graphfew as gf


def propagator(x, alpha, steps=4000):
    """Σ_t (αS)^t, term by term."""
    n = len(x)
    d = np.array(
        [
            [sum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True)) for j in range(n)]
            for i in range(n)
        ]
    )
    scale = np.std([d[i, j] for i in range(n) for j in range(n) if i != j])
    a = np.array(
        [[np.exp(-d[i, j] / scale) if i != j else 0.0 for j in range(n)] for i in range(n)]
    )
    degree = a.sum(1) + 1e-4
    s = np.array(
        [[alpha * a[i, j] / np.sqrt(degree[i] * degree[j]) for j in range(n)] for i in range(n)]
    )
    out = term = np.eye(n)
    for _ in range(steps):
        term = term @ s
        out = out + term
    return out


def formula(smoothing=0.5, alpha=0.2):
    def logits(x, y, query, way):
        spread = propagator(propagator(x, smoothing) @ x, alpha)
        spread = spread / np.abs(spread).sum(1, keepdims=True)
        label = np.array([[float(c == k) / y.count(k) for k in range(way)] for c in y])
        return np.log(spread @ label + 1e-6)[np.array(query)]

    return logits


def create(**arguments):
    return gf.create("epnet", encoder=gf.backbones.identity(DIM), **arguments).double()


@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_transductive_logits(tasks):
    assert_matches(create(), tasks, formula(), 1e-9)


def test_inductive_logits():
    assert_matches(
        create(transductive=False, smoothing=0.3),
        UNLABELED["unlabeled"],
        formula(0.3),
        1e-9,
        per_query=True,
    )


@pytest.mark.parametrize("scale", [1e-2, 1e3])
def test_kernel_is_scale_invariant(scale):
    e = task(3, 3, (2, 1), 4)
    assert torch.allclose(
        create()(e).logits, create()(e.encode(lambda x: scale * x)).logits, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("name", ["smoothing", "alpha"])
def test_invalid_arguments(name):
    with pytest.raises(ValueError, match=f"{name} must .* got 1.5"):
        create(**{name: 1.5})
