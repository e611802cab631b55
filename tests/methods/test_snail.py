"""SNAIL against loops over the positions of one sequence per query."""

import math

import pytest
import torch
from episodes import identity_model, task
from meta_learning import accuracies_before_and_after, assert_matches_loops

import graphfew as gf

SMALL = {"filters": 3, "attention_sizes": [[4, 2], [5, 3]]}
TASKS = {
    "equal": [task(1, 3, (2,), 2), task(2, 3, (2,), 2)],
    "ragged": [task(8, 3, (2,), 3), task(9, 3, (2,), 1)],
}


def linear(layer, x):
    return layer.weight @ x + (0 if layer.bias is None else layer.bias)


def attention(layer, sequence):
    out = []
    for t, item in enumerate(sequence):
        scores = []
        for earlier in sequence[: t + 1]:
            product = linear(layer.query, item) @ linear(layer.key, earlier)
            scores.append(product / math.sqrt(layer.key.out_features))
        weights = torch.stack(scores).softmax(0)
        read = sum(w * linear(layer.value, s) for w, s in zip(weights, sequence, strict=False))
        out.append(torch.cat([item, read]))
    return out


def dense_block(layer, sequence, dilation):
    out = []
    for t, item in enumerate(sequence):
        past = sequence[t - dilation] if t >= dilation else torch.zeros_like(item)
        value, gate = (linear(layer.current, item) + linear(layer.past, past)).chunk(2)
        out.append(torch.cat([item, value.tanh() * gate.sigmoid()]))
    return out


def loops(model, x, y, query, way):
    net = model.layers[0]
    labels = torch.eye(way, dtype=x.dtype)
    supports = [torch.cat([x[i], labels[y[i]]]) for i in range(len(y)) if y[i] >= 0]
    out = []
    for q in (q for q in range(len(y)) if query[q]):
        sequence = [*supports, torch.cat([x[q], x.new_zeros(way)])]
        layers = iter(net.net)
        sequence = attention(next(layers), sequence)
        dilation = 1
        while dilation < len(sequence):
            sequence = dense_block(next(layers), sequence, dilation)
            dilation *= 2
        sequence = attention(next(layers), sequence)
        assert next(layers, None) is None
        out.append(linear(net.output, sequence[-1]))
    return torch.stack(out)


@pytest.mark.parametrize("tasks", TASKS.values(), ids=TASKS)
def test_logits_and_gradients(tasks):
    assert_matches_loops(identity_model("snail", way=3, shot=2, **SMALL), tasks, loops)


def test_default_layers_are_those_of_the_paper():
    net = gf.create("snail", encoder=gf.backbones.identity(5), way=5, shot=1).layers[0].net
    blocks = [(layer.dilation if hasattr(layer, "dilation") else "attention") for layer in net]
    assert blocks == ["attention", 1, 2, 4, "attention", 1, 2, 4, "attention"]


@pytest.mark.parametrize(("way", "shot"), [(2, 1), (3, 1), (2, 2), (4, 2)])
def test_blocks_reach_the_first_support(way, shot):
    """Without attention, the query depends on every support, through the dilations alone."""
    e = task(3, way, (shot,), 1)
    model = identity_model("snail", way=way, shot=shot, filters=3, attention_sizes=[[1, 1], [1, 1]])
    for layer in model.layers[0].net:
        if hasattr(layer, "value"):
            layer.value.weight.data.zero_()
    x = e.x.clone().requires_grad_()
    logits = model(e.encode(lambda _: x)).logits
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    assert (gradient.abs().amax(1) > 0).all()


def test_graph_is_causal():
    y = torch.tensor([1, -1, 0])
    e = gf.Episode.single(torch.randn(3, 5), y, y < 0, 2)
    topology = gf.create("snail", encoder=gf.backbones.identity(5), way=2)(e).graphs[0].topology
    assert topology.senders.tolist() == [0, 0, 2, 1, 0, 2]
    assert topology.receivers.tolist() == [0, 1, 1, 1, 2, 2]


def test_training_helps():
    sizes = [[16, 8], [16, 16]]
    arguments = {"way": 2, "shot": 2, "filters": 16, "attention_sizes": sizes}
    options = {"way": 2, "batch": 16, "steps": 80}
    before, after = accuracies_before_and_after("snail", arguments, **options)
    assert after > before + 0.1


def test_invalid_arguments():
    with pytest.raises(ValueError, match=r"must be at least 1, got 0"):
        identity_model("snail", shot=0)
    with pytest.raises(ValueError, match=r"pairs of key and value size, got \[\[3\]\]"):
        identity_model("snail", attention_sizes=[[3]])
    with pytest.raises(ValueError, match=r"built for 3-way tasks and got a 4-way"):
        identity_model("snail", way=3)(task(1, 4, (1,)))
    with pytest.raises(ValueError, match=r"built for 1-shot tasks .* has 2 supports"):
        identity_model("snail", way=3)(task(1, 3, (2,)))
