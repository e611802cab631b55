"""Tasks as dense arrays: grouped by size and way, each task is what it is alone."""

import pytest
import torch
from episodes import task

import graphfew as gf
from graphfew.core.dense_batch import map_to_edges, map_to_node_scores

EQUAL = [task(1, 3, (1,), 2), task(2, 3, (1,), 2)]
SAME_SIZE = [task(3, 2, (1, 2), 4), task(4, 5, (1,), 2), task(5, 3, (1, 2), 1, unlabeled=2)]
MIXED = [
    task(6, 2, (1,), 1),
    task(7, 4, (1, 2), 3, unlabeled=1),
    task(8, 2, (1,), 1),
    task(9, 4, (2,), 1),
]
BATCHES = {"equal": EQUAL, "same size": SAME_SIZE, "mixed": MIXED}


def gram(tasks):
    return torch.stack(
        [tasks.x @ tasks.x.mT, tasks.x.sum(2)[:, :, None] - tasks.x.sum(2)[:, None]], dim=3
    )


def spread(tasks):
    heard = tasks.edges[..., 0] @ tasks.one_hot + tasks.edges[..., 1] @ tasks.one_hot
    return heard * (1 + tasks.query + 2 * tasks.labeled)[..., None]


def looped(e):
    """Both functions of one task, a pair of nodes at a time."""
    n, x = len(e.y), e.x
    edges = torch.stack(
        [torch.stack([x[i] @ x[j], x[i].sum() - x[j].sum()]) for i in range(n) for j in range(n)]
    )
    rows = torch.zeros(n, e.way[0], dtype=x.dtype)
    for i in range(n):
        for j in range(n):
            if e.y[j] >= 0:
                rows[i, e.y[j]] += edges[i * n + j].sum() * (
                    1 + int(e.query[i]) + 2 * int(e.y[i] >= 0)
                )
    return edges, rows


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_every_task_gets_its_own_edges_and_rows(tasks):
    e = gf.collate(tasks)
    topology = gf.complete_graph(e.sizes)
    edges = map_to_edges(e, gram)
    rows = map_to_node_scores(gf.Graph(e.x, edges, topology, e), spread)
    own = zip(tasks, edges.split([n * n for n in e.sizes]), rows.split(e.sizes), strict=True)
    for alone, own_edges, own_rows in own:
        their_edges, their_rows = looped(alone)
        assert torch.allclose(own_edges, their_edges, rtol=0, atol=1e-12)
        assert torch.allclose(own_rows[:, : alone.way[0]], their_rows, rtol=0, atol=1e-12)
        assert torch.isneginf(own_rows[:, alone.way[0] :]).all()


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_gradients_flow_through_both(tasks):
    e = gf.collate(tasks)
    x = e.x.clone().requires_grad_()
    e = e.encode(lambda _: x)
    rows = map_to_node_scores(
        gf.Graph(x, map_to_edges(e, gram), gf.complete_graph(e.sizes), e), spread
    )
    rows[torch.isfinite(rows)].square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.any(1).all()


def test_other_topologies_are_refused():
    e = EQUAL[0]
    topology = gf.from_edges(torch.tensor([0]), torch.tensor([1]), len(e.y))
    with pytest.raises(ValueError, match="complete"):
        map_to_node_scores(gf.Graph(e.x, torch.ones(1, 1, dtype=e.x.dtype), topology, e), spread)
