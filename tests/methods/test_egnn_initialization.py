"""EGNN's first weights: a metric of the encoder's features, where torch's own lose them."""

import pytest
import torch

import graphfew as gf


def untrained(dim=64, **arguments):
    """EGNN on pixels whose running statistics are those of its inputs, and whose weights have not moved."""
    data = gf.data.digits(size=8)
    data = gf.data.arrays(data.x.flatten(1)[:, :dim], data.y)
    tasks = gf.Tasks(data, way=5, shot=1, query=gf.data.single(), seed=1)
    model = gf.create("egnn", encoder=gf.backbones.identity(dim), **arguments)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    for _ in gf.train(model, tasks, loss=gf.edge_loss, batch=50, steps=40, optimizer=optimizer):
        pass
    return model, tasks


@pytest.mark.parametrize("arguments", [{}, {"layers": 1}, {"width": 48}, {"p": 0.1}], ids=str)
def test_untrained_egnn_matches_nearest_neighbor(arguments):
    model, tasks = untrained(**arguments)
    nearest = gf.create("nearest_neighbor", encoder=gf.backbones.identity(64))
    actual, expected = gf.evaluate(model, tasks, 400), gf.evaluate(nearest, tasks, 400)
    assert expected.mean > 0.7
    assert actual.mean > expected.mean - 0.06


def test_torch_initialization_does_not_match():
    model, tasks = untrained(pull=None)
    assert gf.evaluate(model, tasks, 400).mean < 0.4


def test_untrained_transductive_beats_inductive():
    """From the second layer on nodes are drawn to those like them, as soft clustering does."""
    model, tasks = untrained()
    tasks = gf.Tasks(tasks.data, way=5, shot=1, query=10, seed=2)
    alone, together = (
        gf.evaluate(model.in_mode(transductive=t), tasks, 200) for t in (False, True)
    )
    gain = gf.compare_results(together, alone)
    assert gain.difference > gain.half_width


def test_seed_determines_weights():
    first, same, other = (
        gf.create("egnn", encoder=gf.backbones.identity(8), seed=s).state_dict() for s in (1, 1, 2)
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["layers.0.node_net.0.weight"], other["layers.0.node_net.0.weight"])
