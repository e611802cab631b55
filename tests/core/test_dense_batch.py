"""Dense batches: results of a batch equal those of each task alone."""

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


def aggregate(tasks):
    messages = tasks.edges[..., 0] @ tasks.one_hot + tasks.edges[..., 1] @ tasks.one_hot
    return messages * (1 + tasks.query + 2 * tasks.labeled)[..., None]


def expected_values(e):
    """Both functions of one task, as loops over pairs of nodes."""
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
def test_edges_and_scores_equal_those_of_each_task_alone(tasks):
    e = gf.collate(tasks)
    topology = gf.complete_graph(e.sizes)
    edges = map_to_edges(e, gram)
    rows = map_to_node_scores(gf.Graph(e.x, edges, topology, e), aggregate)
    parts = zip(tasks, edges.split([n * n for n in e.sizes]), rows.split(e.sizes), strict=True)
    for alone, task_edges, task_rows in parts:
        expected_edges, expected_rows = expected_values(alone)
        assert torch.allclose(task_edges, expected_edges, rtol=0, atol=1e-12)
        assert torch.allclose(task_rows[:, : alone.way[0]], expected_rows, rtol=0, atol=1e-12)
        assert torch.isneginf(task_rows[:, alone.way[0] :]).all()


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_gradients(tasks):
    e = gf.collate(tasks)
    x = e.x.clone().requires_grad_()
    e = e.encode(lambda _: x)
    rows = map_to_node_scores(
        gf.Graph(x, map_to_edges(e, gram), gf.complete_graph(e.sizes), e), aggregate
    )
    rows[torch.isfinite(rows)].square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.any(1).all()


def test_other_topologies_raise():
    e = EQUAL[0]
    topology = gf.from_edges(torch.tensor([0]), torch.tensor([1]), len(e.y))
    with pytest.raises(ValueError, match="complete"):
        map_to_node_scores(gf.Graph(e.x, torch.ones(1, 1, dtype=e.x.dtype), topology, e), aggregate)
