"""Comparing a method with a formula written a second time: loops over one task's plain numbers."""

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


def plain(e):
    """Features, labels, queries and way of one task as arrays and lists."""
    return e.x.detach().numpy(), e.y.tolist(), e.query.tolist(), e.way[0]


def queries_alone(e):
    """One task per query."""
    context = (~e.query).nonzero().flatten()
    for node in e.query.nonzero().flatten():
        keep = torch.cat([context, node[None]])
        yield gf.Episode.single(e.x[keep], e.y[keep], e.query[keep], e.way[0])


def same(model, tasks, formula, tolerance=1e-10, *, shares=False, alone=False):
    """Whether each task's logits (with `shares` their softmax) are `formula(x, y, query, way) -> [queries, way]`."""
    logits = model(gf.collate(tasks)).logits.split([e.n_queries[0] for e in tasks])
    for e, ours in zip(tasks, logits, strict=True):
        theirs = np.concatenate(
            [formula(*plain(part)) for part in (queries_alone(e) if alone else [e])]
        )
        ours = (ours.softmax(1) if shares else ours)[:, : e.way[0]].detach().numpy()
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < tolerance


def weights(module):
    """A module's state as numpy arrays."""
    return {name: value.numpy() for name, value in module.state_dict().items()}


def softmax(values):
    values = np.exp(np.array(values) - max(values))
    return values / values.sum()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def class_means(x, y, way):
    return [np.mean([x[i] for i in range(len(y)) if y[i] == c], axis=0) for c in range(way)]


def linear(state, name, x):
    out = state[f"{name}.weight"] @ x
    return out + state[f"{name}.bias"] if f"{name}.bias" in state else out


def batch_norm(state, name, x):
    """Evaluation mode: running statistics."""
    spread = np.sqrt(state[f"{name}.running_var"] + 1e-5)
    return (x - state[f"{name}.running_mean"]) / spread * state[f"{name}.weight"] + state[
        f"{name}.bias"
    ]
