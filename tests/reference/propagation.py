"""Label propagation and spreading, a node at a time, in plain numpy."""

import numpy as np


def self_tuning(x, k):
    """Affinities of one task's features `[n, F]`."""
    n = len(x)
    distance = [
        [sum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True)) for j in range(n)]
        for i in range(n)
    ]
    near = [
        sorted((j for j in range(n) if j != i), key=lambda j, i=i: distance[i][j])[:k]
        for i in range(n)
    ]
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
    near = [
        [x[i] @ x[j] / np.sqrt((x[i] @ x[i]) * (x[j] @ x[j])) for j in range(n)] for i in range(n)
    ]
    w = np.zeros((n, n))
    for i in range(n):
        for j in sorted((j for j in range(n) if j != i), key=lambda j, i=i: -near[i][j])[:k]:
            w[i, j] += max(near[i][j], 0) ** power / 2
            w[j, i] += max(near[i][j], 0) ** power / 2
    return w


def power_normalized(x, power=1.0, center=None):
    """Power transform, unit length, centering, unit length."""
    x = np.sign(x) * np.abs(x) ** power
    x = np.array([row / np.linalg.norm(row) for row in x])
    x = x - (x.mean(0) if center is None else np.array(center))
    return np.array([row / np.linalg.norm(row) for row in x])


def harmonic(x, y, query, way, k=7):
    """Class probabilities of the queries, by Gauss-Seidel sweeps over the unlabeled nodes."""
    w = self_tuning(power_normalized(x), k)
    scores = np.zeros((len(y), way))
    for i, label in enumerate(y):
        if label >= 0:
            scores[i, label] = 1
    for _ in range(20_000):
        before = scores.copy()
        for i, label in enumerate(y):
            if label < 0:
                scores[i] = (
                    (1 - 1e-6) * sum(w[i, j] * scores[j] for j in range(len(y))) / w[i].sum()
                )
        if converged(before, scores):
            break
    return normalized(scores, query)


def spread(x, y, query, way, alpha=0.99, steps=None, k=10):
    """Class probabilities of the queries, by the paper's iteration; many steps approximate the limit."""
    w = cosine_power(power_normalized(x), k)
    degree = np.maximum(w.sum(1), 1e-12)
    start = np.zeros((len(y), way))
    for i, label in enumerate(y):
        if label >= 0:
            start[i, label] = 1 / y.count(label)
    scores = start.copy()
    for _ in range(steps or 6000):
        before = scores
        scores = np.array(
            [
                sum(
                    alpha * w[i, j] / np.sqrt(degree[i] * degree[j]) * scores[j]
                    for j in range(len(y))
                )
                + (1 - alpha) * start[i]
                for i in range(len(y))
            ]
        )
        if steps is None and converged(before, scores):
            break
    return normalized(scores, query)


def normalize_without_queries(x, y, query):
    """Features power_normalized around the mean of the context; the context's numbers."""
    context = [i for i in range(len(y)) if not query[i]]
    x = np.array([row / np.linalg.norm(row) for row in x])
    x = x - x[context].mean(0)
    return np.array([row / np.linalg.norm(row) for row in x]), context


def harmonic_inductive(x, y, query, way, k=7):
    """Solve on the context; each query averages its k nearest context nodes."""
    x, context = normalize_without_queries(x, y, query)
    own, w = x[context], self_tuning(x[context], k)
    scores = np.array([[float(y[i] == c) for c in range(way)] for i in context])
    for _ in range(20_000):
        before = scores.copy()
        for row, i in enumerate(context):
            if y[i] < 0:
                scores[row] = (
                    (1 - 1e-6) * sum(w[row, j] * scores[j] for j in range(len(own))) / w[row].sum()
                )
        if converged(before, scores):
            break
    gaps = [[sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) for t in own] for s in own]
    reach = [np.sqrt(sorted(gaps[j][:j] + gaps[j][j + 1 :])[:k][-1]) for j in range(len(own))]
    out = []
    for q in np.flatnonzero(query):
        gap = [sum((a - b) ** 2 for a, b in zip(x[q], t, strict=True)) for t in own]
        near = sorted(range(len(own)), key=gap.__getitem__)[:k]
        weight = {j: np.exp(-gap[j] / (np.sqrt(gap[near[-1]]) * reach[j])) for j in near}
        out.append(sum(weight[j] * scores[j] for j in near) / sum(weight.values()))
    return np.array([row / row.sum() for row in out])


def spread_inductive(x, y, query, way, alpha=0.99, steps=None, k=10):
    """Spread on the context; each query sums its k nearest context nodes by weight."""
    x, context = normalize_without_queries(x, y, query)
    own, known = x[context], [y[i] for i in context]
    w = cosine_power(own, k)
    degree = np.maximum(w.sum(1), 1e-12)
    start = np.array(
        [[float(label == c) / max(known.count(label), 1) for c in range(way)] for label in known]
    )
    scores = start.copy()
    # Queries read the scores of the previous iteration.
    for _ in range((steps or 6000) - 1):
        before = scores
        scores = np.array(
            [
                sum(
                    alpha * w[i, j] / np.sqrt(degree[i] * degree[j]) * scores[j]
                    for j in range(len(own))
                )
                + (1 - alpha) * start[i]
                for i in range(len(own))
            ]
        )
        if steps is None and converged(before, scores):
            break
    out = np.zeros((sum(query), way))
    for row, q in enumerate(np.flatnonzero(query)):
        near = own @ x[q]
        for j in sorted(range(len(own)), key=lambda j, near=near: -near[j])[:k]:
            out[row] += max(near[j], 0) ** 3 * scores[j]
    return normalized(out, [True] * len(out))


def converged(before, scores):
    """Whether an iteration changed only the last digits of the scores, which are at most 1."""
    return np.abs(scores - before).max() < 1e-15


def normalized(scores, query):
    rows = scores[np.array(query)]
    # Nodes without a path to a label are uniform.
    rows = np.where(rows.sum(1, keepdims=True) == 0, 1.0, rows)
    return rows / rows.sum(1, keepdims=True)
