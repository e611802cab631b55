"""LEO as published, with one code per support, differentiated by autograd; one task at a time."""

import torch

from graphfew.nn.gaussian_sampler import MIN_DEVIATION


def statistics(layer, supports, y, way):
    """The mean and the second half of the codes of each class, by loops over pairs of supports."""
    codes = [layer.encoder.weight @ x for x in supports]
    relation = layer.relation
    received = []
    for code in codes:
        messages = []
        for other in codes:
            hidden = (relation.pair.weight @ torch.cat([code, other])).relu()
            hidden = (relation.hidden.weight @ hidden).relu()
            messages.append(relation.output.weight @ hidden)
        received.append(sum(messages) / len(messages))
    out = []
    for c in range(way):
        members = [r for r, label in zip(received, y, strict=True) if label == c]
        out.append(sum(members) / len(members))
    return out


def sample(mean_and_s, noise, offset):
    mean, s = mean_and_s.chunk(2)
    if noise is None:
        return mean
    deviation = torch.clamp(torch.exp(s) - (1 - offset), min=MIN_DEVIATION)
    return mean + deviation * noise


def divergence(mean_and_s, noise):
    """`log q(z) - log N(z; 0, 1)`, whose normalization constants cancel."""
    mean, s = mean_and_s.chunk(2)
    deviation = torch.clamp(torch.exp(s) - 1, min=MIN_DEVIATION)
    z = mean + deviation * noise
    return -torch.log(deviation) - noise**2 / 2 + z**2 / 2


def predict(x, weights, y, way):
    """Mean over the weights of the copies of each class."""
    rows = []
    for c in range(way):
        copies = [w for w, label in zip(weights, y, strict=True) if label == c]
        rows.append(sum(copies) / len(copies))
    return torch.stack([x @ row for row in rows])


def inner_loss(supports, weights, y, way):
    terms = [
        -predict(x, weights, y, way).log_softmax(0)[label]
        for x, label in zip(supports, y, strict=True)
    ]
    return sum(terms)


def forward(layer, x, y, query, way, noise=None):
    """Logits of the queries and the penalty; `noise` is `[way, latents + (steps + 1) * dim]`."""
    x = x / x.norm(dim=1, keepdim=True)
    nodes = [i for i in range(len(y)) if y[i] >= 0]
    supports, labels = [x[i] for i in nodes], [y[i] for i in nodes]
    dim, latents = x.shape[1], layer.encoder.out_features
    per_class = statistics(layer, supports, labels, way)
    offset = (2 / (way + dim)) ** 0.5
    step_noise = [None] * (layer.latent_steps + 1)
    code_noise = [None] * way
    if noise is not None:
        step_noise = noise[:, latents:].split(dim, dim=1)
        code_noise = noise[:, :latents]

    def decode(codes, step):
        noise_of = step_noise[step]
        return [
            sample(layer.decoder.weight @ z, None if noise_of is None else noise_of[label], offset)
            for z, label in zip(codes, labels, strict=True)
        ]

    initial = [sample(per_class[label], code_noise[label], 0.0) for label in labels]
    codes = initial
    for step in range(layer.latent_steps):
        loss = inner_loss(supports, decode(codes, step), labels, way)
        grads = torch.autograd.grad(loss, codes, create_graph=True)
        codes = [z - layer.latent_rate * grad for z, grad in zip(codes, grads, strict=True)]
    weights = decode(codes, layer.latent_steps)
    adapted = codes
    for _ in range(layer.finetuning_steps):
        grads = torch.autograd.grad(
            inner_loss(supports, weights, labels, way), weights, create_graph=True
        )
        weights = [w - layer.finetuning_rate * grad for w, grad in zip(weights, grads, strict=True)]
    logits = torch.stack([predict(x[i], weights, labels, way) for i in range(len(y)) if query[i]])
    return logits, penalty(layer, per_class, code_noise, initial, adapted, labels, noise)


def penalty(layer, per_class, code_noise, initial, adapted, labels, noise):
    weights = layer.penalty_weights
    rows = layer.decoder.weight.T
    total = 0
    for i, row in enumerate(rows):
        for j, other in enumerate(rows):
            cosine = row @ other / (row.norm() * other.norm())
            total = total + (cosine - int(i == j)) ** 2
    total = weights.orthogonality * total / len(rows) ** 2
    if noise is None:
        return total
    kl = [divergence(s, n).mean() for s, n in zip(per_class, code_noise, strict=True)]
    total = total + weights.kl * sum(kl) / len(kl)
    # The mean over classes, each of which has one code in the library.
    first = [labels.index(c) for c in range(len(per_class))]
    shift = [(adapted[i].detach() - initial[i]).square().mean() for i in first]
    return total + weights.encoder * sum(shift) / len(shift)
