"""Relation networks and their loss against loops, on feature vectors and feature maps."""

import numpy as np
import pytest
import torch
from episodes import identity_model, randomized, task
from reference_check import (
    LABELED,
    assert_matches,
    batch_norm,
    class_means,
    linear,
    sigmoid,
    state_arrays,
)

import graphfew as gf

MAPS = {
    "equal": [task(1, 3, (1,), 2, dim=50), task(2, 3, (1,), 2, dim=50)],
    "mixed": [task(8, 3, (1, 2), 3, dim=50), task(9, 4, (2,), 2, dim=50)],
}


def pairs(x, y, query, way):
    """For each query a row per class: the class mean concatenated with the query."""
    means = class_means(x, y, way)
    return [[(m, x[q]) for m in means] for q in range(len(y)) if query[q]]


def vector_score(state, s, q):
    h = np.concatenate([s, q])
    for a, b in (("0", "1"), ("2", "3")):
        h = np.maximum(batch_norm(state, f"{b}.norm", linear(state, a, h)), 0)
    return linear(state, "6", np.maximum(linear(state, "4", h), 0))[0]


def convolve(state, name, maps):
    """3x3 with padding 1, pixel by pixel."""
    kernel, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    size = maps.shape[1]
    return np.array(
        [
            [
                [(padded[:, i : i + 3, j : j + 3] * kernel[o]).sum() + bias[o] for j in range(size)]
                for i in range(size)
            ]
            for o in range(len(kernel))
        ]
    )


def conv_score(state, s, q):
    h = np.concatenate([s.reshape(2, 5, 5), q.reshape(2, 5, 5)])
    for a, b in (("1", "2"), ("5", "6")):
        h = convolve(state, a, h)
        h = np.maximum(
            np.array(
                [
                    (m - state[f"{b}.running_mean"][c])
                    / np.sqrt(state[f"{b}.running_var"][c] + 1e-5)
                    * state[f"{b}.weight"][c]
                    + state[f"{b}.bias"][c]
                    for c, m in enumerate(h)
                ]
            ),
            0,
        )
        side = h.shape[1] // 2
        h = np.array(
            [
                [
                    [m[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max() for j in range(side)]
                    for i in range(side)
                ]
                for m in h
            ]
        )
    return linear(state, "12", np.maximum(linear(state, "10", h.ravel()), 0))[0]


def formula(model, score):
    state = state_arrays(model.layers.get_submodule("0.net"))
    return lambda *e: np.array([[score(state, *pair) for pair in row] for row in pairs(*e)])


@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_vector_scores(tasks):
    model = identity_model("relation", width=6)
    assert_matches(model, tasks, formula(model, vector_score))


@pytest.mark.parametrize("tasks", MAPS.values(), ids=MAPS)
def test_conv_scores(tasks):
    model = randomized(
        gf.create("relation", encoder=gf.backbones.identity(50), channels=2, width=4)
    )
    assert_matches(model, tasks, formula(model, conv_score))


@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_relation_loss(tasks):
    model = identity_model("relation", width=6)
    targets = [torch.arange(e.n_queries[0]) % e.way[0] for e in tasks]
    actual = gf.methods.relation_loss(model(gf.collate(tasks)), torch.cat(targets))
    errors = []
    for e, target in zip(tasks, targets, strict=True):
        scores = model(e).logits.detach().numpy()
        errors += [
            (sigmoid(scores[i, c]) - (c == target[i].item())) ** 2
            for i in range(e.n_queries[0])
            for c in range(e.way[0])
        ]
    assert actual.item() == pytest.approx(np.mean(errors), rel=0, abs=1e-10)


def test_relation_conv_output_fits():
    encoder = gf.backbones.relation_conv()
    assert encoder.out_dim == 64 * 5 * 5
    e = task(1, 2, (1,), 1, dim=784).encode(lambda x: x.float().view(-1, 1, 28, 28))
    assert gf.create("relation", encoder=encoder, channels=64)(e).logits.shape == (1, 2)
    with pytest.raises(ValueError, match="width 1600 are not 65 square maps"):
        gf.create("relation", encoder=encoder, channels=65)


def test_relation_loss_checks_number_of_targets():
    with pytest.raises(ValueError, match="3 targets for 2 queries"):
        gf.methods.relation_loss(
            identity_model("relation", width=6)(task(1, 3, (1,), 2)), torch.tensor([0, 1, 2])
        )
