"""The registry: names, arguments and seeds."""

import pytest
import torch

import graphfew as gf


def test_an_unknown_method_lists_the_known_ones():
    with pytest.raises(ValueError, match="'nope'; known: egnn, gnn, nearest_neighbour, prototypical"):
        gf.create("nope", encoder=gf.backbones.identity(4))


def test_an_unknown_argument_lists_the_known_ones():
    with pytest.raises(ValueError, match="egnn has no argument 'depth'; it takes: layers, width, p, transductive"):
        gf.create("egnn", encoder=gf.backbones.identity(4), depth=3)


def test_a_plain_module_needs_its_width():
    with pytest.raises(ValueError, match="pass dim="):
        gf.create("egnn", encoder=torch.nn.Linear(4, 4))
    assert gf.create("egnn", encoder=torch.nn.Linear(4, 4), dim=4).recipe is None


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="already registered"):
        gf.register("egnn", gf.METHODS["egnn"])


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    models = [gf.create("egnn", encoder=gf.backbones.conv4(width=4, seed=s), seed=s, width=6) for s in (0, 0, 1)]
    assert torch.equal(torch.rand(1), expected)
    first, again, other = ([*m.parameters()] for m in models)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[-2], other[-2])
