"""Induction networks against loops."""

import numpy as np
import pytest
import torch
from episodes import identity_model
from reference_check import LABELED, assert_matches, linear, softmax, state_arrays

import graphfew as gf


def squash(x):
    square = (x**2).sum()
    return square / (1 + square) * x / np.sqrt(square)


def formula(state, num_iterations):
    def scores(x, y, query, way):
        classes = []
        for c in range(way):
            votes = [squash(linear(state, "0.transform", x[i])) for i in range(len(y)) if y[i] == c]
            agreement = [0.0] * len(votes)
            for _ in range(num_iterations):
                node = squash(sum(d * v for d, v in zip(softmax(agreement), votes, strict=True)))
                agreement = [b + v @ node for b, v in zip(agreement, votes, strict=True)]
            classes.append(node)
        return np.array(
            [
                [
                    linear(
                        state,
                        "1.score",
                        np.array([max(c @ m @ x[q], 0) for m in state["1.tensor"]]),
                    )[0]
                    for c in classes
                ]
                for q in range(len(y))
                if query[q]
            ]
        )

    return scores


@pytest.mark.parametrize("num_iterations", [1, 3])
@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_scores(tasks, num_iterations):
    model = identity_model("induction", num_slices=4, num_iterations=num_iterations)
    assert_matches(model, tasks, formula(state_arrays(model.layers), num_iterations))


def test_routing_downweights_an_outlier_support():
    """With every iteration the class node moves away from the outlier among three supports."""
    x = torch.tensor([[1.0, 0], [0.9, 0.1], [-1, 0.3], [0, 1], [0, 1], [0, 1], [1, 0]]).double()
    y, query = torch.tensor([0, 0, 0, 1, 1, 1, -1]), torch.arange(7) == 6
    model = gf.create("induction", encoder=gf.backbones.identity(2), num_slices=2).double()
    routing = model.layers.get_submodule("0")
    routing.transform.weight.data = 4 * torch.eye(2).double()
    routing.transform.bias.data.zero_()
    node = {}
    for num_iterations in (1, 3, 10):
        routing.num_iterations = num_iterations
        node[num_iterations] = model(gf.Episode.single(x, y, query, 2)).graphs[1].nodes[7]
    assert node[1][0] < node[3][0] < node[10][0]


def test_zero_iterations_are_rejected():
    with pytest.raises(ValueError, match=r"num_iterations must .* got 0"):
        identity_model("induction", num_iterations=0)
