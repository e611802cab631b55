"""The meta-learner LSTM against loops over parameters, with gradients of the loss by autograd."""

import math

import pytest
import torch
from episodes import identity_model, task
from meta_learning import accuracies_before_and_after, assert_matches_loops, lstm_step
from reference_check import LABELED
from torch.nn import functional as F

import graphfew as gf


def features(value):
    if abs(value) >= math.exp(-10):
        return [math.log(abs(value)) / 10, math.copysign(1, value)]
    return [-1, math.exp(10) * value]


def loops(model, x, y, query, way):
    net = model.layers[0].fit
    ones = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
    support = [i for i in range(len(y)) if y[i] >= 0]
    width = ones.shape[1]
    cells = [(k, j) for k in range(way) for j in range(width)]
    theta = {(k, j): net.start[j] for k, j in cells}
    zero = x.new_zeros(net.lstm.hidden_size)
    states = dict.fromkeys(cells, (zero, zero))
    forget, input_ = (dict.fromkeys(cells, x.new_zeros(())) for _ in range(2))
    for _ in range(net.steps):
        head = torch.stack([theta[cell] for cell in cells]).view(way, width)
        head = head.detach().requires_grad_()
        labels = torch.tensor([y[i] for i in support])
        loss = F.cross_entropy(ones[support].detach() @ head.T, labels)
        (gradient,) = torch.autograd.grad(loss, head)
        gradient = gradient / len(support)
        for k, j in cells:
            inputs = x.new_tensor(features(loss.item()) + features(gradient[k, j].item()))
            states[k, j] = lstm_step(net.lstm, inputs, *states[k, j])
            hidden, old = states[k, j][0], theta[k, j]
            read = torch.cat([hidden, torch.stack([old, forget[k, j]])])
            forget[k, j] = (net.forget_gate.weight[0] * read).sum() + net.forget_gate.bias[0]
            read = torch.cat([hidden, torch.stack([old, input_[k, j]])])
            input_[k, j] = (net.input_gate.weight[0] * read).sum() + net.input_gate.bias[0]
            step = input_[k, j].sigmoid() * gradient[k, j]
            theta[k, j] = forget[k, j].sigmoid() * old - step
    head = torch.stack([theta[cell] for cell in cells]).view(way, width)
    return torch.stack([head @ ones[q] for q in range(len(y)) if query[q]])


@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_logits_and_gradients(tasks):
    assert_matches_loops(identity_model("meta_lstm", steps=3, hidden=4), tasks, loops)


def test_initial_gates_keep_the_parameters_and_take_small_steps():
    net = gf.create("meta_lstm", encoder=gf.backbones.identity(5)).layers[0].fit
    assert 4 <= net.forget_gate.bias.item() <= 5
    assert -5 <= net.input_gate.bias.item() <= -4
    small = [*net.lstm.parameters(), net.forget_gate.weight, net.input_gate.weight]
    assert all(weight.abs().max() <= 0.01 for weight in small)


def test_constant_gates_are_gradient_descent_with_weight_decay():
    e = task(8, 3, (1, 2), 3)
    model = gf.create("meta_lstm", encoder=gf.backbones.identity(5), steps=4).double()
    net = model.layers[0].fit
    for gate, value in ((net.forget_gate, 9.0), (net.input_gate, 1.0)):
        gate.weight.data.zero_()
        gate.bias.data.fill_(value)
    decay, rate = (torch.tensor(value).sigmoid().item() for value in (9.0, 1.0))
    x = torch.cat([e.x, torch.ones(len(e.y), 1).double()], dim=1)
    support = e.labeled
    head = net.start.detach().expand(3, -1).clone()
    for _ in range(4):
        probs = (x[support] @ head.T).softmax(1)
        residual = probs - F.one_hot(e.y[support], 3)
        head = decay * head - rate * residual.T @ x[support] / int(support.sum()) ** 2
    assert torch.allclose(model(e).logits, x[e.query] @ head.T)


def test_works_without_gradients():
    e = task(8, 3, (1, 2), 3)
    model = identity_model("meta_lstm", steps=3)
    expected = model(e).logits
    with torch.no_grad():
        assert torch.equal(model(e).logits, expected)


def test_training_helps():
    arguments = {"steps": 3, "hidden": 8}
    before, after = accuracies_before_and_after("meta_lstm", arguments)
    assert after > before + 0.1


def test_invalid_arguments():
    with pytest.raises(ValueError, match=r"steps and hidden must .* got 0 and 20"):
        identity_model("meta_lstm", steps=0)
