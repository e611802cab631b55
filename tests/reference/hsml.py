"""HSML on a linear classifier, by loops over supports, clusters and classes; one task at a time."""

import torch


def linear(layer, x):
    return layer.weight @ x + layer.bias


def embedding(autoencoder, described):
    """The embedding of a task and the error of its reconstruction."""
    first, _, second, _ = autoencoder.encoder
    back, _, out = autoencoder.decoder
    codes, errors = [], []
    for x in described:
        code = linear(second, linear(first, x).relu()).relu()
        restored = linear(out, linear(back, code).relu())
        codes.append(code)
        errors.append(((x - restored) ** 2).sum() / len(x) / 2)
    pooled = linear(autoencoder.pool[0], sum(codes) / len(codes)).relu()
    return pooled, sum(errors) / len(errors)


def root(tree, task):
    """The state of the root, node by node."""
    scores = torch.stack([-((task - c) ** 2).sum() / (2 * tree.sigma) for c in tree.centers])
    assignment = scores.exp() / scores.exp().sum()
    states = []
    for i, p in enumerate(assignment):
        states.append(p * torch.tanh(task @ tree.leaf_weight[i] + tree.leaf_bias[i]))
    for level in tree.levels:
        received = [0 for _ in level.bias]
        for state in states:
            scores = torch.stack(
                [state @ w + b for w, b in zip(level.gate.weight, level.gate.bias, strict=True)]
            )
            fraction = scores.exp() / scores.exp().sum()
            for j, matrix in enumerate(level.weight):
                message = torch.tanh(state @ matrix + level.bias[j])
                received[j] = received[j] + fraction[j] * message
        states = received
    return sum(torch.tanh(linear(tree.root, state)) for state in states)


def forward(layer, x, y, query, way):
    """Logits of the queries and the penalty."""
    supports = [i for i in range(len(y)) if y[i] >= 0]
    means = []
    for c in range(way):
        members = [x[i] for i in supports if y[i] == c]
        means.append(sum(members) / len(members))
    described = [torch.cat([x[i], means[y[i]]]) for i in supports]
    task, error = embedding(layer.autoencoder, described)
    state = torch.cat([task, root(layer.tree, task)])
    gate = 1 / (1 + torch.exp(-linear(layer.gate, state)))
    weights = torch.stack([gate[:-1] * 2 * mean for mean in means])
    biases = torch.stack([-gate[-1] * (mean**2).sum() for mean in means])
    length = sum((x[i] ** 2).sum() for i in supports) / len(supports)
    rate = layer.rate / (length + 1)
    for _ in range(layer.steps):
        terms = [-(weights @ x[i] + biases).log_softmax(0)[y[i]] for i in supports]
        loss = sum(terms) / len(terms)
        weight_grad, bias_grad = torch.autograd.grad(loss, [weights, biases], create_graph=True)
        weights, biases = weights - rate * weight_grad, biases - rate * bias_grad
    logits = torch.stack([weights @ x[i] + biases for i in range(len(y)) if query[i]])
    return logits, layer.penalty_weight * error
