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


def harmonic(x, y, query, way, k=10):
    """Shares of the queries, by sweeps over the unlabelled nodes until nothing moves."""
    w = self_tuning(x, k)
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
    w = self_tuning(x, k)
    degree = w.sum(1)
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
    return rows / rows.sum(1, keepdims=True)
