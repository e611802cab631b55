"""PADDLE, EM-Dirichlet, StatA and balanced pairwise affinities for one task, in loops."""

import numpy as np
from scipy.special import digamma, gammaln

from reference.assignment import final_assignment, means, softmax, square
from reference.propagation import power_normalized


def unit(row):
    return row / max(np.linalg.norm(row), 1e-12)


def support_centered(x, y, power=1.0):
    """Power transform, unit length, centering on the mean support, unit length."""
    x = np.sign(x) * np.abs(x) ** power
    x = np.array([row / np.linalg.norm(row) for row in x])
    center = np.mean([x[i] for i in range(len(y)) if y[i] >= 0], axis=0)
    return np.array([row / np.linalg.norm(row) for row in x - center])


def per_way(value, way):
    return value * np.log(way) / np.log(5)


def paddle(x, y, query, way, *, inv_temperature=35.0, prior_weight=0.8, num_iterations=20):
    x = support_centered(x, y)
    free = [i for i in range(len(y)) if y[i] < 0]
    beta = inv_temperature
    prior_weight = per_way(prior_weight, way)
    w = means(x, y, way)
    log_prior = np.zeros(way)
    for _ in range(num_iterations):
        u = {
            i: softmax([log_prior[c] - beta * square(x[i], w[c]) for c in range(way)]) for i in free
        }
        for c in range(way):
            own = [i for i in range(len(y)) if y[i] == c]
            total = sum(x[i] for i in own) + sum(u[i][c] * x[i] for i in free)
            w[c] = total / (len(own) + sum(u[i][c] for i in free))
            log_prior[c] = prior_weight * np.log(np.mean([u[i][c] for i in free]) + 1e-6)
    return np.array(
        [
            [log_prior[c] - beta * square(x[i], w[c]) for c in range(way)]
            for i in range(len(y))
            if query[i]
        ]
    )


def class_log_probs(x, y, way, inv_temperature):
    """Log-softmax of cosines to support means, without a support in its own mean."""
    free = [i for i in range(len(y)) if y[i] < 0]
    centers = [unit(row) for row in means(x, y, way)]
    nearest = np.mean([max(x[i] @ c for c in centers) for i in free])
    rows = []
    for i in range(len(y)):
        cosines = [x[i] @ c for c in centers]
        if y[i] >= 0:
            others = [x[j] for j in range(len(y)) if y[j] == y[i] and j != i]
            cosines[y[i]] = x[i] @ unit(np.mean(others, axis=0)) if others else nearest
        rows.append(np.log(softmax(per_way(inv_temperature, way) * np.array(cosines))))
    return rows


def minorize_maximize(a, m, steps):
    for _ in range(steps):
        b = np.zeros(len(a))
        c = np.zeros(len(a))
        for j in range(len(a)):
            c[j] = abs(2 * (digamma(a[j] + 1) * a[j] - gammaln(a[j] + 1))) / a[j] ** 2
            b[j] = digamma(a[j] + 1) - digamma(sum(a)) - c[j] * a[j] - m[j]
        a = (-b + np.sqrt(b**2 + 4 * c)) / (2 * c)
    return a


def log_dirichlet(log_z, a):
    return gammaln(sum(a)) - sum(gammaln(v) for v in a) + sum((a - 1) * log_z)


def em_dirichlet(
    x,
    y,
    query,
    way,
    *,
    inv_temperature=20.0,
    prior_weight=1.0,
    concentration_penalty=1.0,
    num_iterations=10,
    mm_steps=30,
    hard=False,
):
    x = support_centered(x, y)
    free = [i for i in range(len(y)) if y[i] < 0]
    log_z = class_log_probs(x, y, way, inv_temperature)
    u = {i: np.exp(log_z[i]) for i in free}
    alpha = [np.ones(way) for _ in range(way)]
    for _ in range(num_iterations):
        for c in range(way):
            own = [i for i in range(len(y)) if y[i] == c]
            total = sum(log_z[i] for i in own) + sum(u[i][c] * log_z[i] for i in free)
            count = len(own) + sum(u[i][c] for i in free)
            alpha[c] = minorize_maximize(
                alpha[c], (total - concentration_penalty) / count, mm_steps
            )
        part = np.mean([u[i] for i in free], axis=0)
        log_part = np.log(part + 1e-15)
        effective = np.exp(-sum(part * log_part))
        log_prior = prior_weight * way / effective * log_part
        scores = {
            i: np.array([log_dirichlet(log_z[i], alpha[c]) + log_prior[c] for c in range(way)])
            for i in free
        }
        for i in free:
            u[i] = np.eye(way)[np.argmax(scores[i])] if hard else softmax(scores[i])
    return np.array([scores[i] for i in range(len(y)) if query[i]])


def log_normal(x, mean, variance):
    return np.mean(
        [
            -((a - m) ** 2) / (2 * v) - np.log(v) / 2
            for a, m, v in zip(x, mean, variance, strict=True)
        ]
    )


def stata(
    x,
    y,
    query,
    way,
    *,
    inv_temperature=10.0,
    likelihood_weight=10.0,
    neighbor_weight=1.0,
    anchor_strength=1.0,
    k=3,
    num_iterations=10,
):
    x = support_centered(x, y)
    width = len(x[0])
    free = [i for i in range(len(y)) if y[i] < 0]
    anchor = [unit(row) for row in means(x, y, way)]
    first = {i: [per_way(inv_temperature, way) * (x[i] @ a) for a in anchor] for i in free}
    z = {i: softmax(first[i]) for i in free}
    start = np.zeros(width)
    for i in free:
        for c in range(way):
            start += z[i][c] * (x[i] - anchor[c]) ** 2 / len(free)
    smallest = 1e-3 * start.mean() + 1e-12
    start = np.maximum(start, smallest)
    weights = {(i, j): 0.0 for i in free for j in free}
    for i in free:
        near = sorted((j for j in free if j != i), key=lambda j, i=i: -(x[i] @ x[j]))[:k]
        for j in near:
            weights[i, j] += max(x[i] @ x[j], 0) / (2 * k)
            weights[j, i] += max(x[i] @ x[j], 0) / (2 * k)
    mean, variance = list(anchor), [start] * way
    for round_ in range(num_iterations + 1):
        for _ in range(5):
            scores = {}
            for i in free:
                neighbors = sum((weights[i, j] * z[j] for j in free), np.zeros(way))
                scores[i] = [
                    first[i][c]
                    + likelihood_weight * log_normal(x[i], mean[c], variance[c])
                    + neighbor_weight * neighbors[c]
                    for c in range(way)
                ]
            z = {i: softmax(scores[i]) for i in free}
        if round_ == num_iterations:
            break
        for c in range(way):
            own = [i for i in range(len(y)) if y[i] == c]
            count = len(own) + sum(int(np.argmax(scores[i]) == c) for i in free)
            part = count / (count + anchor_strength)
            member = dict.fromkeys(own, 1.0) | {i: z[i][c] for i in free}
            observed = unit(sum(w * x[i] for i, w in member.items()))
            mean[c] = unit(part * observed + (1 - part) * anchor[c])
            spread = sum(w * (x[i] - mean[c]) ** 2 for i, w in member.items())
            spread = spread / sum(member.values())
            variance[c] = part * spread + (1 - part) * (start + (anchor[c] - mean[c]) ** 2)
            variance[c] = np.maximum(variance[c], smallest)
    return np.array([scores[i] for i in range(len(y)) if query[i]])


def affinities(x, y, *, regularization=0.1, num_iterations=10, use_labels=True):
    """Balanced pairwise affinities `[n, n]`."""
    n = len(x)
    p = np.array(
        [
            [0.0 if i == j else np.exp(unit(x[i]) @ unit(x[j]) / regularization) for j in range(n)]
            for i in range(n)
        ]
    )
    for _ in range(num_iterations):
        p = np.array([row / row.sum() for row in p])
        p = np.array([column / column.sum() for column in p.T]).T
    p = p / p.max()
    for i in range(n):
        for j in range(n):
            if i == j:
                p[i, j] = 1.0
            elif use_labels and y[i] >= 0 and y[j] >= 0:
                p[i, j] = float(y[i] == y[j])
    return p


def bpa(x, y, query, way, *, regularization=0.2, power=0.5, inv_temperature=10.0):
    x = affinities(power_normalized(x, power), y, regularization=regularization)
    probs = final_assignment(
        power_normalized(x), y, way, inv_temperature, 0.2, 20, None, False, 10.0
    )
    return np.array([probs[q] for q in range(len(y)) if query[q]])
