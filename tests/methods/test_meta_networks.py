"""Meta networks against loops over supports, queries and single weights."""

import math

import pytest
import torch
from episodes import identity_model, task
from meta_learning import accuracies_before_and_after, assert_matches_loops
from reference_check import LABELED
from torch.nn import functional as F

import graphfew as gf


def generated(generator, gradient):
    """One fast weight per number of the gradient, each computed alone."""
    first, _, second, _, output = generator
    weights = []
    for g in gradient.flatten().tolist():
        if abs(g) >= math.exp(-7):
            features = gradient.new_tensor([math.log(abs(g)) / 7, math.copysign(1, g)])
        else:
            features = gradient.new_tensor([-1, math.exp(7) * g])
        hidden = (second(first(features).relu())).relu()
        weights.append(output(hidden)[0])
    return torch.stack(weights).view(gradient.shape)


def gradients(weights, loss):
    """Gradients as constants, by autograd at detached weights."""
    copies = [w.detach().requires_grad_() for w in weights]
    return [g.detach() for g in torch.autograd.grad(loss(*copies), copies)]


def class_rows(row, values, labels, way):
    means = [sum(v for v, c in zip(values, labels, strict=True) if c == k) for k in range(way)]
    return torch.stack([row * m / labels.count(k) for k, m in enumerate(means)])


def loops(model, x, y, query, way):
    net = model.layers[0]
    support = [i for i in range(len(y)) if y[i] >= 0]
    labels = [y[i] for i in support]
    key, base = net.key, net.base
    embedded = [key.weight @ x[i] + key.bias for i in support]
    key_head = class_rows(1, embedded, labels, way)
    hidden = [(base.weight @ x[i] + base.bias).relu() for i in support]
    head = class_rows(net.head_row, hidden, labels, way)
    key_fast, hidden_fast, head_fast = 0, [], []
    for i in support:
        target = torch.tensor(y[i])

        def key_loss(weight, i=i, target=target):
            logits = key_head.detach() @ (weight @ x[i] + key.bias)
            return F.cross_entropy(logits, target)

        def base_loss(weight, rows, i=i, target=target):
            return F.cross_entropy(rows @ (weight @ x[i] + base.bias).relu(), target)

        (gradient,) = gradients([key.weight], key_loss)
        key_fast = key_fast + generated(net.key_generator, gradient) / len(support)
        hidden_gradient, head_gradient = gradients([base.weight, head], base_loss)
        hidden_fast.append(generated(net.base_generator, hidden_gradient))
        head_fast.append(generated(net.base_generator, head_gradient))

    def embed(item):
        return key.weight @ item + key_fast @ item + key.bias

    out = []
    for q in (q for q in range(len(y)) if query[q]):
        similarity = [F.cosine_similarity(embed(x[i]), embed(x[q]), dim=0) for i in support]
        attention = torch.stack(similarity).softmax(0)
        fast = sum(a * w for a, w in zip(attention, hidden_fast, strict=True))
        rows = head + sum(a * w for a, w in zip(attention, head_fast, strict=True))
        out.append(rows @ ((base.weight @ x[q] + base.bias).relu() + (fast @ x[q]).relu()))
    return torch.stack(out)


@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_logits_and_gradients(tasks):
    assert_matches_loops(identity_model("meta_networks", width=3, hidden=4), tasks, loops)


def test_a_shared_head_row_alone_would_leave_the_hidden_layer_without_gradient():
    """The reason why the rows are multiplied by class means."""
    weight = torch.randn(4, 5, requires_grad=True)
    rows = torch.ones(3, 4)
    loss = F.cross_entropy(rows @ (weight @ torch.randn(5)).relu(), torch.tensor(1))
    assert torch.autograd.grad(loss, weight)[0].abs().max() < 1e-6


def test_edges_are_the_attention_of_each_query():
    e = gf.collate([task(8, 3, (1, 2), 3), task(9, 4, (2,), 2)])
    graph = identity_model("meta_networks", width=3)(e).graphs[-1]
    sums = torch.zeros(len(e.y)).double()
    sums = sums.index_add(0, graph.topology.receivers, graph.edges[:, 0])
    assert torch.allclose(sums[e.query], torch.ones(5).double())
    assert not sums[~e.query].any()


def test_works_without_gradients():
    e = task(8, 3, (1, 2), 3)
    model = identity_model("meta_networks", width=3)
    expected = model(e).logits
    with torch.no_grad():
        assert torch.equal(model(e).logits, expected)


def test_training_helps():
    arguments = {"width": 16, "hidden": 8}
    before, after = accuracies_before_and_after("meta_networks", arguments)
    assert after > before + 0.1


def test_invalid_arguments():
    with pytest.raises(ValueError, match=r"width and hidden must .* got 0 and 20"):
        identity_model("meta_networks", width=0)
