"""FEAT against loops."""

import numpy as np
import pytest
import torch
from episodes import DIM, identity_model, task
from reference import metric
from reference_check import LABELED, assert_matches, class_means, linear, softmax, state_arrays

import graphfew as gf


def formula(state):
    def scores(x, y, query, way):
        means = class_means(x, y, way)
        adapted = []
        for c in range(way):
            ask = linear(state, "0.query", means[c])
            attention = softmax([ask @ linear(state, "0.key", m) / np.sqrt(DIM) for m in means])
            messages = sum(
                a * linear(state, "0.value", m) for a, m in zip(attention, means, strict=True)
            )
            row = means[c] + linear(state, "0.out", messages)
            row = (row - row.mean()) / np.sqrt(row.var() + 1e-5)
            adapted.append(row * state["0.norm.weight"] + state["0.norm.bias"])
        return np.array(
            [
                [state["1.scale"] * metric.squared(x[q], m) for m in adapted]
                for q in range(len(y))
                if query[q]
            ]
        )

    return scores


@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_scores(tasks):
    model = identity_model("feat")
    assert_matches(model, tasks, formula(state_arrays(model.layers)))


def test_adapted_prototype_depends_on_other_classes():
    first = task(1, 3, (1,), 2)
    other = first.x.clone()
    other[(first.y == 2).nonzero()] += 1
    model = identity_model("feat")
    actual = [
        model(gf.Episode.single(x, first.y, first.query, 3)).graphs[1].nodes[len(first.y)]
        for x in (first.x, other)
    ]
    assert not torch.allclose(*actual)
