"""Encoding a data set once is equivalent to encoding each task, and does not change the encoder."""

import numpy as np
import pytest
import torch
from torch import nn

import graphfew as gf
from graphfew.data import encode
from graphfew.errors import ContractError


def images(n: int = 60) -> gf.Dataset:
    return gf.data.arrays(
        np.random.default_rng(0).random((n, 1, 16, 16), dtype=np.float32), np.arange(n) % 6
    )


def test_tasks_of_features_have_the_accuracy_of_tasks_of_images():
    data = images()
    model = gf.create("egnn", encoder=gf.backbones.conv4(width=4, size=16), width=8)
    features = encode(data, model.encoder, batch=7, progress=False)
    assert features.x.shape == (60, 4)
    assert features.classes == data.classes
    whole = gf.evaluate(model, gf.Tasks(data, way=3, query=2), n=10)
    head = gf.evaluate(model.on_features(), gf.Tasks(features, way=3, query=2), n=10)
    assert head.per_task == whole.per_task


def test_the_encoder_keeps_its_training_mode_and_statistics():
    encoder = gf.backbones.conv4(width=4, size=16).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encode(images(), encoder, progress=False)
    assert all(module.training for module in encoder.modules())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_training_on_features_trains_the_whole_model():
    data = images()
    model = gf.create("egnn", encoder=gf.backbones.conv4(width=4, size=16), width=8)
    before = [p.clone() for p in model.layers.parameters()]
    tasks = gf.Tasks(encode(data, model.encoder, progress=False), way=3, query=2)
    for _ in gf.train(model.on_features(), tasks, loss=gf.edge_loss, batch=2, steps=1):
        pass
    assert not any(
        torch.equal(a, b) for a, b in zip(model.layers.parameters(), before, strict=True)
    )


def test_features_that_are_not_flat_are_rejected():
    with pytest.raises(ValueError, match="must be flat"):
        encode(images(), nn.Identity(), progress=False)


def test_a_batch_norm_without_running_statistics_is_rejected():
    """Its features would depend on which items are encoded together."""
    encoder = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(256, track_running_stats=False))
    with pytest.raises(ContractError, match="running statistics"):
        encode(images(), encoder, progress=False)
