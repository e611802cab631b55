"""Pretraining by classification: epochs, rotations, the cosine formula, and an encoder that learns."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.optim import Adam

import graphfew as gf
from graphfew.training.pretrain import ClassificationBatch

DIGITS = gf.data.digits()


def test_each_epoch_has_every_item_once_in_another_order():
    data = gf.data.arrays(torch.arange(30.0)[:, None], np.arange(30) % 3)
    source = gf.training.ClassificationBatches(data, seed=3)
    first, second = (
        [
            float(source.batch(range(i, i + 5))[0].x[j, 0])
            for i in range(start, start + 30, 5)
            for j in range(5)
        ]
        for start in (0, 30)
    )
    assert sorted(first) == sorted(second) == list(range(30))
    assert first != second
    across, label = source.batch(range(20, 70))
    assert across.x[:, 0].tolist()[:10] == first[20:]
    assert across.x[:, 0].tolist()[10:40] == second
    assert torch.equal(label, across.x[:, 0].long() % 3)
    other = gf.training.ClassificationBatches(data, seed=4).batch(range(30))[0].x[:, 0].tolist()
    assert other != first


def test_rotations_make_four_classes_of_each():
    source = gf.training.ClassificationBatches(DIGITS, seed=0, turns=True)
    assert source.classes == 40
    plain = gf.training.ClassificationBatches(DIGITS, seed=0).batch(range(64))
    items, label = source.batch(range(64))
    assert torch.equal(label // 4, plain[1])
    assert set((label % 4).tolist()) == {0, 1, 2, 3}
    for turned, image, number in zip(items.x, plain[0].x, label, strict=True):
        assert torch.equal(turned, torch.rot90(image, int(number) % 4, (1, 2)))
    with pytest.raises(ValueError, match="square images"):
        gf.training.ClassificationBatches(gf.data.arrays(torch.rand(6, 4), [0, 1] * 3), turns=True)


def test_augmentation_is_deterministic():
    source = gf.training.ClassificationBatches(DIGITS, seed=0, augment=gf.data.augment.affine())
    first, again = source.batch(range(8))[0].x, source.batch(range(8))[0].x
    assert torch.equal(first, again)
    assert not torch.equal(
        first, gf.training.ClassificationBatches(DIGITS, seed=0).batch(range(8))[0].x
    )
    assert source.describe()["augment"] == "affine"


def test_logits_are_scaled_cosine_similarities():
    model = gf.training.Classifier(gf.backbones.identity(5), 5, 3, scale=7.0, seed=1)
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    logits = model(ClassificationBatch(x)).logits.detach()
    for i in range(4):
        for c in range(3):
            a, b = x[i], model.weights[c].detach()
            expected = 7.0 * float((a * b).sum()) / (float(a.norm()) * float(b.norm()))
            assert float(logits[i, c]) == pytest.approx(expected, abs=1e-5)
    target = torch.tensor([0, 2, 1, 1])
    by_hand = -sum(float(logits[i].log_softmax(0)[t]) for i, t in enumerate(target.tolist())) / 4
    assert gf.class_loss(model(ClassificationBatch(x)), target).item() == pytest.approx(
        by_hand, abs=1e-5
    )
    same, other = (
        gf.training.Classifier(gf.backbones.identity(5), 5, 3, seed=s).weights for s in (1, 2)
    )
    assert torch.equal(same, model.weights)
    assert not torch.equal(other, model.weights)


def test_encoder_learns_to_classify():
    encoder = gf.backbones.conv4(width=8, size=28)
    model = gf.training.Classifier(encoder, encoder.out_dim, 10)
    source = gf.training.ClassificationBatches(
        gf.data.Dataset(
            "digits",
            "all",
            torch.nn.functional.interpolate(DIGITS.x.float(), 28).to(torch.uint8),
            DIGITS.y,
            DIGITS.classes,
        )
    )
    steps = list(
        gf.train(
            model, source, loss=gf.class_loss, batch=64, steps=30, optimizer=partial(Adam, lr=1e-2)
        )
    )
    assert np.mean([s.accuracy for s in steps[-5:]]) > 3 * np.mean([s.accuracy for s in steps[:2]])


@pytest.mark.parametrize("method", ["egnn", "gnn", "tpn", "dpgn"])
def test_training_in_bfloat16_is_close_and_leaves_weights_float32(method, monkeypatch):
    monkeypatch.setattr("graphfew.training.loop.supports_bfloat16", lambda device: True)
    tasks = gf.Tasks(DIGITS, way=3, shot=2, query=2)

    def losses(**options):
        sizes = {"gnn": {"way": 3}, "dpgn": {"way": 3, "shot": 2}}.get(method, {})
        model = gf.create(
            method, encoder=gf.backbones.conv4(width=8, size=DIGITS.x.shape[-1]), seed=1, **sizes
        )
        loss = gf.methods.registry.find_method(method).loss
        steps = [
            step.loss for step in gf.train(model, tasks, loss=loss, batch=2, steps=3, **options)
        ]
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert model.eval()(tasks[0][0]).logits.dtype == torch.float32
        return steps

    exact, encoder, whole = (
        losses(),
        *(losses(precision=torch.bfloat16, autocast_layers=flag) for flag in (False, True)),
    )
    assert losses(autocast_layers=True) == exact
    assert whole not in (exact, encoder)
    assert whole == pytest.approx(exact, rel=0.1)


def test_bfloat16_without_hardware_support_is_float32_with_a_warning(monkeypatch):
    monkeypatch.setattr("graphfew.training.loop.supports_bfloat16", lambda device: False)
    tasks = gf.Tasks(DIGITS, way=3, query=2)

    def losses(precision):
        encoder = gf.backbones.conv4(width=4, size=DIGITS.x.shape[-1])
        model = gf.create("prototypical", encoder=encoder, seed=1)
        steps = gf.train(model, tasks, loss=gf.node_loss, batch=2, steps=2, precision=precision)
        return [step.loss for step in steps]

    exact = losses(torch.float32)
    with pytest.warns(RuntimeWarning, match="no bfloat16 hardware support.*uses float32"):
        assert losses(torch.bfloat16) == exact


def test_bfloat16_encoding_is_close_and_temporary():
    encoder = gf.backbones.conv4(width=8).eval()
    x = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    encoder.requires_grad_(False)
    exact = encoder(x)
    with gf.backbones.encoder_precision(encoder, torch.bfloat16):
        near = encoder(x)
        assert near.dtype == torch.float32
    assert not torch.equal(near, exact)
    assert float((near - exact).abs().max()) < 0.1 * float(exact.abs().max())
    assert torch.equal(encoder(x), exact)
    with (
        pytest.raises(ValueError, match="give torch"),
        gf.backbones.encoder_precision(encoder, torch.float64),
    ):
        pass
