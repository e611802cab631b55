"""Weights generated from the supports, against loops; all start as cosine classifiers of means."""

import numpy as np
import pytest
import torch
from episodes import DIM, identity_model, task
from gradient_check import assert_gradients, losses_before_and_after
from reference import metric
from reference_check import (
    LABELED,
    assert_matches,
    class_means,
    linear,
    softmax,
    state_arrays,
    task_arrays,
)

import graphfew as gf

SMALL = {
    "imprinting": {},
    "parameters_from_activations": {},
    "attention_weight_generator": {"num_base_classes": 4},
    "hypernetwork": {"hidden": 6},
}
UNTRAINED = [name for name in SMALL if gf.METHODS[name].works_untrained]


def unit(row):
    return row / max(np.linalg.norm(row), 1e-12)


def unit_rows(x):
    return np.array([unit(row) for row in x])


def mlp(state, name, row):
    return linear(state, f"{name}.2", np.maximum(linear(state, f"{name}.0", row), 0))


def imprinting(state, x, y, way):
    return [unit(mean) for mean in class_means(unit_rows(x), y, way)]


def parameters_from_activations(state, x, y, way):
    rows = []
    for mean in class_means(x, y, way):
        hidden = np.maximum(linear(state, "0.first", unit(mean)), 0)
        rows.append(unit(linear(state, "0.second", hidden)))
    return rows


def attention_weight_generator(state, x, y, way):
    z, base = unit_rows(x), unit_rows(state["0.base"])
    rows = []
    for c in range(way):
        own = [i for i in range(len(y)) if y[i] == c]
        messages = []
        for i in own:
            query = linear(state, "0.query", z[i])
            similarity = [metric.cosine(query, key) for key in state["0.keys"]]
            attention = softmax([state["0.attention_scale"] * s for s in similarity])
            messages.append(sum(a * v for a, v in zip(attention, base, strict=True)))
        mean = np.mean([z[i] for i in own], axis=0)
        message = np.mean(messages, axis=0)
        rows.append(state["0.mean_weight"] * mean + state["0.attention_weight"] * message)
    return rows


def cosine_formula(generate, state, scale):
    def logits(x, y, query, way):
        rows = generate(state, x, y, way)
        return np.array(
            [
                [state[scale] * metric.cosine(x[q], row) for row in rows]
                for q in range(len(y))
                if query[q]
            ]
        )

    return logits


def hypernetwork_formula(state):
    def logits(x, y, query, way):
        z = unit_rows(x)
        summaries = [
            np.mean([mlp(state, "0.fit.summary", z[i]) for i in range(len(y)) if y[i] == c], axis=0)
            for c in range(way)
        ]
        context = np.mean(summaries, axis=0)
        columns = []
        for mean, summary in zip(class_means(z, y, way), summaries, strict=True):
            written = mlp(state, "0.fit.output", np.append(summary, context))
            row, bias = unit(mean) + written[:-1], written[-1]
            columns.append(
                [state["0.fit.scale"] * (row @ z[q] + bias) for q in range(len(y)) if query[q]]
            )
        return np.array(columns).T

    return logits


FORMULAS = {
    "imprinting": lambda state: cosine_formula(imprinting, state, "1.scale"),
    "parameters_from_activations": lambda state: cosine_formula(
        parameters_from_activations, state, "1.scale"
    ),
    "attention_weight_generator": lambda state: cosine_formula(
        attention_weight_generator, state, "0.metric.scale"
    ),
    "hypernetwork": hypernetwork_formula,
}


@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
@pytest.mark.parametrize("name", SMALL)
def test_logits(name, tasks):
    model = identity_model(name, **SMALL[name])
    assert_matches(model, tasks, FORMULAS[name](state_arrays(model.layers)))


@pytest.mark.parametrize("name", SMALL)
def test_gradients(name):
    model = identity_model(name, **SMALL[name])
    assert_gradients(model, [task(1, 3, (1, 2), 2), task(2, 2, (2,), 2)])


@pytest.mark.parametrize("name", UNTRAINED)
def test_starts_as_the_cosine_classifier_of_class_means(name):
    e = task(1, 3, (1,), 4).encode(torch.abs)
    model = gf.create(name, encoder=gf.backbones.identity(DIM)).double()
    means = gf.create(
        "prototypical", encoder=gf.backbones.identity(DIM), metric=gf.nn.cosine, scale=10.0
    ).double()
    torch.testing.assert_close(model(e).logits, means(e).logits)
    x = e.x[e.labeled].numpy()
    classifier = gf.FewShotClassifier(name).fit(x, e.y[e.labeled].numpy())
    assert (classifier.predict(x) == e.y[e.labeled].numpy()).all()


def test_weights_of_a_class_depend_on_the_other_classes():
    """The task's context is an input of the hypernetwork."""
    e = task(1, 3, (2,), 2)
    changed = e.x.clone()
    changed[(e.y == 2).nonzero()] += 1
    model = identity_model("hypernetwork", hidden=6)
    first, second = (
        model(e.encode(lambda _, x=x: x)).graphs[1].nodes[len(e.y)] for x in (e.x, changed)
    )
    assert not torch.allclose(first, second)


def test_base_and_novel_logits_of_the_weight_generator():
    e = task(8, 3, (1, 2), 3)
    model = identity_model("attention_weight_generator", num_base_classes=4)
    joint = gf.methods.base_and_novel_logits(model, model(e)).detach().numpy()
    state = state_arrays(model.layers)
    x, _, query, _ = task_arrays(e)
    for row, q in zip(joint, np.flatnonzero(query), strict=True):
        expected = [state["0.metric.scale"] * metric.cosine(x[q], b) for b in state["0.base"]]
        assert np.abs(row[:4] - expected).max() < 1e-10
    assert (joint[:, 4:] == model(e).logits.detach().numpy()).all()


@pytest.mark.parametrize("name", SMALL)
def test_training_improves_the_loss(name):
    tasks = gf.Tasks(gf.data.glyphs(), way=5, shot=2, query=3, seed=0)
    model = gf.create(name, encoder=gf.backbones.conv4(width=6), **SMALL[name])
    before, after = losses_before_and_after(model, tasks, steps=25, lr=1e-2, batch=2)
    assert after < before - 0.1


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        *((name, "scale", 0.0) for name in SMALL),
        ("attention_weight_generator", "attention_scale", -1.0),
        ("attention_weight_generator", "num_base_classes", 0),
        ("hypernetwork", "hidden", 0),
    ],
)
def test_invalid_arguments(name, argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be .*got {value}"):
        gf.create(name, encoder=gf.backbones.identity(DIM), **{argument: value})
