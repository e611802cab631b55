"""DPGN and its loss against loops."""

import numpy as np
import pytest
import torch
from episodes import identity_model, task
from reference_check import (
    assert_matches,
    batch_norm,
    linear,
    sigmoid,
    single_query_tasks,
    softmax,
    state_arrays,
    task_arrays,
)

import graphfew as gf

BATCHES = {
    (3, 1): [task(1, 3, (1,), 2), task(2, 3, (1,), 4)],
    (2, 2): [task(3, 2, (2,), 3), task(4, 2, (2,), 3)],
}


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def gate(state, name, a, b):
    h = (a - b) ** 2
    for first, norm in (("0", "1"), ("2", "3")):
        h = leaky(
            batch_norm(state, f"{name}.net.{norm}.norm", linear(state, f"{name}.net.{first}", h))
        )
    return sigmoid(linear(state, f"{name}.net.5", h)[0])


def refine_edges(state, name, x, old):
    n = len(x)
    new = np.zeros((n, n))
    for i in range(n):
        raw = [gate(state, name, x[i], x[j]) * old[i, j] if i != j else 0.0 for j in range(n)]
        mass = sum(old[i, j] for j in range(n) if j != i)
        row = [v / max(sum(raw), 1e-12) * mass + (i == j) + 1e-6 for j, v in enumerate(raw)]
        new[i] = np.array(row) / sum(row)
    return new


def reference_edges(model, x, y, way, generations):
    """The three kinds of edges after each round."""
    n, state = len(y), state_arrays(model.layers)
    support = [i for c in range(way) for i in range(n) if y[i] == c]
    edge = np.array(
        [
            [
                1.0
                if i == j or (y[i] >= 0 and y[i] == y[j])
                else 1 / len(support)
                if (y[i] >= 0) != (y[j] >= 0)
                else 0.0
                for j in range(n)
            ]
            for i in range(n)
        ]
    )
    points = [np.array(row) for row in x]
    spread = [
        np.array([float(y[i] == y[s]) for s in support])
        if y[i] >= 0
        else np.full(len(support), 1 / len(support))
        for i in range(n)
    ]
    near, alike, out = refine_edges(state, "0.gate", points, edge), edge, []
    for g in range(1, generations + 1):
        near = refine_edges(state, f"{g}.point_gate", points, near)
        apart = np.array([[-((a - b) ** 2).sum() for b in points] for a in points])
        spread = [
            leaky(
                linear(state, f"{g}.distribution.0", np.concatenate([near[i, support], spread[i]]))
            )
            for i in range(n)
        ]
        alike = refine_edges(state, f"{g}.distribution_gate", spread, alike)
        out.append((near, alike, apart))
        if g == generations:
            break
        messages = []
        for i in range(n):
            mass = sum(alike[i, j] for j in range(n) if j != i)
            messages.append(sum(alike[i, j] / mass * points[j] for j in range(n) if j != i))
        points = [np.concatenate([p, h]) for p, h in zip(points, messages, strict=True)]
        for first, norm in (("0", "1"), ("2", "3")):
            points = [
                leaky(
                    batch_norm(
                        state, f"{g}.point.{norm}.norm", linear(state, f"{g}.point.{first}", p)
                    )
                )
                for p in points
            ]
    return out


def formula(model, generations):
    def probs(x, y, query, way):
        near = reference_edges(model, x, y, way, generations)[-1][0]
        votes = np.array(
            [
                [sum(near[q, j] for j in range(len(y)) if y[j] == c) for c in range(way)]
                for q in range(len(y))
                if query[q]
            ]
        )
        return votes / votes.sum(1, keepdims=True)

    return probs


@pytest.mark.parametrize("generations", [1, 3])
@pytest.mark.parametrize(("way", "shot"), BATCHES)
def test_transductive_votes(way, shot, generations):
    model = identity_model("dpgn", way=way, shot=shot, generations=generations)
    assert_matches(model, BATCHES[way, shot], formula(model, generations), probs=True)


def test_inductive_votes():
    model = identity_model("dpgn", way=3, shot=1, generations=2, transductive=False)
    assert_matches(model, BATCHES[3, 1], formula(model, 2), probs=True, per_query=True)


@pytest.mark.parametrize(("way", "shot"), BATCHES)
def test_loss(way, shot):
    model = identity_model("dpgn", way=way, shot=shot, generations=2)
    tasks = BATCHES[way, shot]
    targets = [torch.arange(e.n_queries[0]) % way for e in tasks]
    totals = []
    for e, target in zip(tasks, targets, strict=True):
        x, y, query, _ = task_arrays(e)
        query_nodes = [i for i in range(len(y)) if query[i]]
        terms = [
            generation_loss(edges, y, query_nodes, target.tolist(), way)
            for edges in reference_edges(model, x, y, way, 2)
        ]
        totals.append((0.2 * terms[0][0] + terms[1][0], 0.2 * terms[0][1] + terms[1][1]))
    # Edge terms are means over tasks, votes means over queries.
    count = [len(t) for t in targets]
    expected = np.mean([a for a, _ in totals]) + np.average([b for _, b in totals], weights=count)
    actual = gf.methods.dpgn_loss(model(gf.collate(tasks)), torch.cat(targets))
    assert actual.item() == pytest.approx(expected, rel=0, abs=1e-10)


def generation_loss(edges, y, query_nodes, target, way):
    near, alike, apart = edges
    losses = []
    for e in (near, alike):
        kinds = {True: [], False: []}
        for q, t in zip(query_nodes, target, strict=True):
            for j in (j for j in range(len(y)) if y[j] >= 0):
                kinds[y[j] == t].append(-np.log(e[q, j] if y[j] == t else 1 - e[q, j]))
        losses.append(sum(np.mean(v) for v in kinds.values()))
    votes = []
    for q, t in zip(query_nodes, target, strict=True):
        means = [np.mean([apart[q, j] for j in range(len(y)) if y[j] == c]) for c in range(way)]
        votes.append(-np.log(softmax(means)[t]))
    return losses[0] + 0.1 * losses[1], 0.1 * np.mean(votes)


def test_invalid_arguments():
    model = identity_model("dpgn", way=3, shot=1)
    with pytest.raises(ValueError, match=r"built for 1-shot tasks and class 0 of task 0 has 2"):
        model(task(1, 3, (2,), 2))
    with pytest.raises(ValueError, match=r"dpgn was built for 3-way tasks and got a 4-way task"):
        model(task(1, 4, (1,), 2))
    with pytest.raises(ValueError, match=r"generations must .* got 0"):
        identity_model("dpgn", generations=0)
    with pytest.raises(ValueError, match=r"edges \[E, 3\]"):
        gf.methods.dpgn_loss(
            identity_model("egnn", width=4)(task(1, 3, (1,), 2)), torch.tensor([0, 1])
        )


def test_queries_exchange_information_through_supports_only():
    """Edges between queries begin at 0 and keep to the floor."""
    e = task(1, 3, (1,), 4)
    model = identity_model("dpgn", way=3, shot=1)
    last = model(e).graphs[-1]
    between = (
        e.query[last.topology.receivers]
        & e.query[last.topology.senders]
        & ~last.topology.is_self_loop
    )
    assert (last.edges[between, 0] < 1e-5).all()
    assert len(list(single_query_tasks(e))) == 4
