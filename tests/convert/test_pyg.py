"""torch-geometric's batches and networkx's nets: what goes out comes back, whatever the sizes."""

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

import graphfew as gf

CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
)


def task(way, shot, queries, unlabeled, seed, dim=3, dtype=torch.float64):
    """One task, its nodes in random order."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.cat([torch.arange(way).repeat(shot), torch.full((unlabeled + queries,), -1)])
    query = torch.arange(len(y)) >= len(y) - queries
    order = torch.randperm(len(y), generator=generator)
    x = torch.randn(len(y), dim, generator=generator, dtype=dtype)
    return gf.Episode.single(x, y[order], query[order], way)


RAGGED = gf.collate([task(3, 1, 4, 0, 0), task(2, 2, 1, 3, 1), task(4, 1, 2, 1, 2)])
EQUAL = gf.collate([task(3, 2, 4, 0, 3), task(3, 2, 4, 0, 4)])


def stars(episode):
    """A graph with class nodes, every value its own."""
    topology = gf.class_node_graph(episode)
    generator = torch.Generator().manual_seed(7)
    nodes = torch.randn(topology.num_nodes, 3, generator=generator, dtype=episode.x.dtype)
    edges = torch.randn(len(topology.receivers), 2, generator=generator, dtype=episode.x.dtype)
    return gf.Graph(nodes, edges, topology, episode)


def complete(episode):
    topology = gf.complete_graph(episode.sizes)
    edges = torch.randn(
        len(topology.receivers),
        2,
        generator=torch.Generator().manual_seed(8),
        dtype=episode.x.dtype,
    )
    return gf.Graph(episode.x, edges, topology, episode)


def supports(episode):
    topology = gf.support_to_query_graph(episode)
    return gf.Graph(
        episode.x,
        torch.arange(len(topology.receivers), dtype=episode.x.dtype)[:, None],
        topology,
        episode,
    )


def assert_same_episode(one, other):
    for name in ("x", "y", "query"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype
        assert a.device == b.device
        assert torch.equal(a, b)
    for name in ("sizes", "way", "queries", "unlabeled"):
        assert getattr(one, name) == getattr(other, name)


def assert_same_graph(one, other):
    assert torch.equal(one.nodes, other.nodes)
    assert torch.equal(one.edges, other.edges)
    for name in ("senders", "receivers"):
        assert torch.equal(getattr(one.topology, name), getattr(other.topology, name))
    for name in ("nodes", "sizes", "block", "classes"):
        assert getattr(one.topology, name) == getattr(other.topology, name)
    assert torch.equal(one.episode.y, other.episode.y)
    assert one.episode.sizes == other.episode.sizes


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_of_ragged_tasks_comes_back(dtype, device):
    episode = RAGGED.to(dtype).to(device)
    batch = gf.convert.to_pyg_batch(episode)
    assert batch.num_graphs == 3
    assert [len(data.y) for data in batch.to_data_list()] == list(episode.sizes)
    assert torch.equal(batch.batch, episode.task)
    assert_same_episode(gf.convert.episode_from_pyg(batch), episode)


@pytest.mark.parametrize(
    "episode", [RAGGED, EQUAL, RAGGED.take([1])], ids=["ragged", "equal", "one task"]
)
@pytest.mark.parametrize("build", [complete, stars, supports])
@pytest.mark.parametrize(
    "pack", [gf.convert.to_pyg_batch, gf.Graph.to_pyg], ids=["a Data per task", "one Data"]
)
def test_a_graph_comes_back_with_its_topology(episode, build, pack):
    graph = build(episode)
    assert_same_graph(gf.convert.from_pyg(pack(graph)), graph)


def test_each_data_of_a_graph_with_class_nodes_is_that_task_alone():
    graph = stars(RAGGED)
    for number, data in enumerate(gf.convert.to_pyg_batch(graph).to_data_list()):
        alone = gf.class_node_graph(RAGGED.take([number]))
        assert torch.equal(torch.stack([alone.senders, alone.receivers]), data.edge_index)
        assert len(data.x) == RAGGED.sizes[number] + RAGGED.way[number]


def test_torch_geometric_s_own_loader_makes_batches_that_are_read():
    whole = [Data(x=e.x, y=e.y, query=e.query) for e in (RAGGED.take([t]) for t in range(3))]
    (batch,) = DataLoader(whole, batch_size=3)
    assert_same_episode(gf.convert.episode_from_pyg(batch), RAGGED)
    several = [EQUAL.take([0]), RAGGED.take([0, 1])]
    (batch,) = DataLoader([complete(e).to_pyg() for e in several], batch_size=2)
    assert_same_episode(gf.convert.episode_from_pyg(batch), gf.collate(several))


def test_a_batch_written_by_hand_is_read_by_its_batch_vector():
    by_hand = Batch(x=RAGGED.x, y=RAGGED.y, query=RAGGED.query, batch=RAGGED.task)
    assert_same_episode(gf.convert.episode_from_pyg(by_hand), RAGGED)
    mixed = Batch(x=RAGGED.x, y=RAGGED.y, query=RAGGED.query, batch=RAGGED.task.flip(0))
    with pytest.raises(ValueError, match="not in ascending order"):
        gf.convert.episode_from_pyg(mixed)
    gap = Batch(x=RAGGED.x, y=RAGGED.y, query=RAGGED.query, batch=2 * RAGGED.task)
    with pytest.raises(ValueError, match="no node of task 1"):
        gf.convert.episode_from_pyg(gap)


def test_images_and_tokens_come_back():
    y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
    for x in (torch.rand(3, 1, 4, 4), torch.randint(0, 9, (3, 5))):
        episode = gf.Episode.single(x, y, query, 2)
        assert_same_episode(gf.convert.episode_from_pyg(gf.convert.to_pyg_batch(episode)), episode)


def test_a_method_answers_the_same_on_what_came_back():
    model = gf.create("egnn", encoder=gf.backbones.identity(3), width=6).double()
    back = gf.convert.episode_from_pyg(gf.convert.to_pyg_batch(RAGGED))
    with gf.nn.eval_mode(model):
        assert torch.equal(model(back).logits, model(RAGGED).logits)


def test_what_a_batch_cannot_hold_is_refused():
    across = gf.from_edges(torch.tensor([0, 8]), torch.tensor([1, 0]), len(RAGGED.y))
    with pytest.raises(ValueError, match="joins two tasks"):
        gf.convert.to_pyg_batch(gf.Graph(RAGGED.x, torch.ones(2, 1), across, RAGGED))
    more = gf.from_edges(torch.tensor([0]), torch.tensor([1]), len(RAGGED.y) + 1)
    with pytest.raises(ValueError, match="has 1 nodes beside its items, and 9 classes"):
        gf.convert.to_pyg_batch(
            gf.Graph(torch.cat([RAGGED.x, RAGGED.x[:1]]), torch.ones(1, 1), more, RAGGED)
        )


GOOD = {
    "x": torch.eye(3),
    "y": torch.tensor([0, 1, -1]),
    "query": torch.tensor([False, False, True]),
}
INDEX = torch.tensor([[0, 1], [2, 2]])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "no edge_index"),
        ({"edge_index": INDEX + 1}, "names nodes 1 to 3"),
        ({"x": None}, "no x"),
        ({"edge_index": INDEX, "edge_attr": torch.ones(3)}, "3 rows and edge_index 2"),
        (
            {"edge_index": INDEX, "query": torch.zeros(2, dtype=torch.bool)},
            "3 labels, 2 query marks",
        ),
        ({"edge_index": INDEX, "x": torch.eye(2)}, "and 2 rows of x"),
    ],
)
def test_a_data_that_is_no_graph_is_refused(changes, words):
    fields = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(ValueError, match=words):
        gf.convert.from_pyg(Data(**fields))


def test_an_edge_without_a_value_is_1_and_one_value_may_be_flat():
    assert torch.equal(gf.convert.from_pyg(Data(**GOOD, edge_index=INDEX)).edges, torch.ones(2, 1))
    flat = gf.convert.from_pyg(
        Data(**GOOD, edge_index=INDEX.flip(1), edge_attr=torch.tensor([5.0, 4.0]))
    )
    assert torch.equal(flat.edges, torch.tensor([[4.0], [5.0]]))


def test_a_data_in_a_batch_that_lacks_a_field_is_named():
    with pytest.raises(ValueError, match=r"no query \(number 0 of the Batch\)"):
        gf.convert.episode_from_pyg(Batch.from_data_list([Data(x=GOOD["x"], y=GOOD["y"])]))


shapes = st.lists(
    st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 3)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=30)
@given(shapes, st.integers(0, 100))
def test_any_sizes_survive_torch_geometric_and_networkx(sizes, seed):
    episode = gf.collate([task(*size, seed + number) for number, size in enumerate(sizes)])
    assert_same_episode(gf.convert.episode_from_pyg(gf.convert.to_pyg_batch(episode)), episode)
    for build in (complete, stars, supports):
        assert_same_graph(
            gf.convert.from_pyg(gf.convert.to_pyg_batch(build(episode))), build(episode)
        )
    graph = complete(episode)
    nets = [
        gf.convert.to_networkx(graph, number, features=True) for number in range(episode.n_tasks)
    ]
    back = gf.convert.from_networkx(nets)
    assert_same_episode(back.episode, episode)
    assert torch.equal(back.nodes, graph.nodes)
    for number, net in enumerate(nets):
        again = gf.convert.to_networkx(back, number)
        assert list(again) == list(net)
        assert dict(again.edges) == dict(net.edges)


def net(kind=nx.Graph):
    """Three items under names of their own, in an order of its own; one edge."""
    out = kind()
    out.add_node("late", x=[1.0, 2.0], label=1, query=False)
    out.add_node("asked", x=[0.0, 1.0], label=None, query=True)
    out.add_node("early", x=torch.tensor([5.0, 6.0]).numpy(), label=0, query=False)
    out.add_edge("early", "asked", weight=0.25)
    return out


def test_nodes_stand_in_the_net_s_own_order_and_edges_go_both_ways():
    graph = gf.convert.from_networkx(net())
    assert graph.episode.y.tolist() == [1, -1, 0]
    assert graph.episode.x.tolist() == [[1, 2], [0, 1], [5, 6]]
    assert torch.stack([graph.topology.senders, graph.topology.receivers]).tolist() == [
        [2, 1],
        [1, 2],
    ]
    assert graph.edges.tolist() == [[0.25], [0.25]]
    directed = gf.convert.from_networkx(net(nx.DiGraph), dtype=torch.float64)
    assert (directed.topology.senders.tolist(), directed.topology.receivers.tolist()) == ([2], [1])
    assert directed.edges.dtype == directed.nodes.dtype == torch.float64


def test_a_net_of_all_edges_and_loops_is_a_complete_graph():
    full = nx.complete_graph(3)
    full.add_edges_from((n, n) for n in range(3))
    for n, label in enumerate((0, 1, -1)):
        full.nodes[n].update(x=[float(n)], label=label, query=label < 0)
    graph = gf.convert.from_networkx([full, full], weight=None)
    assert graph.topology.sizes == (3, 3)
    assert len(graph.topology.matrices(graph.edges)) == 2


def test_the_net_of_an_episode_has_its_items_and_no_edges():
    y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
    episode = gf.Episode.single(torch.rand(3, 1, 4, 4), y, query, 2)
    found = gf.convert.to_networkx(episode, features=True)
    assert not found.edges
    graph = gf.convert.from_networkx(found)
    assert_same_episode(graph.episode, episode)
    assert graph.nodes.shape == (3, 16)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (
            lambda n: n.nodes["asked"].pop("query"),
            ValueError,
            "node 'asked' has no attribute 'query'",
        ),
        (lambda n: n.nodes["late"].pop("x"), ValueError, "node 'late' has no attribute 'x'"),
        (
            lambda n: n.edges["early", "asked"].pop("weight"),
            ValueError,
            "has no attribute 'weight'",
        ),
        (lambda n: n.nodes["late"].update(x=[1.0]), ValueError, r"shapes \(1,\) and \(2,\)"),
        (lambda n: n.nodes["asked"].update(label=1), ValueError, "carries label 1"),
        (lambda n: n.remove_node("early"), ValueError, "class 0 of task 0 has no labeled support"),
        (lambda n: n.clear(), ValueError, "has no nodes"),
    ],
)
def test_a_net_that_is_no_task_is_refused(spoil, error, words):
    spoilt = net()
    spoil(spoilt)
    with pytest.raises(error, match=words):
        gf.convert.from_networkx(spoilt)


def test_several_nets_tell_which_one_is_wrong():
    spoilt = net()
    del spoilt.nodes["late"]["label"]
    with pytest.raises(ValueError, match="node 'late' of net 1"):
        gf.convert.from_networkx([net(), spoilt])
    with pytest.raises(TypeError, match="MultiGraph"):
        gf.convert.from_networkx(net(nx.MultiGraph))
    with pytest.raises(ValueError, match="no nets"):
        gf.convert.from_networkx([])
