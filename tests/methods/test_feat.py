"""FEAT against loops."""

import numpy as np
import pytest
import torch
from against import LABELED, class_means, linear, same, softmax, weights
from episodes import DIM, identity_model, task
from reference import metric

import graphfew as gf


def formula(state):
    def scores(x, y, query, way):
        means = class_means(x, y, way)
        adapted = []
        for c in range(way):
            ask = linear(state, "0.query", means[c])
            share = softmax([ask @ linear(state, "0.key", m) / np.sqrt(DIM) for m in means])
            heard = sum(a * linear(state, "0.value", m) for a, m in zip(share, means, strict=True))
            row = means[c] + linear(state, "0.out", heard)
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
    same(model, tasks, formula(weights(model.layers)))


def test_a_class_is_seen_otherwise_beside_other_classes():
    first = task(1, 3, (1,), 2)
    other = first.x.clone()
    other[(first.y == 2).nonzero()] += 1
    model = identity_model("feat")
    ours = [
        model(gf.Episode.single(x, first.y, first.query, 3)).graphs[1].nodes[len(first.y)]
        for x in (first.x, other)
    ]
    assert not torch.allclose(*ours)
