"""TADAM against loops, on features and on a convolutional encoder."""

import numpy as np
import pytest
import torch
from episodes import identity_model, randomized, task
from reference import metric
from reference_check import LABELED, assert_matches, class_means, linear, state_arrays

import graphfew as gf


def scales(state, mean, layer):
    """Factors and shifts of one conditioned layer."""

    def residual(name):
        h = np.maximum(linear(state, f"scales.{layer}.{name}.first", mean), 0)
        inner = np.maximum(linear(state, f"scales.{layer}.{name}.rest.0", h), 0)
        return h + linear(state, f"scales.{layer}.{name}.rest.2", inner)

    return (
        1 + state[f"scales.{layer}.gamma_scale"] * residual("gamma"),
        state[f"scales.{layer}.beta_scale"] * residual("beta"),
    )


@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_scores_on_features(tasks):
    model = identity_model("tadam")
    state, scale = state_arrays(model.condition), model.layers.get_submodule("0").scale.item()

    def formula(x, y, query, way):
        gamma, beta = scales(state, np.mean(class_means(x, y, way), axis=0), 0)
        return metric.prototypes([gamma * row + beta for row in x], y, query, metric.squared, scale)

    assert_matches(model, tasks, formula)


def conditioned_encoding(encoder, state, x, mean):
    """The encoder's layers one by one, with a scale and a shift after each batch norm."""
    h, layer = x, 0
    for module in encoder.net:
        h = module(h)
        if isinstance(module, torch.nn.BatchNorm2d):
            gamma, beta = (
                torch.from_numpy(v)[None, :, None, None] for v in scales(state, mean, layer)
            )
            h, layer = gamma * h + beta, layer + 1
    assert layer == 4
    return h


def test_scores_on_images_per_task():
    model = randomized(gf.create("tadam", encoder=gf.backbones.conv4(width=4, size=16)))
    tasks = [task(s, 3, (1, 2), 2, dim=256).encode(lambda x: x.view(-1, 1, 16, 16)) for s in (1, 2)]
    logits = model(gf.collate(tasks)).logits.split(2)
    state, scale = state_arrays(model.condition), model.layers.get_submodule("0").scale.item()
    for e, actual in zip(tasks, logits, strict=True):
        first = model.encoder(e.x).detach().numpy()
        mean = np.mean(class_means(first, e.y.tolist(), 3), axis=0)
        second = conditioned_encoding(model.encoder, state, e.x, mean).detach().numpy()
        expected = metric.prototypes(second, e.y.tolist(), e.query.tolist(), metric.squared, scale)
        assert np.abs(actual.detach().numpy() - expected).max() < 1e-9


def test_untrained_matches_prototypical():
    e = task(8, 3, (1, 2), 3)
    actual, expected = (
        gf.create(name, encoder=gf.backbones.identity(5)).double()(e).logits
        for name in ("tadam", "prototypical")
    )
    assert torch.allclose(actual, expected, rtol=0, atol=1e-12)


def test_hooks_are_removed():
    model = gf.create("tadam", encoder=gf.backbones.conv4(width=4, size=16)).eval()
    x = torch.rand(2, 1, 16, 16)
    before = model.encoder(x)
    model(task(1, 3, (1,), 2, dim=256).encode(lambda v: v.float().view(-1, 1, 16, 16)))
    assert torch.equal(model.encoder(x), before)
    assert not any(m._forward_hooks for m in model.encoder.modules())


def test_on_features_is_rejected():
    model = identity_model("tadam")
    with pytest.raises(ValueError, match="conditions its encoder on the task"):
        model.on_features()


def test_chunked_encoding_matches():
    model = randomized(gf.create("tadam", encoder=gf.backbones.conv4(width=4))).float()
    tasks = gf.Tasks(gf.data.glyphs("val"), way=5, shot=1, query=5, seed=0)
    few, many = (gf.evaluate(model, tasks, 8, batch=batch) for batch in (2, 8))
    assert few.per_task == many.per_task
