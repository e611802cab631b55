"""Dense supports and queries: the right rows for every task of a ragged batch."""

import torch
from episodes import task

import graphfew as gf
from graphfew.core import support_batch
from graphfew.nn import support_query_graph

EPISODE = gf.collate(
    [
        task(1, 3, (1, 2), 3, unlabeled=2),
        task(2, 4, (1,), 2),
        task(3, 3, (2, 1), 3),
        task(4, 4, (1,), 2),
    ]
)


def supports_and_scores(e):
    """Write to each query the class of its most similar support, one task at a time."""
    out = torch.full((len(e.y), max(e.way)), -torch.inf, dtype=e.x.dtype)
    for number in range(e.n_tasks):
        nodes = torch.nonzero(e.task == number).flatten()
        support = nodes[e.y[nodes] >= 0]
        for node in nodes.tolist():
            out[node, : e.way[number]] = 0
            if e.query[node]:
                out[node, e.y[support[(e.x[support] @ e.x[node]).argmax()]]] = 1
            else:
                out[node] = 0
    return out


def most_similar(batch):
    similarity = batch.queries @ batch.supports.mT
    nearest = similarity.argmax(2)
    return batch.one_hot.gather(1, nearest[..., None].expand(-1, -1, batch.one_hot.shape[2]))


def test_scores_of_ragged_tasks():
    scores = support_batch.map_to_query_scores(EPISODE, most_similar)
    assert torch.equal(scores, supports_and_scores(EPISODE))


def test_tasks_of_one_shape_are_one_call():
    shapes = []

    def record(batch):
        shapes.append((batch.supports.shape[:2], batch.queries.shape[:2], batch.one_hot.shape[2]))
        return most_similar(batch)

    support_batch.map_to_query_scores(EPISODE, record)
    assert sorted(shapes) == [((1, 4), (1, 3), 3), ((1, 5), (1, 3), 3), ((2, 4), (2, 2), 4)]


def test_edges_belong_to_their_support_and_query():
    def products(batch):
        return most_similar(batch), batch.queries @ batch.supports.mT

    graph = support_batch.update_query_stars(support_query_graph(EPISODE), products)
    expected = (EPISODE.x[graph.topology.receivers] * EPISODE.x[graph.topology.senders]).sum(1)
    assert torch.allclose(graph.edges[:, 0], expected)
    assert torch.equal(graph.nodes, supports_and_scores(EPISODE))


def test_context_without_queries():
    e = task(1, 3, (1, 2), 3)
    batch = support_batch.support_batch(e.drop_queries())
    assert torch.equal(batch.supports[0], e.x[e.labeled])
    assert batch.one_hot[0].argmax(1).tolist() == e.y[e.labeled].tolist()
    assert batch.queries.shape == (1, 0, 5)
