"""torch-geometric at the border: graphs go out, episodes come in, any convolution is a layer."""

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv, GraphConv

import graphfew as gf


def episode(way: int = 3, queries: int = 4) -> gf.Episode:
    y = torch.cat([torch.arange(way), torch.full((queries,), -1)])
    x = torch.randn(len(y), 5, generator=torch.Generator().manual_seed(way))
    return gf.Episode.single(x, y, torch.arange(len(y)) >= way, way)


def test_an_episode_survives_the_way_to_torch_geometric_and_back():
    batch = gf.collate([episode(3), episode(2)])
    graph = gf.create("egnn", encoder=gf.backbones.identity(5), width=8).eval()(batch).graphs[0]
    there = graph.to_pyg()
    assert torch.equal(there.edge_index[1], graph.topology.receivers)
    assert torch.equal(there.edge_index[0], graph.topology.senders)
    assert torch.equal(there.edge_attr, graph.edges)
    assert there.num_nodes == len(batch.y)
    back = gf.Episode.from_pyg(there)
    assert torch.equal(back.x, batch.x)
    assert torch.equal(back.y, batch.y)
    assert torch.equal(back.query, batch.query)
    assert (back.sizes, back.way, back.queries) == (batch.sizes, batch.way, batch.queries)


def test_a_plain_data_is_one_task_of_all_its_classes():
    e = episode()
    assert gf.Episode.from_pyg(Data(x=e.x, y=e.y, query=e.query)).way == (3,)


@pytest.mark.parametrize("gone", ["y", "query"])
def test_a_data_that_lacks_a_field_is_refused_by_name(gone):
    e = episode()
    fields = {"x": e.x, "y": e.y, "query": e.query}
    del fields[gone]
    with pytest.raises(ValueError, match=f"no {gone}"):
        gf.Episode.from_pyg(Data(**fields))


def test_any_convolution_is_a_layer():
    e = episode()
    topology = gf.complete(e.sizes)
    weights = torch.rand(len(topology.receivers), 1)
    graph = gf.Graph(e.x, weights, topology, e)
    plain, weighted = GCNConv(5, 6, add_self_loops=False), GraphConv(5, 6)
    index = torch.stack([topology.senders, topology.receivers])
    assert torch.allclose(gf.Convolution(plain)(graph).nodes, plain(e.x, index))
    expected = weighted.lin_rel(weights.view(7, 7) @ e.x) + weighted.lin_root(e.x)
    assert torch.allclose(gf.Convolution(weighted, edges=True)(graph).nodes, expected, atol=1e-5)
