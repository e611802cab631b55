"""Poisson learning, reweighted Laplace learning and PoissonMBO, a node at a time, in plain numpy."""

import numpy as np


def knn_gaussian(x, k=10):
    """Affinities of one task's features `[n, F]`: each way a width of its own, both averaged."""
    n = len(x)
    w = np.zeros((n, n))
    for i in range(n):
        gap = [float(((x[i] - x[j]) ** 2).sum()) for j in range(n)]
        near = sorted((j for j in range(n) if j != i), key=gap.__getitem__)[:k]
        for j in near:
            w[i, j] += np.exp(-4 * gap[j] / gap[near[-1]]) / 2
            w[j, i] += np.exp(-4 * gap[j] / gap[near[-1]]) / 2
    return w


def components(w):
    """The connected components of a weight matrix, as lists of nodes."""
    left, found = set(range(len(w))), []
    while left:
        reached, border = set(), [min(left)]
        while border:
            i = border.pop()
            if i not in reached:
                reached.add(i)
                border += [j for j in range(len(w)) if w[i, j] > 0]
        left -= reached
        found.append(sorted(reached))
    return found


def laplacian(w):
    return np.diag(w.sum(1)) - w


def poisson_scores(w, label):
    """`L⁺` of the labels minus their mean, in every component; degree-weighted mean 0."""
    u = np.zeros(label.shape)
    for nodes in components(w):
        known = [i for i in nodes if label[i].any()]
        if not known:
            continue
        source = np.zeros((len(nodes), label.shape[1]))
        for i in known:
            source[nodes.index(i)] = label[i] - label[known].mean(0)
        part = w[np.ix_(nodes, nodes)]
        u[nodes] = np.linalg.pinv(laplacian(part)) @ source
        degree = part.sum(1)
        if degree.sum() > 0:
            u[nodes] -= degree @ u[nodes] / degree.sum()
    return u
