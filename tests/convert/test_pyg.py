"""Conversion from and to torch-geometric: round trips, and invalid input."""

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


def class_nodes(episode):
    """A graph with class nodes and distinct values."""
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
    for name in ("sizes", "way", "n_queries", "n_unlabeled"):
        assert getattr(one, name) == getattr(other, name)


def assert_same_graph(one, other):
    assert torch.equal(one.nodes, other.nodes)
    assert torch.equal(one.edges, other.edges)
    for name in ("senders", "receivers"):
        assert torch.equal(getattr(one.topology, name), getattr(other.topology, name))
    for name in ("num_nodes", "sizes", "items_per_task", "classes_per_task"):
        assert getattr(one.topology, name) == getattr(other.topology, name)
    assert torch.equal(one.episode.y, other.episode.y)
    assert one.episode.sizes == other.episode.sizes


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ragged_episode_round_trip(dtype, device):
    episode = RAGGED.to(dtype).to(device)
    batch = gf.convert.to_pyg_batch(episode)
    assert batch.num_graphs == 3
    assert [len(data.y) for data in batch.to_data_list()] == list(episode.sizes)
    assert torch.equal(batch.batch, episode.task)
    assert_same_episode(gf.convert.episode_from_pyg(batch), episode)


@pytest.mark.parametrize(
    "episode", [RAGGED, EQUAL, RAGGED.take([1])], ids=["ragged", "equal", "one task"]
)
@pytest.mark.parametrize("build", [complete, class_nodes, supports])
@pytest.mark.parametrize(
    "convert", [gf.convert.to_pyg_batch, gf.convert.to_pyg], ids=["a Data per task", "one Data"]
)
def test_graph_round_trip_keeps_topology(episode, build, convert):
    graph = build(episode)
    assert_same_graph(gf.convert.from_pyg(convert(graph)), graph)


def test_batch_numbers_nodes_inside_each_task():
    graph = class_nodes(RAGGED)
    for number, data in enumerate(gf.convert.to_pyg_batch(graph).to_data_list()):
        alone = gf.class_node_graph(RAGGED.take([number]))
        assert torch.equal(torch.stack([alone.senders, alone.receivers]), data.edge_index)
        assert len(data.x) == RAGGED.sizes[number] + RAGGED.way[number]


def test_batches_of_the_pyg_loader_are_read():
    whole = [Data(x=e.x, y=e.y, query=e.query) for e in (RAGGED.take([t]) for t in range(3))]
    (batch,) = DataLoader(whole, batch_size=3)
    assert_same_episode(gf.convert.episode_from_pyg(batch), RAGGED)
    several = [EQUAL.take([0]), RAGGED.take([0, 1])]
    (batch,) = DataLoader([gf.convert.to_pyg(complete(e)) for e in several], batch_size=2)
    assert_same_episode(gf.convert.episode_from_pyg(batch), gf.collate(several))


def test_batch_vector_without_data_list():
    by_hand = Batch(x=RAGGED.x, y=RAGGED.y, query=RAGGED.query, batch=RAGGED.task)
    assert_same_episode(gf.convert.episode_from_pyg(by_hand), RAGGED)
    mixed = Batch(x=RAGGED.x, y=RAGGED.y, query=RAGGED.query, batch=RAGGED.task.flip(0))
    with pytest.raises(ValueError, match="not in ascending order"):
        gf.convert.episode_from_pyg(mixed)
    gap = Batch(x=RAGGED.x, y=RAGGED.y, query=RAGGED.query, batch=2 * RAGGED.task)
    with pytest.raises(ValueError, match="no node of task 1"):
        gf.convert.episode_from_pyg(gap)


def test_image_and_token_round_trip():
    y, query = torch.tensor([0, 1, -1]), torch.tensor([False, False, True])
    for x in (torch.rand(3, 1, 4, 4), torch.randint(0, 9, (3, 5))):
        episode = gf.Episode.single(x, y, query, 2)
        assert_same_episode(gf.convert.episode_from_pyg(gf.convert.to_pyg_batch(episode)), episode)


def test_logits_are_equal_after_round_trip():
    model = gf.create("egnn", encoder=gf.backbones.identity(3), width=6).double()
    back = gf.convert.episode_from_pyg(gf.convert.to_pyg_batch(RAGGED))
    with gf.nn.eval_mode(model):
        assert torch.equal(model(back).logits, model(RAGGED).logits)


def test_graphs_that_a_batch_cannot_represent_raise():
    across = gf.from_edges(torch.tensor([0, 8]), torch.tensor([1, 0]), len(RAGGED.y))
    with pytest.raises(ValueError, match="connects two tasks"):
        gf.convert.to_pyg_batch(gf.Graph(RAGGED.x, torch.ones(2, 1), across, RAGGED))
    more = gf.from_edges(torch.tensor([0]), torch.tensor([1]), len(RAGGED.y) + 1)
    with pytest.raises(ValueError, match="has 1 nodes in addition to its items, and 9 classes"):
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
    ("changes", "message"),
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
def test_invalid_data_raises(changes, message):
    fields = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        gf.convert.from_pyg(Data(**fields))


def test_edge_attr_is_optional_and_may_be_flat():
    assert torch.equal(gf.convert.from_pyg(Data(**GOOD, edge_index=INDEX)).edges, torch.ones(2, 1))
    flat = gf.convert.from_pyg(
        Data(**GOOD, edge_index=INDEX.flip(1), edge_attr=torch.tensor([5.0, 4.0]))
    )
    assert torch.equal(flat.edges, torch.tensor([[4.0], [5.0]]))


def test_missing_field_names_the_data():
    with pytest.raises(ValueError, match=r"no query \(number 0 of the Batch\)"):
        gf.convert.episode_from_pyg(Batch.from_data_list([Data(x=GOOD["x"], y=GOOD["y"])]))


shapes = st.lists(
    st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 3)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=30)
@given(shapes, st.integers(0, 100))
def test_any_sizes_round_trip(sizes, seed):
    episode = gf.collate([task(*size, seed + number) for number, size in enumerate(sizes)])
    assert_same_episode(gf.convert.episode_from_pyg(gf.convert.to_pyg_batch(episode)), episode)
    for build in (complete, class_nodes, supports):
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


def episode(way: int = 3, queries: int = 4) -> gf.Episode:
    y = torch.cat([torch.arange(way), torch.full((queries,), -1)])
    x = torch.randn(len(y), 5, generator=torch.Generator().manual_seed(way))
    return gf.Episode.single(x, y, torch.arange(len(y)) >= way, way)


def test_to_pyg_and_episode_from_pyg():
    batch = gf.collate([episode(3), episode(2)])
    graph = gf.create("egnn", encoder=gf.backbones.identity(5), width=8).eval()(batch).graphs[0]
    data = gf.convert.to_pyg(graph)
    assert torch.equal(data.edge_index[1], graph.topology.receivers)
    assert torch.equal(data.edge_index[0], graph.topology.senders)
    assert torch.equal(data.edge_attr, graph.edges)
    assert data.num_nodes == len(batch.y)
    back = gf.convert.episode_from_pyg(data)
    assert torch.equal(back.x, batch.x)
    assert torch.equal(back.y, batch.y)
    assert torch.equal(back.query, batch.query)
    assert (back.sizes, back.way, back.n_queries) == (batch.sizes, batch.way, batch.n_queries)


def test_plain_data_is_one_task():
    e = episode()
    assert gf.convert.episode_from_pyg(Data(x=e.x, y=e.y, query=e.query)).way == (3,)


@pytest.mark.parametrize("missing", ["y", "query"])
def test_missing_field_is_named(missing):
    e = episode()
    fields = {"x": e.x, "y": e.y, "query": e.query}
    del fields[missing]
    with pytest.raises(ValueError, match=f"no {missing}"):
        gf.convert.episode_from_pyg(Data(**fields))
