"""Compare a method with a loop-written formula of one task."""

import numpy as np
import torch
from episodes import task

import graphfew as gf

LABELED = {
    "equal": [task(1, 3, (1,), 2), task(2, 3, (1,), 2)],
    "mixed": [task(8, 3, (1, 2), 3), task(9, 4, (2,), 2), task(5, 2, (1,), 1)],
    "equal sizes": [task(10, 2, (1, 2), 4), task(11, 5, (1,), 2)],
}
UNLABELED = {
    **LABELED,
    "unlabeled": [task(3, 3, (2, 1), 2, unlabeled=2), task(4, 3, (1, 3), 3, unlabeled=1)],
    "mixed and unlabeled": [
        task(5, 2, (1,), 1),
        task(6, 4, (1, 2), 3, unlabeled=1),
        task(7, 6, (1,), 2),
    ],
}


def task_arrays(e):
    """Return features, labels, query mask and way of one task as arrays and lists."""
    return e.x.detach().numpy(), e.y.tolist(), e.query.tolist(), e.way[0]


def single_query_tasks(e):
    """Yield one task per query."""
    context = (~e.query).nonzero().flatten()
    for node in e.query.nonzero().flatten():
        keep = torch.cat([context, node[None]])
        yield gf.Episode.single(e.x[keep], e.y[keep], e.query[keep], e.way[0])


def assert_matches(model, tasks, formula, tolerance=1e-10, *, probs=False, per_query=False):
    """Compare the logits of each task (with `probs` their softmax) with a formula.

    The formula maps `(x, y, query, way)` to `[queries, way]`; with `per_query` it gets one query at a
    time.
    """
    logits = model(gf.collate(tasks)).logits.split([e.n_queries[0] for e in tasks])
    for e, actual in zip(tasks, logits, strict=True):
        expected = np.concatenate(
            [formula(*task_arrays(part)) for part in (single_query_tasks(e) if per_query else [e])]
        )
        actual = (actual.softmax(1) if probs else actual)[:, : e.way[0]].detach().numpy()
        assert actual.shape == expected.shape
        assert np.abs(actual - expected).max() < tolerance


def state_arrays(module):
    """Return the state of a module as NumPy arrays."""
    return {name: value.numpy() for name, value in module.state_dict().items()}


def softmax(values):
    values = np.exp(np.array(values) - max(values))
    return values / values.sum()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def class_means(x, y, way):
    return [np.mean([x[i] for i in range(len(y)) if y[i] == c], axis=0) for c in range(way)]


def mean_squared_deviation(rows):
    mean = sum(rows) / len(rows)
    return np.mean([(row - mean) @ (row - mean) for row in rows])


def linear(state, name, x):
    out = state[f"{name}.weight"] @ x
    return out + state[f"{name}.bias"] if f"{name}.bias" in state else out


def batch_norm(state, name, x):
    """Batch norm in evaluation mode, with running statistics."""
    spread = np.sqrt(state[f"{name}.running_var"] + 1e-5)
    return (x - state[f"{name}.running_mean"]) / spread * state[f"{name}.weight"] + state[
        f"{name}.bias"
    ]
