"""The inner loop in kernel form against gradient descent on weights, by autograd, task by task."""

import dataclasses

import pytest
import torch
from episodes import DIM, task
from torch.nn import functional as F

import graphfew as gf
from graphfew.core.dense_batch import map_to_nodes
from graphfew.core.supports import Supports, gather_supports
from graphfew.nn.inner_loop import LinearWeights, StepSizes, adapt_weights

STEPS = 4


def primal_descent(x, y, start, rate, feature, bias_rate, momentum, first_order):
    """Gradient descent on the weight and bias of one task; rates are lists, one entry per step."""
    w, b = start
    velocity = [torch.zeros_like(w), torch.zeros_like(b)]
    for step in range(len(rate)):
        if first_order:
            w_leaf, b_leaf = w.detach().requires_grad_(), b.detach().requires_grad_()
            x_used = x.detach()
        else:
            w_leaf, b_leaf, x_used = w, b, x
        loss = F.cross_entropy(x_used @ w_leaf.T + b_leaf, y)
        grads = torch.autograd.grad(loss, [w_leaf, b_leaf], create_graph=not first_order)
        velocity = [momentum * v + g for v, g in zip(velocity, grads, strict=True)]
        w = w - rate[step] * velocity[0] * feature[step]
        b = b - bias_rate[step] * velocity[1]
    return w, b


def random_supports(seed, n_tasks=3, way=3, n=8, padding=0):
    """Tasks of n supports, whose number per class differs and, with padding, also their number per task."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_tasks, n, DIM, generator=generator, dtype=torch.float64)
    y = torch.randint(way, (n_tasks, n), generator=generator)
    y[:, :way] = torch.arange(way)
    for t in range(padding):
        y[t, n - 1 - t :] = -1
    mask = y >= 0
    one_hot = F.one_hot(y.clamp_min(0), way).double() * mask[..., None]
    nodes = torch.arange(n).expand(n_tasks, n)
    return Supports(x * mask[..., None], one_hot, mask, nodes), y


def with_features(supports, x):
    return dataclasses.replace(supports, x=x)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def leaf(value):
    return value.clone().requires_grad_()


CASES = {
    "one rate": {"rate": (1, STEPS)},
    "rates per task": {"rate": (3, STEPS)},
    "per feature": {"rate": (1, STEPS), "feature": (1, 1, DIM), "bias": (1, STEPS)},
    "per step and feature": {"rate": (1, STEPS), "feature": (1, STEPS, DIM), "bias": (1, STEPS)},
    "per task and feature": {"rate": (3, STEPS), "feature": (3, 1, DIM), "bias": (3, STEPS)},
}
VARIANTS = {
    "plain": {},
    "first order": {"first_order": True},
    "momentum": {"momentum": 0.9},
    "first order and momentum": {"first_order": True, "momentum": 0.5},
}


COMBINATIONS = {
    f"{case}, {variant}": (CASES[case], VARIANTS[variant]) for case in CASES for variant in VARIANTS
}


@pytest.mark.parametrize(("shapes", "variant"), COMBINATIONS.values(), ids=COMBINATIONS)
def test_values_and_gradients_match_autograd(shapes, variant):
    supports, y = random_supports(1, padding=2)
    n_tasks, way = len(y), supports.one_hot.shape[2]
    x, w0, b0 = leaf(supports.x), leaf(random(n_tasks, way, DIM)), leaf(random(n_tasks, way))
    # Negative rates are allowed, since learned rates may become negative.
    sizes = {key: leaf(random(*shape, seed=3)) for key, shape in shapes.items()}
    heads = adapt_weights(
        with_features(supports, x),
        LinearWeights(w0, b0),
        StepSizes(**sizes),
        **variant,
    )
    expected_w, expected_b = [], []
    for t in range(n_tasks):
        rate = sizes["rate"].expand(n_tasks, -1)[t]
        feature = sizes.get("feature", torch.ones(1, 1, 1).double())
        known = y[t] >= 0
        w, b = primal_descent(
            x[t][known],
            y[t][known],
            (w0[t], b0[t]),
            rate,
            feature.expand(n_tasks, STEPS, DIM)[t],
            sizes["bias"].expand(n_tasks, -1)[t] if "bias" in sizes else rate,
            variant.get("momentum", 0),
            variant.get("first_order", False),
        )
        expected_w.append(w)
        expected_b.append(b)
    expected = LinearWeights(torch.stack(expected_w), torch.stack(expected_b))
    assert torch.allclose(heads.weight, expected.weight, rtol=0, atol=1e-12)
    assert torch.allclose(heads.bias, expected.bias, rtol=0, atol=1e-12)

    queries = random(n_tasks, 6, DIM, seed=4)
    target = torch.arange(6).remainder(way).repeat(n_tasks)
    leaves = [w0, b0, *sizes.values()]
    if not variant.get("first_order"):
        leaves.append(x)
    actual_grads, expected_grads = (
        torch.autograd.grad(F.cross_entropy(h.logits(queries).flatten(0, 1), target), leaves)
        for h in (heads, expected)
    )
    for a, b in zip(actual_grads, expected_grads, strict=True):
        assert b.abs().max() > 1e-4
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_first_order_has_no_gradient_of_the_supports():
    supports, _ = random_supports(1)
    x = leaf(supports.x)
    w0 = leaf(random(3, 3, DIM))
    heads = adapt_weights(
        with_features(supports, x),
        LinearWeights(w0, torch.zeros(3, 3).double()),
        StepSizes(torch.ones(1, STEPS).double()),
        first_order=True,
    )
    (gradient,) = torch.autograd.grad(heads.weight.sum(), [x], allow_unused=True)
    assert gradient is None


def test_gradcheck_and_second_derivatives():
    supports, _ = random_supports(2, n_tasks=1, way=2, n=2)

    def adapted(x, w0, b0, rate):
        heads = adapt_weights(with_features(supports, x), LinearWeights(w0, b0), StepSizes(rate))
        return heads.weight, heads.bias

    inputs = (supports.x, random(1, 2, DIM), random(1, 2), 0.5 * torch.ones(1, 2).double())
    inputs = tuple(leaf(value) for value in inputs)
    assert torch.autograd.gradcheck(adapted, inputs)
    assert torch.autograd.gradgradcheck(adapted, inputs)


def test_no_grad_and_training_give_the_same_heads():
    supports, _ = random_supports(3)
    start = LinearWeights(leaf(random(3, 3, DIM)), leaf(random(3, 3)))
    sizes = StepSizes(torch.ones(1, STEPS).double())
    trained = adapt_weights(supports, start, sizes)
    with torch.no_grad():
        evaluated = adapt_weights(supports, start, sizes)
    first_order = adapt_weights(supports, start, sizes, first_order=True)
    for heads in (evaluated, first_order):
        assert torch.equal(heads.weight, trained.weight)
        assert torch.equal(heads.bias, trained.bias)
    assert not evaluated.weight.requires_grad


def test_tasks_of_equal_size_with_mixed_shots():
    tasks = [task(10, 3, (1, 2), 4), task(11, 3, (2,), 2), task(12, 3, (1,), 5)]
    assert {e.sizes for e in tasks} == {(8,)}
    found = []

    def collect(batch):
        found.append(batch)
        return batch.one_hot

    map_to_nodes(gf.collate(tasks), collect)
    supports = gather_supports(found[0])
    assert supports.x.shape == (3, 6, DIM)
    start = LinearWeights(random(3, 3, DIM), random(3, 3))
    sizes = StepSizes(torch.ones(1, 2).double())
    heads = adapt_weights(supports, start, sizes)
    for t, e in enumerate(tasks):
        w, b = primal_descent(
            e.x[e.labeled],
            e.y[e.labeled],
            (leaf(start.weight[t]), leaf(start.bias[t])),
            *([1.0, 1.0], [1.0, 1.0], [1.0, 1.0], 0),
            first_order=False,
        )
        assert torch.allclose(heads.weight[t], w, rtol=0, atol=1e-12)
        assert torch.allclose(heads.bias[t], b, rtol=0, atol=1e-12)


def test_no_steps_and_float32():
    supports, _ = random_supports(4)
    start = LinearWeights(random(3, 3, DIM), random(3, 3))
    assert adapt_weights(supports, start, StepSizes(torch.ones(1, 0).double())) is start
    sizes = StepSizes(torch.ones(1, STEPS).double())
    double = adapt_weights(supports, start, sizes)
    single = adapt_weights(
        dataclasses.replace(supports, x=supports.x.float(), one_hot=supports.one_hot.float()),
        LinearWeights(start.weight.float(), start.bias.float()),
        StepSizes(torch.ones(1, STEPS)),
    )
    assert single.weight.dtype == single.bias.dtype == torch.float32
    assert torch.allclose(single.weight.double(), double.weight, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [1e3, float("nan")])
def test_a_diverging_loop_names_rate_and_loss(scale):
    supports, _ = random_supports(6)
    large = with_features(supports, scale * supports.x)
    start = LinearWeights(torch.zeros(3, 3, DIM).double(), torch.zeros(3, 3).double())
    message = r"diverged: after 5 steps at a rate of 2 the support loss is .* \(.* at the start\)"
    with pytest.raises(gf.errors.NumericalError, match=message):
        adapt_weights(large, start, StepSizes(2 * torch.ones(1, 5).double()))


def test_without_a_bias():
    supports, y = random_supports(7)
    start = LinearWeights(random(3, 3, DIM))
    heads = adapt_weights(supports, start, StepSizes(torch.ones(1, 3).double()))
    assert heads.bias is None
    no_bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    ones, zeros = [1.0] * 3, [0.0] * 3
    for t in range(3):
        w, _ = primal_descent(
            *(supports.x[t], y[t], (leaf(start.weight[t]), no_bias)),
            *(ones, ones, zeros, 0),
            first_order=False,
        )
        assert torch.allclose(heads.weight[t], w, rtol=0, atol=1e-12)
