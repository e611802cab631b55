"""Inner loops on a Conv-4 of 16 pixels, task by task: weights in a dictionary, one autograd per step."""

import torch
from torch.nn import functional as F

BLOCKS = (1, 5, 9, 13)


def start(model):
    """Return clones of the encoder's parameters and buffers by name, which gradients pass through."""
    values = {}
    for name, value in model.encoder.named_parameters():
        values[name] = value * 1
    for name, value in model.encoder.named_buffers():
        values[name] = value.double()
    return values


def support_rule(_, h, support):
    return h[support].mean((0, 2, 3)), h[support].var((0, 2, 3), correction=0), None


def running_rule(running, h, support):
    return (*running, None)


def transductive_rule(_, h, support):
    """Moments of the supports and of the queries."""
    # In the inner loop there are no queries.
    sets = [support] if support.all() else [support, ~support]
    own = [(h[m].mean((0, 2, 3)), h[m].var((0, 2, 3), correction=0)) for m in sets]
    mean = torch.stack([own[0 if is_support else 1][0] for is_support in support])
    variance = torch.stack([own[0 if is_support else 1][1] for is_support in support])
    return mean, variance, "per item"


def conv4(w, x, support, rule, modulation=None):
    """Encode `x [n, 1, 16, 16]`; `modulation` gives scale and shift of each block, after its own."""
    h = x
    for block, layer in enumerate(BLOCKS):
        h = F.conv2d(h, w[f"net.{layer}.weight"], w[f"net.{layer}.bias"], padding=1)
        norm = f"net.{layer + 1}"
        running = (w[f"{norm}.running_mean"], w[f"{norm}.running_var"])
        mean, variance, per_item = rule(running, h, support)
        if not per_item:
            mean, variance = mean[None], variance[None]
        h = (h - mean[:, :, None, None]) / (variance[:, :, None, None] + 1e-5) ** 0.5
        h = h * w[f"{norm}.weight"][:, None, None] + w[f"{norm}.bias"][:, None, None]
        if modulation is not None:
            scale, shift = modulation(block)
            h = h * scale[:, None, None] + shift[:, None, None]
        h = F.max_pool2d(h, 2).relu()
    return h.flatten(1)


def is_norm(name):
    return any(name.startswith(f"net.{layer + 1}.") for layer in BLOCKS)


def descend(loss, values, names, rate, steps, *, first_order=False):
    """Return the values after each step of gradient descent on those of the given names."""
    after = []
    for step in range(steps):
        leaves = {name: values[name] * 1 for name in names}
        gradients = torch.autograd.grad(
            loss({**values, **leaves}, step), [*leaves.values()], create_graph=True
        )
        values = dict(values)
        for name, gradient in zip(names, gradients, strict=True):
            gradient = gradient.detach() if first_order else gradient
            values[name] = leaves[name] - rate(name, step) * gradient
        after.append(values)
    return after


def cross_entropy(logits, labels):
    """Mean cross-entropy, with a loop over items."""
    terms = [
        logits[i].exp().sum().log() - logits[i, label] for i, label in enumerate(labels.tolist())
    ]
    return sum(terms) / len(terms)
