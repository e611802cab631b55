"""`PyGConv`: convolutions of torch-geometric as layers of a method."""

import pytest
import torch
from torch import nn
from torch_geometric import nn as geometric
from torch_geometric.nn import GCNConv, GraphConv

import graphfew as gf


def episode(way: int = 3, queries: int = 4) -> gf.Episode:
    y = torch.cat([torch.arange(way), torch.full((queries,), -1)])
    x = torch.randn(len(y), 5, generator=torch.Generator().manual_seed(way))
    return gf.Episode.single(x, y, torch.arange(len(y)) >= way, way)


def test_gcn_and_graph_conv():
    e = episode()
    topology = gf.complete_graph(e.sizes)
    weights = torch.rand(len(topology.receivers), 1)
    graph = gf.Graph(e.x, weights, topology, e)
    plain, weighted = GCNConv(5, 6, add_self_loops=False), GraphConv(5, 6)
    index = torch.stack([topology.senders, topology.receivers])
    assert torch.allclose(gf.nn.PyGConv(plain)(graph).nodes, plain(e.x, index))
    expected = weighted.lin_rel(weights.view(7, 7) @ e.x) + weighted.lin_root(e.x)
    assert torch.allclose(gf.nn.PyGConv(weighted, edges=True)(graph).nodes, expected, atol=1e-5)


def mlp(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU())


PLAIN = {
    "AGNNConv": (),
    "APPNP": (2, 0.1),
    "ARMAConv": (5, 6),
    "CGConv": (5,),
    "ChebConv": (5, 6, 2),
    "ClusterGCNConv": (5, 6),
    "EGConv": (5, 8),
    "FeaStConv": (5, 6),
    "GATConv": (5, 6),
    "GATv2Conv": (5, 3, 2),
    "GCNConv": (5, 6),
    "GENConv": (5, 6),
    "GatedGraphConv": (6, 2),
    "GeneralConv": (5, 6),
    "GraphConv": (5, 6),
    "LEConv": (5, 6),
    "LGConv": (),
    "MFConv": (5, 6),
    "MixHopConv": (5, 6),
    "ResGatedGraphConv": (5, 6),
    "SAGEConv": (5, 6),
    "SGConv": (5, 6),
    "SSGConv": (5, 6, 0.1),
    "SimpleConv": (),
    "SuperGATConv": (5, 6),
    "TAGConv": (5, 6),
    "TransformerConv": (5, 6),
}
BUILT = {
    "EdgeConv": lambda: geometric.EdgeConv(mlp(10, 6)),
    "GINConv": lambda: geometric.GINConv(mlp(5, 6)),
}
WITH_ATTRIBUTES = {
    "CGConv": lambda: geometric.CGConv(5, dim=2),
    "GATConv": lambda: geometric.GATConv(5, 6, edge_dim=2),
    "GATv2Conv": lambda: geometric.GATv2Conv(5, 6, edge_dim=2),
    "GINEConv": lambda: geometric.GINEConv(mlp(5, 6), edge_dim=2),
    "NNConv": lambda: geometric.NNConv(5, 6, mlp(2, 30)),
    "TransformerConv": lambda: geometric.TransformerConv(5, 6, edge_dim=2),
    "PNAConv": lambda: geometric.PNAConv(
        5, 6, ["mean", "max"], ["identity"], torch.tensor([0, 0, 0, 1]), edge_dim=2
    ),
}
WITH_WEIGHTS = {
    "GCNConv": lambda: GCNConv(5, 6),
    "GraphConv": lambda: GraphConv(5, 6),
    "ChebConv": lambda: geometric.ChebConv(5, 6, 2),
    "TAGConv": lambda: geometric.TAGConv(5, 6),
    "SGConv": lambda: geometric.SGConv(5, 6),
    "LEConv": lambda: geometric.LEConv(5, 6),
}


def graph_of(channels, seed=0):
    e = episode()
    topology = gf.complete_graph(e.sizes)
    edges = torch.rand(
        len(topology.receivers), channels, generator=torch.Generator().manual_seed(seed)
    )
    return gf.Graph(e.x, edges, topology, e)


@pytest.mark.parametrize("name", [*PLAIN, *BUILT])
def test_convolutions_without_edge_features(name):
    conv = BUILT[name]() if name in BUILT else getattr(geometric, name)(*PLAIN[name])
    graph = graph_of(2)
    index = torch.stack([graph.topology.senders, graph.topology.receivers])
    found = gf.nn.PyGConv(conv.eval())(graph)
    assert torch.allclose(found.nodes, conv(graph.nodes, index), atol=1e-6)
    assert found.edges is graph.edges


@pytest.mark.parametrize(
    ("make", "channels"),
    [
        *((make, 2) for make in WITH_ATTRIBUTES.values()),
        *((make, 1) for make in WITH_WEIGHTS.values()),
    ],
    ids=[*WITH_ATTRIBUTES, *WITH_WEIGHTS],
)
def test_convolutions_with_edge_features(make, channels):
    layer = gf.nn.PyGConv(make().eval(), edges=True)
    one, other = (layer(graph_of(channels, seed)).nodes for seed in (0, 1))
    assert one.shape[0] == 7
    assert not torch.allclose(one, other, atol=1e-4)


def test_method_of_convolutions_trains_on_class_nodes():
    e = episode()
    topology = gf.class_node_graph(e)

    def embed(episode):
        nodes = torch.cat([episode.x, episode.x.new_zeros(3, 5)])
        return gf.Graph(nodes, nodes.new_ones(len(topology.receivers), 1), topology, episode)

    model = gf.GraphMethod(
        nn.Identity(),
        embed,
        [gf.nn.PyGConv(geometric.SAGEConv(5, 3))],
        lambda graph: graph.nodes[: len(e.y)][e.query],
    )
    model(e).logits.sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize(
    ("make", "edges", "message"),
    [
        (lambda: geometric.SAGEConv(5, 6), True, "SAGEConv takes no edge_weight or edge_attr"),
        (lambda: geometric.GCN2Conv(5, 0.1), False, "GCN2Conv needs x_0; .* wrap it in a module"),
        (lambda: geometric.PointNetConv(), False, "PointNetConv needs pos"),
        (lambda: nn.Linear(5, 6), False, "Linear needs fewer arguments"),
    ],
)
def test_unsupported_convolutions_raise(make, edges, message):
    with pytest.raises(ValueError, match=message):
        gf.nn.PyGConv(make(), edges=edges)


class Constant(nn.Module):
    """Returns a fixed value."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x, edge_index):
        return self.value


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (lambda: gf.nn.PyGConv(Constant((1, 2))), TypeError, "Constant returned a tuple"),
        (
            lambda: gf.nn.PyGConv(Constant(torch.zeros(3, 2))),
            ValueError,
            r"shape \(3, 2\) for 7 nodes",
        ),
        (
            lambda: gf.nn.PyGConv(GCNConv(5, 6), edges=True),
            ValueError,
            "one weight per edge and the edges have 2",
        ),
    ],
)
def test_invalid_layer_output_raises(layer, error, message):
    with pytest.raises(error, match=message):
        layer()(graph_of(2))
