"""Label propagation and spreading, a node at a time, in plain numpy."""

import numpy as np


def self_tuning(x, k):
    """Affinities of one task's features `[n, F]`."""
    n = len(x)
    distance = [[sum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True)) for j in range(n)] for i in range(n)]
    near = [sorted((j for j in range(n) if j != i), key=lambda j, i=i: distance[i][j])[:k] for i in range(n)]
    width = [np.sqrt(distance[i][near[i][-1]]) for i in range(n)]
    w = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if j in near[i] or i in near[j]:
                w[i, j] = np.exp(-distance[i][j] / (width[i] * width[j]))
    return w


def cosine_power(x, k=10, power=3):
    """Affinities of one task's features `[n, F]`: powers of cosines to the k nearest, both ways averaged."""
    n = len(x)
    near = [[x[i] @ x[j] / np.sqrt((x[i] @ x[i]) * (x[j] @ x[j])) for j in range(n)] for i in range(n)]
    w = np.zeros((n, n))
    for i in range(n):
        for j in sorted((j for j in range(n) if j != i), key=lambda j, i=i: -near[i][j])[:k]:
            w[i, j] += max(near[i][j], 0) ** power / 2
            w[j, i] += max(near[i][j], 0) ** power / 2
    return w


def prepared(x, power=1.0, centre=None):
    """Powers, length 1, centre, length 1."""
    x = np.sign(x) * np.abs(x) ** power
    x = np.array([row / np.linalg.norm(row) for row in x])
    x = x - (x.mean(0) if centre is None else np.array(centre))
    return np.array([row / np.linalg.norm(row) for row in x])


def harmonic(x, y, query, way, k=7):
    """Shares of the queries, by sweeps over the unlabelled nodes until nothing moves."""
    w = self_tuning(prepared(x), k)
    share = np.zeros((len(y), way))
    for i, label in enumerate(y):
        if label >= 0:
            share[i, label] = 1
    for _ in range(20_000):
        for i, label in enumerate(y):
            if label < 0:
                share[i] = (1 - 1e-6) * sum(w[i, j] * share[j] for j in range(len(y))) / w[i].sum()
    return normalised(share, query)


def spread(x, y, query, way, alpha=0.99, steps=None, k=10):
    """Shares of the queries, by Zhou's iteration; many steps stand for the limit."""
    w = cosine_power(prepared(x), k)
    degree = np.maximum(w.sum(1), 1e-12)
    start = np.zeros((len(y), way))
    for i, label in enumerate(y):
        if label >= 0:
            start[i, label] = 1 / y.count(label)
    share = start.copy()
    for _ in range(steps or 6000):
        share = np.array([sum(alpha * w[i, j] / np.sqrt(degree[i] * degree[j]) * share[j] for j in range(len(y)))
                          + (1 - alpha) * start[i] for i in range(len(y))])
    return normalised(share, query)


def normalised(share, query):
    rows = share[np.array(query)]
    # What no label reaches is answered uniformly.
    rows = np.where(rows.sum(1, keepdims=True) == 0, 1.0, rows)
    return rows / rows.sum(1, keepdims=True)
