"""Losses on examples that can be counted by hand; the loop-written reference is in test_reference."""

import math

import pytest
import torch
from episodes import identity_model, task

import graphfew as gf
from graphfew.methods import losses


def triangle(similarity, y=(0, 1, -1)):
    """One 2-way task of two supports and a query, whose edges after one layer are given."""
    e = gf.Episode.single(torch.zeros(3, 1), torch.tensor(y), torch.tensor([False, False, True]), 2)
    values = torch.tensor(similarity).flatten()
    graph = gf.Graph(e.x, torch.stack([values, 1 - values], 1), gf.complete_graph(e.sizes), e)
    return gf.MethodOutput(torch.zeros(1, 2), (graph, graph))


def test_edge_loss_averages_query_edges_by_kind():
    out = triangle([[0.9, 0.9, 0.8], [0.9, 0.9, 0.3], [0.6, 0.1, 0.9]])
    expected = -(math.log(0.8) + math.log(0.6)) / 2 - (math.log(0.7) + math.log(0.9)) / 2
    assert gf.edge_loss(out, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-5)


def test_early_layers_have_half_the_weight():
    one = triangle([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.5, 0.5, 1.0]])
    three = gf.MethodOutput(one.logits, (one.graphs[0], *[one.graphs[1]] * 3))
    target = torch.tensor([1])
    assert gf.edge_loss(three, target).item() == pytest.approx(2 * gf.edge_loss(one, target).item())
    assert gf.edge_loss(three, target, 0.0).item() == pytest.approx(
        gf.edge_loss(one, target).item()
    )


def test_tasks_have_equal_weight_for_any_number_of_queries():
    model, few, many = identity_model("egnn", width=4), task(1, 2, (1,), 1), task(2, 2, (1,), 9)
    targets = [torch.zeros(1, dtype=torch.int64), torch.arange(9) % 2]
    alone = [gf.edge_loss(model(e), t).item() for e, t in zip((few, many), targets, strict=True)]
    together = gf.edge_loss(model(gf.collate([few, many])), torch.cat(targets)).item()
    assert together == pytest.approx(sum(alone) / 2)


def test_node_loss_is_cross_entropy_over_the_classes_of_each_task():
    logits = torch.tensor([[0.0, 0.0, -torch.inf], [1.0, 0.0, 2.0]], requires_grad=True)
    loss = gf.node_loss(gf.MethodOutput(logits, ()), torch.tensor([1, 2]))
    second = math.log(math.e + 1 + math.e**2) - 2
    assert loss.item() == pytest.approx((math.log(2) + second) / 2, rel=1e-5)
    loss.backward()
    assert torch.isfinite(logits.grad).all()


def test_mismatched_outputs_raise():
    out = triangle([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.5, 0.5, 1.0]])
    for loss in (gf.edge_loss, gf.node_loss):
        with pytest.raises(ValueError, match="2 targets for 1 queries"):
            loss(out, torch.tensor([0, 1]))
    near = gf.create("prototypical", encoder=gf.backbones.identity(5)).double()(task(1))
    with pytest.raises(ValueError, match=r"needs layers with edges \[E, 2\].*1 channels"):
        gf.edge_loss(near, torch.zeros(3, dtype=torch.int64))


def test_edge_node_loss_is_the_sum_of_both():
    model, e = identity_model("egnn", width=4), task(1, 3, (1,), 4)
    out, target = model(e), torch.tensor([0, 1, 2, 0])
    assert gf.edge_node_loss(out, target).item() == pytest.approx(
        gf.edge_loss(out, target).item() + gf.node_loss(out, target).item()
    )


def test_unlabeled_nodes_and_edges_of_supports_do_not_count():
    """A fourth, unlabeled node and the supports' own edges, at their most wrong, add nothing."""
    e = gf.Episode.single(
        torch.zeros(4, 1),
        torch.tensor([0, -1, 1, -1]),
        torch.tensor([False, False, False, True]),
        2,
    )
    wrong = 0.999
    values = torch.tensor(
        [
            [wrong, wrong, wrong, 0.8],
            [wrong, wrong, wrong, wrong],
            [wrong, wrong, wrong, 0.3],
            [0.6, wrong, 0.1, wrong],
        ],
        requires_grad=True,
    )
    graph = gf.Graph(
        e.x, torch.stack([values.flatten(), 1 - values.flatten()], 1), gf.complete_graph(e.sizes), e
    )
    loss = gf.edge_loss(gf.MethodOutput(torch.zeros(1, 2), (graph, graph)), torch.tensor([0]))
    expected = -(math.log(0.8) + math.log(0.6)) / 2 - (math.log(0.7) + math.log(0.9)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    counted = torch.zeros(4, 4, dtype=torch.bool)
    counted[[0, 2, 3, 3], [3, 3, 0, 2]] = True
    assert torch.equal(values.grad != 0, counted)


def test_edges_between_two_queries_count():
    query = torch.tensor([False, False, True, True])
    e = gf.Episode.single(torch.zeros(4, 1), torch.tensor([0, 1, -1, -1]), query, 2)
    values = torch.full((4, 4), 0.5)
    values[2, 3], values[3, 2] = 0.25, 0.75
    graph = gf.Graph(
        e.x, torch.stack([values.flatten(), 1 - values.flatten()], 1), gf.complete_graph(e.sizes), e
    )
    out = gf.MethodOutput(torch.zeros(2, 2), (graph, graph))
    # Of each query one support is of its class and one is not: 4 edges of each kind, all at 0.5, and the two between.
    one = -(4 * math.log(0.5) + math.log(0.25) + math.log(0.75)) / 6 - math.log(0.5)
    other = -math.log(0.5) - (4 * math.log(0.5) + math.log(0.75) + math.log(0.25)) / 6
    assert gf.edge_loss(out, torch.tensor([1, 1])).item() == pytest.approx(one, rel=1e-5)
    assert gf.edge_loss(out, torch.tensor([0, 1])).item() == pytest.approx(other, rel=1e-5)


def test_confident_errors_have_finite_loss_and_gradient():
    similarity = torch.tensor(
        [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]], requires_grad=True
    )
    e = gf.Episode.single(
        torch.zeros(3, 1), torch.tensor([0, 1, -1]), torch.tensor([False, False, True]), 2
    )
    edges = torch.stack([similarity.flatten(), 1 - similarity.flatten()], 1)
    graph = gf.Graph(e.x, edges, gf.complete_graph(e.sizes), e)
    loss = gf.edge_loss(gf.MethodOutput(torch.zeros(1, 2), (graph, graph)), torch.tensor([0]))
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(similarity.grad).all()


def test_edges_without_two_channels_raise():
    out = triangle([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.5, 0.5, 1.0]])
    graph = out.graphs[-1].replace(edges=out.graphs[-1].edges[:, :1])
    with pytest.raises(ValueError, match="1 layers with 1 channels"):
        gf.edge_loss(gf.MethodOutput(out.logits, (graph, graph)), torch.tensor([0]))
    with pytest.raises(ValueError, match="0 layers"):
        gf.edge_loss(gf.MethodOutput(out.logits, out.graphs[:1]), torch.tensor([0]))


def test_smoothing_is_uniform_over_the_classes_of_each_task():
    logits = torch.tensor([[0.0, 2.0, -torch.inf], [1.0, 0.0, 2.0]], requires_grad=True)
    logs = [
        [-math.log(1 + math.e**2), 2 - math.log(1 + math.e**2)],
        [v - math.log(math.e + 1 + math.e**2) for v in (1, 0, 2)],
    ]
    expected = [
        0.9 * -logs[0][1] + 0.1 * -sum(logs[0]) / 2,
        0.9 * -logs[1][0] + 0.1 * -sum(logs[1]) / 3,
    ]
    loss = gf.node_loss(gf.MethodOutput(logits, ()), torch.tensor([1, 0]), smoothing=0.1)
    assert loss.item() == pytest.approx(sum(expected) / 2, rel=1e-5)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 2] == 0


def test_invalid_smoothing_raises():
    for smoothing in (-0.1, 1.0):
        with pytest.raises(ValueError, match="smoothing is"):
            gf.node_loss(
                gf.MethodOutput(torch.zeros(1, 2), ()), torch.tensor([0]), smoothing=smoothing
            )


def test_edge_loss_disables_autocast_for_bce(monkeypatch):
    def as_on_a_gpu(*args, **options):
        assert not torch.is_autocast_enabled("cpu")
        return entropy(*args, **options)

    entropy = losses.F.binary_cross_entropy
    out = identity_model("egnn")(task(0, 3, (2,), 4))
    target = torch.tensor([0, 1, 2, 0])
    plain = gf.edge_loss(out, target)
    monkeypatch.setattr(losses.F, "binary_cross_entropy", as_on_a_gpu)
    with torch.autocast("cpu", torch.bfloat16):
        assert gf.edge_loss(out, target) == plain


def test_half_precision_edges_are_counted_in_float32():
    batch = task(0, 2, (25,), 40)
    graph = identity_model("siamese")(batch).graphs[-1]
    low = graph.edges.bfloat16()
    target = torch.arange(40) % 2
    half, full = (
        gf.methods.pair_loss(
            gf.MethodOutput(torch.zeros(40, 2), (graph.replace(edges=edges),)), target
        )
        for edges in (low, low.float())
    )
    assert half == full
    assert half.dtype == torch.float32
