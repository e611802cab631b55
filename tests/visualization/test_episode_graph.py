"""Plots of episode graphs, and the networkx graph that they show."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

import graphfew as gf

mpl.use("Agg")


def episode(seed: int = 0) -> gf.Episode:
    generator = torch.Generator().manual_seed(seed)
    tasks = []
    for way, queries in ((3, 4), (2, 2)):
        y = torch.cat([torch.arange(way), torch.full((queries,), -1)])
        images = torch.rand(len(y), 1, 8, 8, generator=generator)
        tasks.append(gf.Episode.single(images, y, torch.arange(len(y)) >= way, way))
    return gf.collate(tasks)


def output(batch: gf.Episode) -> gf.MethodOutput:
    model = gf.create("egnn", encoder=torch.nn.Flatten(), dim=64, width=8)
    with gf.nn.eval_mode(model):
        return model(batch)


def test_networkx_weights_are_means_of_both_directions():
    graph = output(episode()).graphs[-1]
    net = gf.convert.to_networkx(graph, task=1)
    edges = graph.topology.matrices(graph.edges)[1]
    both = (edges[..., 0] + edges[..., 0].T) / 2
    assert list(net) == [0, 1, 2, 3]
    assert [net.nodes[n]["label"] for n in net] == [0, 1, -1, -1]
    assert [net.nodes[n]["query"] for n in net] == [False, False, True, True]
    for i, j in net.edges:
        assert net.edges[i, j]["weight"] == pytest.approx(both[i, j].item(), abs=1e-6)


def test_plot_graph_labels_nodes_and_wrong_predictions():
    batch = episode()
    out = output(batch)
    predictions, target = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 2, 1])
    axes = gf.visualization.plot_graph(
        out.graphs[-1], 0, images=batch.x[:7], predictions=predictions, target=target
    )
    texts = [t.get_text() for t in axes.texts]
    assert texts == ["A", "B", "C", "a", "b", "c", "a ✗ B"]
    assert len([a for a in axes.artists if type(a).__name__ == "AnnotationBbox"]) == 7


def test_layout_is_deterministic():
    from graphfew.visualization.episode_graph import spring_positions

    net = gf.convert.to_networkx(output(episode()).graphs[-1])
    first, second, other = (
        spring_positions(net, 1),
        spring_positions(net, 1),
        spring_positions(net, 2),
    )
    assert all(np.array_equal(first[n], second[n]) for n in net)
    assert not all(np.array_equal(first[n], other[n]) for n in net)


def test_plot_before_after_has_both_graphs():
    batch = episode()
    figure = gf.visualization.plot_before_after(
        output(batch), 1, images=batch.x[7:], target=torch.tensor([0, 1])
    )
    assert len(figure.axes) == 2
    assert "3 layers" in figure.axes[1].get_title()


def test_spring_layout_separates_nodes():
    import networkx as nx

    from graphfew.visualization.episode_graph import spring_positions

    net = nx.complete_graph(6)
    nx.set_edge_attributes(net, 1.0, "weight")
    net.add_nodes_from(range(6, 9))
    positions = spring_positions(net)
    distances = [np.linalg.norm(positions[a] - positions[b]) for a in net for b in net if a < b]
    assert min(distances) > 0.2
