"""Conversion from and to networkx: node order, edge directions, and invalid input."""

import networkx as nx
import pytest
import torch

import graphfew as gf


def task_graph(kind=nx.Graph):
    """Three named items, in an order other than by class, and one edge."""
    out = kind()
    out.add_node("late", x=[1.0, 2.0], label=1, query=False)
    out.add_node("query", x=[0.0, 1.0], label=None, query=True)
    out.add_node("early", x=torch.tensor([5.0, 6.0]).numpy(), label=0, query=False)
    out.add_edge("early", "query", weight=0.25)
    return out


def test_node_order_is_kept_and_edges_go_both_ways():
    graph = gf.convert.from_networkx(task_graph())
    assert graph.episode.y.tolist() == [1, -1, 0]
    assert graph.episode.x.tolist() == [[1, 2], [0, 1], [5, 6]]
    assert torch.stack([graph.topology.senders, graph.topology.receivers]).tolist() == [
        [2, 1],
        [1, 2],
    ]
    assert graph.edges.tolist() == [[0.25], [0.25]]
    directed = gf.convert.from_networkx(task_graph(nx.DiGraph), dtype=torch.float64)
    assert (directed.topology.senders.tolist(), directed.topology.receivers.tolist()) == ([2], [1])
    assert directed.edges.dtype == directed.nodes.dtype == torch.float64


def test_complete_graph_is_recognized():
    full = nx.complete_graph(3)
    full.add_edges_from((n, n) for n in range(3))
    for n, label in enumerate((0, 1, -1)):
        full.nodes[n].update(x=[float(n)], label=label, query=label < 0)
    graph = gf.convert.from_networkx([full, full], weight=None)
    assert graph.topology.sizes == (3, 3)
    assert len(graph.topology.matrices(graph.edges)) == 2


def test_episode_round_trip_has_no_edges():
    y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
    episode = gf.Episode.single(torch.rand(3, 1, 4, 4), y, query, 2)
    converted = gf.convert.to_networkx(episode, features=True)
    assert not converted.edges
    graph = gf.convert.from_networkx(converted)
    assert torch.equal(graph.episode.x, episode.x)
    assert torch.equal(graph.episode.y, episode.y)
    assert torch.equal(graph.episode.query, episode.query)
    assert (graph.episode.sizes, graph.episode.way) == (episode.sizes, episode.way)
    assert graph.nodes.shape == (3, 16)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda n: n.nodes["query"].pop("query"),
            ValueError,
            "node 'query' has no attribute 'query'",
        ),
        (lambda n: n.nodes["late"].pop("x"), ValueError, "node 'late' has no attribute 'x'"),
        (
            lambda n: n.edges["early", "query"].pop("weight"),
            ValueError,
            "has no attribute 'weight'",
        ),
        (lambda n: n.nodes["late"].update(x=[1.0]), ValueError, r"shapes \(1,\) and \(2,\)"),
        (lambda n: n.nodes["query"].update(label=1), ValueError, "carries label 1"),
        (lambda n: n.remove_node("early"), ValueError, "class 0 of task 0 has no labeled support"),
        (lambda n: n.clear(), ValueError, "has no nodes"),
    ],
)
def test_invalid_graph_raises(change, error, message):
    broken = task_graph()
    change(broken)
    with pytest.raises(error, match=message):
        gf.convert.from_networkx(broken)


def test_error_names_the_graph():
    broken = task_graph()
    del broken.nodes["late"]["label"]
    with pytest.raises(ValueError, match="node 'late' of graph 1"):
        gf.convert.from_networkx([task_graph(), broken])
    with pytest.raises(TypeError, match="MultiGraph"):
        gf.convert.from_networkx(task_graph(nx.MultiGraph))
    with pytest.raises(ValueError, match="no graphs"):
        gf.convert.from_networkx([])
