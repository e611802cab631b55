"""Poisson learning, reweighted Laplace learning and PoissonMBO, a node at a time, in plain numpy."""

import numpy as np

from reference.propagation import normalize_without_queries, power_normalized


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


def harmonic(w, label):
    """The harmonic function by `L_UU⁻¹ W_UL Y_L` in every component; zero without labels."""
    u = label.copy()
    for nodes in components(w):
        unknown = [i for i in nodes if not label[i].any()]
        known = [i for i in nodes if label[i].any()]
        if known and unknown:
            inner = laplacian(w)[np.ix_(unknown, unknown)]
            u[unknown] = np.linalg.solve(inner, w[np.ix_(unknown, known)] @ label[known])
    return u


def nonlocal_weights(w, label):
    """WNLL: each edge times the sum of its nodes' factors, n / m at labels and 1 elsewhere."""
    factor = np.ones(len(w))
    for nodes in components(w):
        known = [i for i in nodes if label[i].any()]
        for i in known:
            factor[i] = len(nodes) / len(known)
    out = w.copy()
    for i in range(len(w)):
        for j in range(len(w)):
            out[i, j] *= factor[i] + factor[j]
    return out


def poisson_weights(w, label):
    """Each edge times γ of its nodes, `L γ` = 1 at labels minus the mean, smallest γ 1e-5."""
    gamma = np.zeros(len(w))
    for nodes in components(w):
        source = np.array([float(label[i].any()) for i in nodes])
        part = laplacian(w[np.ix_(nodes, nodes)])
        solution = np.linalg.pinv(part) @ (source - source.mean())
        gamma[nodes] = solution - solution.min() + 1e-5
    return gamma[:, None] * w * gamma


def sources(w, label):
    """Labels minus the mean label of their component, zero at nodes without a label."""
    out = np.zeros(label.shape)
    for nodes in components(w):
        known = [i for i in nodes if label[i].any()]
        for i in known:
            out[i] = label[i] - label[known].mean(0)
    return out


def present_classes(w, label):
    """Whether the component of each node has a label of each class."""
    out = np.zeros(label.shape, dtype=bool)
    for nodes in components(w):
        out[nodes] = label[nodes].any(0)
    return out


def diffuse(w, label, prediction, steps):
    """`steps` explicit steps of the heat equation with sources, of step size 1 / max degree."""
    degree, source = w.sum(1), sources(w, label)
    u = prediction.astype(float)
    for _ in range(steps):
        u = np.array(
            [
                u[i] - (degree[i] * u[i] - w[i] @ u - source[i]) / max(degree.max(), 1e-12)
                for i in range(len(w))
            ]
        )
    return u


def shifted(w, label, scores):
    """Scores minus the smallest of all classes that nodes can have; 0 for other classes."""
    present = present_classes(w, label)
    smallest = min(
        (scores[i, c] for i, c in np.ndindex(scores.shape) if present[i, c]), default=0.0
    )
    return np.where(present, scores - smallest, 0.0)


def scaled_scores(w, label):
    """Poisson scores of every component divided by the mean height of their peaks, and shifted."""
    scores, present = poisson_scores(w, label), present_classes(w, label)
    for nodes in components(w):
        classes = present[nodes[0]].sum()
        if classes > 1:
            heights = [scores[i].max() * classes / (classes - 1) for i in nodes]
            scores[nodes] /= np.mean(heights)
    return shifted(w, label, scores)


def predictions(w, label, scores):
    """The best class of each node that can have one, else -1."""
    present = present_classes(w, label)
    return [
        int(np.argmax(np.where(present[i], scores[i], -np.inf))) if present[i].any() else -1
        for i in range(len(w))
    ]


def class_weights(w, label, scores, prior, start=None):
    """Weights for which predictions have the prior's proportions, by resilient propagation."""
    weights = np.ones(len(prior)) if start is None else start
    counted = [
        i for i in range(len(w)) if present_classes(w, label)[i].any() and not label[i].any()
    ]
    target = max(1e-3, 0.999 / max(len(counted), 1))
    steps, last = [0.01] * len(prior), [0] * len(prior)
    best, smallest = weights, np.inf
    for _ in range(300):
        predicted = [predictions(w, label, weights * scores)[i] for i in counted]
        excess = [predicted.count(c) / max(len(counted), 1) - p for c, p in enumerate(prior)]
        if max(map(abs, excess)) < smallest:
            best, smallest = weights, max(map(abs, excess))
        if smallest <= target:
            break
        logs = np.log(weights)
        for c, difference in enumerate(excess):
            sign = int(np.sign(difference)) if abs(difference) > target / 2 else 0
            factor = {1: 1.2, -1: 0.5, 0: 1}[sign * last[c]]
            steps[c] = min(max(factor * steps[c], 1e-6), 0.2)
            last[c] = sign
            logs[c] -= steps[c] * sign
        weights = np.exp(logs)
        weights = weights / weights.mean()
    return best


def poisson_probs(w, label, prior=None):
    """Class probabilities of all nodes; zero in components without labels."""
    scores, present = scaled_scores(w, label), present_classes(w, label)
    if prior is not None:
        scores = scores * class_weights(w, label, scores, prior)
    out = np.zeros(label.shape)
    for i in range(len(w)):
        if present[i].any():
            sharpness = np.log(99 * max(present[i].sum() - 1, 1))
            exponent = sharpness * (scores[i] - scores[i][present[i]].max())
            out[i] = np.where(present[i], np.exp(np.minimum(exponent, 0)), 0)
            out[i] /= out[i].sum()
    return out


def mbo_probs(w, label, prior, iterations=20, steps=40):
    """PoissonMBO; class probabilities of all nodes, zero in components without labels."""
    scores = scaled_scores(w, label)
    weights = class_weights(w, label, scores, prior)
    predicted = predictions(w, label, weights * scores)
    for _ in range(iterations):
        one_hot = np.array([[float(p == c) for c in range(len(prior))] for p in predicted])
        scores = shifted(w, label, diffuse(w, label, one_hot, steps))
        weights = class_weights(w, label, scores, prior, weights)
        before, predicted = predicted, predictions(w, label, weights * scores)
        if predicted == before:
            break
    mass = scores * weights
    for i, present in enumerate(present_classes(w, label)):
        if present.any() and mass[i].sum() == 0:
            mass[i] = present / present.sum()
        elif present.any():
            mass[i] /= mass[i].sum()
    return mass


def one_hot(y, way):
    return np.array([[float(label == c) for c in range(way)] for label in y])


def normalized(scores):
    """Rows of sum 1; uniform where nothing is known."""
    scores = np.where(scores.sum(1, keepdims=True) == 0, 1.0, scores)
    return scores / scores.sum(1, keepdims=True)


def transductive(x, y, query, way, formula):
    """Class probabilities of the queries as nodes; `formula` maps weights and labels to scores."""
    w = knn_gaussian(power_normalized(x))
    return normalized(formula(w, one_hot(y, way))[np.array(query)])


def inductive(x, y, query, way, formula, k=10):
    """Class probabilities of queries that average their neighbors in the context."""
    x, context = normalize_without_queries(x, y, query)
    own = x[context]
    scores = formula(knn_gaussian(own, k), one_hot([y[i] for i in context], way))
    out = []
    for q in np.flatnonzero(query):
        gap = [float(((x[q] - node) ** 2).sum()) for node in own]
        near = sorted(range(len(own)), key=gap.__getitem__)[:k]
        out.append(sum(np.exp(-4 * gap[j] / gap[near[-1]]) * scores[j] for j in near))
    return normalized(np.array(out))
