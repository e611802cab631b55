"""Hybrid attention against loops."""

import numpy as np
import pytest
import torch
from episodes import DIM, identity_model, task
from reference_check import assert_matches, linear, softmax, state_arrays

import graphfew as gf


def batches(shot):
    return {
        "equal": [task(1, 3, (shot,), 2), task(2, 3, (shot,), 2)],
        "mixed": [task(8, 3, (shot,), 3), task(9, 4, (shot,), 2)],
    }


def convolve(state, name, maps):
    """`maps [channels, height, F]`, kernels over height alone, no padding."""
    kernel, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    tall = kernel.shape[2]
    return np.array(
        [
            [
                [
                    sum(
                        kernel[o, c, t, 0] * maps[c, i + t, f]
                        for c in range(len(maps))
                        for t in range(tall)
                    )
                    + bias[o]
                    for f in range(maps.shape[2])
                ]
                for i in range(maps.shape[1] - tall + 1)
            ]
            for o in range(len(kernel))
        ]
    )


def feature_weights(state, supports, shot):
    h = np.array(supports)[None]
    for name in ("feature_attention.net.1", "feature_attention.net.4"):
        h = np.maximum(
            convolve(state, name, np.pad(h, ((0, 0), (shot // 2, (shot - 1) // 2), (0, 0)))), 0
        )
    return np.log1p(np.exp(convolve(state, "feature_attention.net.7", h)))[0, 0]


def formula(state, shot, instance_attention=True, feature_attention=True):
    def scores(x, y, query, way):
        rows = []
        for q in (i for i in range(len(y)) if query[i]):
            row = []
            for c in range(way):
                supports = [x[i] for i in range(len(y)) if y[i] == c]
                attention = np.full(shot, 1 / shot)
                if instance_attention:
                    attention = softmax(
                        [
                            np.tanh(
                                linear(state, "linear", s) * linear(state, "linear", x[q])
                            ).sum()
                            for s in supports
                        ]
                    )
                node = sum(a * s for a, s in zip(attention, supports, strict=True))
                z = feature_weights(state, supports, shot) if feature_attention else np.ones(DIM)
                row.append(-(z * (x[q] - node) ** 2).sum())
            rows.append(row)
        return np.array(rows)

    return scores


@pytest.mark.parametrize(
    "parts",
    [{}, {"instance_attention": False}, {"feature_attention": False}],
    ids=["both", "feature", "instance"],
)
@pytest.mark.parametrize("shot", [1, 2, 3])
@pytest.mark.parametrize("kind", ["equal", "mixed"])
def test_distances(kind, shot, parts):
    model = identity_model("hybrid_attention", shot=shot, **parts)
    assert_matches(
        model,
        batches(shot)[kind],
        formula(state_arrays(model.layers.get_submodule("0")), shot, **parts),
    )


def test_without_attention_matches_prototypical():
    e = task(8, 3, (2,), 3)
    actual = identity_model(
        "hybrid_attention", shot=2, instance_attention=False, feature_attention=False
    )
    expected = gf.create("prototypical", encoder=gf.backbones.identity(DIM)).double()
    assert torch.allclose(actual(e).logits, expected(e).logits, rtol=0, atol=1e-12)


def test_support_order_matters():
    e = task(8, 3, (3,), 3)
    flipped = gf.Episode.single(e.x.flip(0), e.y.flip(0), e.query.flip(0), 3)
    model = identity_model("hybrid_attention", shot=3)
    assert not torch.allclose(model(e).logits, model(flipped).logits.flip(0), atol=1e-6)


def test_wrong_shot_is_rejected():
    model = identity_model("hybrid_attention", shot=2)
    with pytest.raises(ValueError, match=r"built for 2-shot tasks and class 1 of task 1 has 3"):
        model(gf.collate([task(8, 3, (2,), 3), task(9, 3, (2, 3), 3)]))
    with pytest.raises(ValueError, match="shot must be at least 1, got 0"):
        identity_model("hybrid_attention", shot=0)
