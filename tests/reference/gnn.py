"""The few-shot GNN's formula with loops; one task, label field uniform where the label is unknown."""

import numpy as np

from reference.plain import apply_net, array, linear, normalized


def transductive(model, x, y, query):
    """Logits `[Q, way]`, all queries in one graph."""
    way = max(y.tolist()) + 1
    v = []
    for i in range(len(y)):
        field = [1 / way] * way if y[i] < 0 else [float(c == y[i]) for c in range(way)]
        v.append(np.concatenate([array(x[i]), field]))
    *blocks, last = model.layers.children()
    for block in blocks:
        new = convolve(block, v)
        v = [
            np.concatenate([old, np.where(value > 0, value, 0.01 * value)])
            for old, value in zip(v, new, strict=True)
        ]
    logits = convolve(last, v)
    return np.array([logits[i] for i in range(len(y)) if query[i]])


def inductive(model, x, y, query):
    """Logits `[Q, way]`, each query in a graph of its own."""
    keep = [i for i in range(len(y)) if not query[i]]
    return np.concatenate(
        [
            transductive(model, x[[*keep, q]], y[[*keep, q]], query[[*keep, q]])
            for q in range(len(y))
            if query[q]
        ]
    )


def convolve(block, v):
    n = len(v)
    out = []
    for i in range(n):
        score = {
            j: apply_net(block.adjacency.net, np.abs(v[i] - v[j]))[0] for j in range(n) if j != i
        }
        top = max(score.values())
        total = sum(np.exp(s - top) for s in score.values())
        mixed = sum(np.exp(s - top) / total * v[j] for j, s in score.items())
        new = linear(block.convolution.linear, np.concatenate([v[i], mixed]))
        norm = getattr(block.convolution.norm, "norm", None)
        out.append(new if norm is None else normalized(norm, new))
    return out
