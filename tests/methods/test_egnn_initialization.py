"""EGNN's first weights: a metric of the encoder's features, where torch's own lose them."""

import functools

import pytest
import torch

import graphfew as gf

DIM = 64


@functools.cache
def digit_tasks():
    data = gf.data.digits(size=8)
    return gf.Tasks(
        gf.data.arrays(data.x.flatten(1), data.y),
        way=5,
        shot=1,
        query=gf.data.single(),
        seed=1,
    )


@functools.cache
def nearest_neighbor_accuracy():
    nearest = gf.create("nearest_neighbor", encoder=gf.backbones.identity(DIM))
    return gf.evaluate(nearest, digit_tasks(), 400).mean


def untrained(**arguments):
    """EGNN on pixels with its first weights, and with the running statistics of its inputs."""
    model = gf.create("egnn", encoder=gf.backbones.identity(DIM), **arguments).train()
    # Without gradients, since only the statistics change.
    with torch.no_grad():
        for step in range(40):
            episode, _ = digit_tasks().batch(range(50 * step, 50 * (step + 1)))
            model(episode)
    return model


@pytest.mark.parametrize("arguments", [{}, {"layers": 1}, {"width": 48}, {"p": 0.1}], ids=str)
def test_untrained_egnn_matches_nearest_neighbor(arguments):
    actual = gf.evaluate(untrained(**arguments), digit_tasks(), 400).mean
    expected = nearest_neighbor_accuracy()
    assert expected > 0.7
    assert actual > expected - 0.06


def test_torch_initialization_does_not_match():
    assert gf.evaluate(untrained(pull=None), digit_tasks(), 400).mean < 0.4


def test_untrained_transductive_beats_inductive():
    """From the second layer on nodes are drawn to those like them, as soft clustering does."""
    model = untrained()
    tasks = gf.Tasks(digit_tasks().data, way=5, shot=1, query=10, seed=2)
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
