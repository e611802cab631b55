"""EGNN's formula with loops over nodes, pairs and channels; one task, labels -1 where unknown."""

import numpy as np

from reference.plain import apply_net, array, sigmoid


def transductive(model, x, y, query):
    """Edges `[n, n, 2]` after every layer, and class scores `[Q, way]` from labeled supports."""
    v, e = array(x), edges_from_labels(y.tolist())
    edges = []
    for layer in model.layers.children():
        v, e = update(layer, v, e)
        edges.append(e)
    return edges, votes(e, y.tolist(), query.tolist())


def inductive(model, x, y, query):
    """For each query alone with all that is no query: its edges after every layer, and its class scores."""
    keep = [i for i in range(len(y)) if not query[i]]
    parts = [
        transductive(model, x[[*keep, q]], y[[*keep, q]], query[[*keep, q]])
        for q in range(len(y))
        if query[q]
    ]
    return [edges for edges, _ in parts], np.concatenate([score for _, score in parts])


def edges_from_labels(y):
    n = len(y)
    e = np.zeros((n, n, 2))
    for i in range(n):
        for j in range(n):
            if i == j:
                e[i, j] = 1, 0
            elif y[i] < 0 or y[j] < 0:
                e[i, j] = 0.5, 0.5
            else:
                e[i, j] = (1, 0) if y[i] == y[j] else (0, 1)
    return e


def update(layer, v, e):
    n = len(v)
    e = e.copy()
    for i in range(n):
        e[i, i] = 0
    new_v = []
    for i in range(n):
        mixed = []
        for d in range(2):
            total = sum(abs(e[i, k, d]) for k in range(n))
            mixed.append(
                sum((e[i, j, d] / total * v[j] for j in range(n)), np.zeros(v.shape[1]))
                if total > 0
                else np.zeros(v.shape[1])
            )
        new_v.append(apply_net(layer.node_net, np.concatenate([v[i], *mixed])))
    new_v = np.array(new_v)
    f = np.zeros((n, n, 2))
    for i in range(n):
        for j in range(n):
            if i != j:
                same = sigmoid(apply_net(layer.edge_net, np.abs(new_v[i] - new_v[j]))[0])
                f[i, j] = same, 1 - same
    return new_v, gate_edges(f, e)


def gate_edges(f, e):
    n = len(e)
    out = np.zeros((n, n, 2))
    for i in range(n):
        for d in range(2):
            mass = sum(e[i, k, d] for k in range(n))
            total = sum(f[i, k, d] * e[i, k, d] for k in range(n))
            for j in range(n):
                out[i, j, d] = f[i, j, d] * e[i, j, d] / total * mass if total > 0 else 0.0
    for i in range(n):
        out[i, i, 0] += 1
    for i in range(n):
        for j in range(n):
            a, b = out[i, j, 0] + 1e-6, out[i, j, 1] + 1e-6
            out[i, j] = a / (a + b), b / (a + b)
    return out


def votes(e, y, query):
    way = max(y) + 1
    rows = []
    for q in range(len(y)):
        if query[q]:
            row = [0.0] * way
            for j in range(len(y)):
                if y[j] >= 0:
                    row[y[j]] += e[q, j, 0]
            rows.append(row)
    return np.array(rows)


def edge_loss(edges, y, query, target):
    """The loss of one task from its edges after every layer: weight 1 for the last, a half for the others."""
    losses = []
    for e in edges:
        same, other = edge_terms(e, y, query, target)
        losses.append(np.mean(same) + np.mean(other))
    return sum(0.5 * loss for loss in losses[:-1]) + losses[-1]


def edge_terms(e, y, query, target):
    """Binary cross-entropies of the counted edges: those of one class, and the others."""
    label, targets = list(y), iter(target)
    for i in range(len(label)):
        if query[i]:
            label[i] = next(targets)
    same, other = [], []
    for i in range(len(label)):
        for j in range(len(label)):
            if i == j or not (query[i] or query[j]) or label[i] < 0 or label[j] < 0:
                continue
            if label[i] == label[j]:
                same.append(-np.log(e[i, j, 0]))
            else:
                other.append(-np.log(1 - e[i, j, 0]))
    return same, other
