"""Networks of pairs: in evaluation a block of pairs at a time, with the answers of all at once; in training all."""

import importlib

import pytest
import torch
from episodes import identity_model, task

import graphfew as gf

BATCHES = {"equal": [task(1, 3, (2,), 4), task(2, 3, (2,), 4)], "ragged": [task(1, 3, (2,), 4), task(2, 3, (1,), 2)]}


def pairs_seen(model):
    """The rows of every call of the networks of pairs, as they come."""
    rows = []
    for layer in model.layers.children():
        net = layer.edge_net if hasattr(layer, "edge_net") else layer.adjacency.net
        net.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    return rows


@pytest.fixture(params=["egnn", "gnn"])
def name(request):
    return request.param


def built(name):
    return identity_model(name, transductive=True, **({"way": 3} if name == "gnn" else {}))


def block(name, size, monkeypatch):
    # By its name: as an attribute of the package it is the factory.
    monkeypatch.setattr(importlib.import_module(f"graphfew.methods.{name}"), "PAIRS_AT_ONCE", size)


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_evaluation_in_blocks_gives_the_same_answers(name, tasks, monkeypatch):
    model, batch = built(name), gf.collate(tasks)
    plain = model(batch)
    block(name, 7, monkeypatch)
    rows = pairs_seen(model)
    ours = model(batch)
    assert max(rows) == 7
    assert torch.allclose(ours.logits, plain.logits, rtol=0, atol=1e-10)
    for mine, other in zip(ours.graphs, plain.graphs, strict=True):
        assert torch.allclose(mine.edges, other.edges, rtol=0, atol=1e-10)


def test_training_sees_all_pairs(name, monkeypatch):
    model, batch = built(name).train(), gf.collate(BATCHES["equal"])
    block(name, 7, monkeypatch)
    rows = pairs_seen(model)
    model(batch)
    assert set(rows) == {sum(n * (n - 1) // 2 for n in batch.sizes)}
