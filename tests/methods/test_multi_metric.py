"""Mixed metrics against loops."""

import numpy as np
import pytest
import torch
from episodes import identity_model, task
from reference import metric
from reference_check import LABELED, assert_matches, softmax, state_arrays

import graphfew as gf


def probs(state, k, x, i, others, y, way):
    rows = {j: x[j] @ state["projections"][k] for j in (i, *others)}
    attention = softmax([state["scale"][k] * metric.cosine(rows[i], rows[j]) for j in others])
    return np.array(
        [sum(a for a, j in zip(attention, others, strict=True) if y[j] == c) for c in range(way)]
    )


def mixture(state, x, y, way, num_iterations):
    support = [i for i in range(len(y)) if y[i] >= 0]
    metrics = len(state["scale"])
    right = [
        [
            probs(state, k, x, i, [j for j in support if j != i], y, way)[y[i]] + 1e-12
            for k in range(metrics)
        ]
        for i in support
    ]
    alpha = np.full(metrics, 1 / metrics)
    for _ in range(num_iterations):
        part = [np.array([alpha[k] * row[k] for k in range(metrics)]) for row in right]
        alpha = np.mean([p / p.sum() for p in part], axis=0)
    return alpha


def formula(state, num_iterations):
    def reference(x, y, query, way):
        support = [i for i in range(len(y)) if y[i] >= 0]
        alpha = mixture(state, x, y, way, num_iterations)
        return np.array(
            [
                sum(a * probs(state, k, x, q, support, y, way) for k, a in enumerate(alpha))
                for q in range(len(y))
                if query[q]
            ]
        )

    return reference


@pytest.mark.parametrize("num_iterations", [0, 3])
@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_probs(tasks, num_iterations):
    model = identity_model("multi_metric", num_metrics=3, width=4, num_iterations=num_iterations)
    assert_matches(
        model,
        tasks,
        formula(state_arrays(model.layers.get_submodule("0")), num_iterations),
        probs=True,
        tolerance=1e-9,
    )


def test_informative_metric_gets_the_weight():
    """Classes differ in the first feature only, which metric 0 reads; metric 1 reads noise at a high scale."""
    e = task(1, 2, (6,), 20, dim=4)
    truth = torch.where(e.y >= 0, e.y, torch.arange(len(e.y)) % 2)
    x = e.x.clone()
    x[:, :2] = 0.1 * x[:, :2] + torch.stack([1.0 - truth, truth], 1)
    e = gf.Episode.single(x, e.y, e.query, 2)
    accuracy = {}
    for num_iterations in (0, 10):
        model = gf.create(
            "multi_metric",
            encoder=gf.backbones.identity(4),
            num_metrics=2,
            width=2,
            num_iterations=num_iterations,
        )
        projections = model.double().layers.get_submodule("0").projections.data
        projections.zero_()
        projections[0, :2], projections[1, 2:] = torch.eye(2).double(), torch.eye(2).double()
        model.layers.get_submodule("0").scale.data = torch.tensor([2.0, 20.0]).double()
        accuracy[num_iterations] = (
            (model(e).logits.argmax(1) == truth[e.query]).double().mean().item()
        )
    assert accuracy[10] == 1
    assert accuracy[0] < 1


def test_invalid_arguments():
    with pytest.raises(ValueError, match=r"num_metrics must .* got 0"):
        identity_model("multi_metric", num_metrics=0)
