"""PT-MAP, propagated prototypes, TIM, LaplacianShot and BD-CSPN for one task, in loops."""

import numpy as np

from reference.propagation import cosine_power, power_normalized


def softmax(values):
    values = np.exp(np.array(values) - max(values))
    return values / values.sum()


def square(a, b):
    return sum((s - t) ** 2 for s, t in zip(a, b, strict=True))


def means(x, y, way):
    return [np.mean([x[i] for i in range(len(y)) if y[i] == c], axis=0) for c in range(way)]


def sinkhorn(scores, target):
    """Scale columns and rows alternately, to row sums 1 and the target column sums."""
    probs = np.array([softmax(row) for row in scores])
    for _ in range(100_000):
        if np.abs(probs.sum(0) - target).max() <= 1e-12 * max(target):
            break
        probs = probs / probs.sum(0) * target
        probs = np.array([row / row.sum() for row in probs])
    return probs


def final_assignment(
    x, y, way, inv_temperature, rate, num_iterations, prior, balanced, prior_strength
):
    """Class probabilities of the unlabeled nodes, `{node: probs}`, after the last iteration."""
    free = [i for i in range(len(y)) if y[i] < 0]
    prior = np.full(way, 1 / way) if prior is None else np.array(prior) / sum(prior)
    classes, part = means(x, y, way), prior
    inv_temperature = inv_temperature * np.log(way) / np.log(5)
    for round_ in range(num_iterations + 1):
        scores = [[-inv_temperature * square(x[i], c) for c in classes] for i in free]
        if balanced:
            probs = sinkhorn(scores, len(free) * prior)
        else:
            probs = np.array([softmax(row + np.log(part)) for row in scores])
        if round_ == num_iterations:
            return dict(zip(free, probs, strict=True))
        part = (probs.sum(0) + prior_strength * way * prior) / (len(free) + prior_strength * way)
        for c in range(way):
            weight = {i: float(y[i] == c) for i in range(len(y)) if y[i] >= 0} | dict(
                zip(free, probs[:, c], strict=True)
            )
            center = sum(w * x[i] for i, w in weight.items()) / sum(weight.values())
            classes[c] = classes[c] + rate * (center - classes[c])
    return None


def pt_map(
    x,
    y,
    query,
    way,
    *,
    power=0.5,
    inv_temperature=10.0,
    rate=0.2,
    num_iterations=20,
    prior=None,
    balanced=False,
    prior_strength=10.0,
):
    probs = final_assignment(
        power_normalized(x, power),
        y,
        way,
        inv_temperature,
        rate,
        num_iterations,
        prior,
        balanced,
        prior_strength,
    )
    return np.array([probs[q] for q in range(len(y)) if query[q]])


def adaptive_center(x, y, way, power):
    """Power transform with a center between the support mean and the overall mean, by class balance."""
    x = np.sign(x) * np.abs(x) ** power
    x = np.array([row / np.linalg.norm(row) for row in x])
    middle = np.mean(means(x, y, way), axis=0)
    z = np.array([row / np.linalg.norm(row) for row in x - middle])
    classes = [mean / np.linalg.norm(mean) for mean in means(z, y, way)]
    unit = 10 * np.log(way) / np.log(5)
    probs = np.mean(
        [softmax([-unit * square(z[i], c) for c in classes]) for i in range(len(y)) if y[i] < 0],
        axis=0,
    )
    evenness = np.exp(-sum(s * np.log(s * way) for s in probs))
    reach = min(max((evenness - 0.7) / 0.2, 0), 1)
    x = x - (middle + reach * (x.mean(0) - middle))
    return np.array([row / np.linalg.norm(row) for row in x])


def propagated(
    x,
    y,
    query,
    way,
    *,
    smoothing=0.5,
    k=10,
    inv_temperature=5.0,
    rate=0.1,
    num_iterations=20,
    balanced=False,
    prior_strength=10.0,
):
    x = power_normalized(x, 0.5) if balanced else adaptive_center(x, y, way, 0.5)
    w = cosine_power(x, k)
    degree = np.maximum(w.sum(1), 1e-12)
    s = np.array(
        [
            [smoothing * w[i, j] / np.sqrt(degree[i] * degree[j]) for j in range(len(x))]
            for i in range(len(x))
        ]
    )
    out = term = x
    for _ in range(200):
        term = s @ term
        out = out + term
    x = np.array([row / np.linalg.norm(row) for row in out])
    probs = final_assignment(
        x, y, way, inv_temperature, rate, num_iterations, None, balanced, prior_strength
    )
    return np.array([probs[q] for q in range(len(y)) if query[q]])


def principal_coordinates(x, over, n_components):
    """Coordinates along the principal axes of the rows that count."""
    _, size, axes = np.linalg.svd(x[over], full_matrices=False)
    return x @ axes[size > 1e-7 * size[0]][:n_components].T


def pool(
    x,
    y,
    query,
    way,
    *,
    transductive=False,
    n_components=None,
    outlier_threshold=0.9,
    prior_weight=0.5,
    prior=None,
    inv_temperature=10.0,
    rate=0.3,
    num_iterations=20,
):
    """Logits of the queries, by what `pool_prototypes` says of its divisions."""
    over = [i for i in range(len(y)) if transductive or not query[i]]
    x = np.array([row / np.linalg.norm(row) for row in x])
    x = x - x[over].mean(0)
    x = np.array([row / np.linalg.norm(row) for row in x])
    if n_components is not None:
        x = np.array(
            [row / np.linalg.norm(row) for row in principal_coordinates(x, over, n_components)]
        )
    free = [i for i in over if y[i] < 0]
    prior = np.full(way, 1 / way) if prior is None else np.array(prior) / sum(prior)
    unit = inv_temperature * np.log(way) / np.log(5)
    classes, shift = means(x, y, way), np.zeros(way)

    def divided(shift):
        probs = np.zeros((0, way))
        for _ in range(10):
            rows = []
            for i in free:
                row = [-unit * square(x[i], c) + s for c, s in zip(classes, shift, strict=True)]
                rows.append(
                    softmax(
                        row if outlier_threshold is None else [*row, -unit * outlier_threshold]
                    )[:way]
                )
            probs = np.array(rows).reshape(len(free), way)
            got = probs.sum(0)
            lack = np.log(np.maximum(got.sum() * prior, 1e-9) / np.maximum(got, 1e-9))
            shift = prior_weight * (shift + lack)
        return probs, shift, lack

    for _ in range(num_iterations):
        probs, shift, _ = divided(shift)
        for c in range(way):
            own = [x[i] for i in range(len(y)) if y[i] == c]
            center = (sum(own) + sum(s * x[i] for i, s in zip(free, probs[:, c], strict=True))) / (
                len(own) + probs[:, c].sum()
            )
            classes[c] = classes[c] + rate * (center - classes[c])
    _, shift, lack = divided(shift)
    more = shift if transductive else lack
    return np.array(
        [
            [-unit * square(x[q], c) + m for c, m in zip(classes, more, strict=True)]
            for q in np.flatnonzero(query)
        ]
    )


def laplacian(x, y, query, way, *, k=3, weight=0.5, num_iterations=20):
    x = power_normalized(x)
    free = [i for i in range(len(y)) if y[i] < 0]
    classes = means(x, y, way)
    near = {
        i: sorted((j for j in free if j != i), key=lambda j, i=i: square(x[i], x[j]))[:k]
        for i in free
    }
    alone = {i: np.array([-square(x[i], c) for c in classes]) for i in free}
    probs = {i: softmax(alone[i]) for i in free}
    for _ in range(num_iterations):
        probs = {
            i: softmax(alone[i] + weight * sum((probs[j] for j in near[i]), np.zeros(way)))
            for i in free
        }
    return np.array([probs[q] for q in range(len(y)) if query[q]])


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def bd_cspn(x, y, query, way, *, inv_temperature=10.0, prior=None, prior_strength=0.0):
    x = power_normalized(x)
    free = [i for i in range(len(y)) if y[i] < 0]
    prior = np.full(way, 1 / way) if prior is None else np.array(prior) / sum(prior)
    classes = means(x, y, way)
    part = sum(softmax([inv_temperature * cosine(x[i], c) for c in classes]) for i in free)
    part = (
        prior
        if prior_strength == np.inf
        else (part + prior_strength * way * prior) / (len(free) + prior_strength * way)
    )
    shift = sum(p * c for p, c in zip(part, classes, strict=True)) - np.mean(
        [x[i] for i in free], axis=0
    )
    x = [row + shift if i in free else row for i, row in enumerate(x)]
    near = [[cosine(row, c) for c in classes] for row in x]
    rectified = []
    for c in range(way):
        own = [
            i for i in range(len(y)) if (y[i] == c if y[i] >= 0 else int(np.argmax(near[i])) == c)
        ]
        weight = [np.exp(inv_temperature * near[i][c]) for i in own]
        rectified.append(sum(w * x[i] for w, i in zip(weight, own, strict=True)) / sum(weight))
    return np.array([[10 * cosine(x[q], c) for c in rectified] for q in range(len(y)) if query[q]])


def objective(w, x, y, way, temperature, weights, entropy, target):
    """TIM's loss; `entropy` of a distribution; target None for one without expected proportions."""
    probs = [np.exp([-temperature / 2 * square(row, c) for c in w]) for row in x]
    probs = [row / row.sum() for row in probs]
    known = [i for i in range(len(y)) if y[i] >= 0]
    free = [i for i in range(len(y)) if y[i] < 0]
    mean = np.mean([probs[i] for i in free], axis=0)
    loss = weights[0] * np.mean([-np.log(probs[i][y[i]]) for i in known]) - weights[1] * entropy(
        mean
    )
    if target is not None:
        loss -= weights[1] * (mean * np.log(target)).sum()
    return loss + weights[2] * np.mean([entropy(probs[i]) for i in free])


def gradient_descent(
    x, y, query, way, *, steps, lr=1e-3, temperature=15.0, weights, entropy, target=None
):
    """Adam on `objective`, whose slope comes from steps along the imaginary axis, exact to rounding."""
    x = power_normalized(x)
    w = np.array(means(x, y, way))
    goal = (
        None
        if target is None
        else target(
            [
                softmax([-temperature / 2 * square(x[i], c) for c in w])
                for i in range(len(y))
                if y[i] < 0
            ]
        )
    )
    mean = spread = np.zeros_like(w)
    for t in range(1, steps + 1):
        slope = np.zeros_like(w)
        for index in np.ndindex(w.shape):
            near = w.astype(complex)
            near[index] += 1e-30j
            slope[index] = (
                objective(near, x, y, way, temperature, weights, entropy, goal).imag / 1e-30
            )
        mean, spread = 0.9 * mean + 0.1 * slope, 0.999 * spread + 0.001 * slope**2
        w = w - lr * (mean / (1 - 0.9**t)) / (np.sqrt(spread / (1 - 0.999**t)) + 1e-8)
    return np.array(
        [[-temperature / 2 * square(x[q], c) for c in w] for q in range(len(y)) if query[q]]
    )
