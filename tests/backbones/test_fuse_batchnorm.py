"""Batch norms folded into convolutions: the same features, in evaluation alone, and never behind a hook's back."""

import pytest
import torch
from torch import nn

from graphfew import backbones
from graphfew.backbones import base as backbone_module
from graphfew.backbones.fuse_batchnorm import Folding

BACKBONES = {
    "conv4": {"width": 8},
    "gnn_omniglot": {},
    "egnn_conv": {"size": 32},
    "relation_conv": {"width": 8},
    "resnet12": {"widths": [4, 8, 8, 16], "in_channels": 1, "size": 32},
    "wrn28_10": {"in_channels": 1, "size": 32},
}


def built(name):
    torch.manual_seed(0)
    net = backbones.create(name, **BACKBONES[name]).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.running_mean, module.weight, module.bias):
                nn.init.normal_(value)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return net.eval()


def items(net, count=5):
    arguments = net.spec.arguments
    generator = torch.Generator().manual_seed(1)
    return torch.randn(
        count,
        arguments["in_channels"],
        arguments["size"],
        arguments["size"],
        generator=generator,
        dtype=torch.float64,
    )


@pytest.fixture(params=BACKBONES)
def net(request):
    return built(request.param)


def test_features_are_those_of_the_layers_one_by_one(net):
    x = items(net)
    plain = net(x).detach()
    with torch.no_grad():
        folded = net(x)
    assert plain.abs().max() > 0.01
    assert torch.allclose(folded, plain, rtol=0, atol=1e-9 * plain.abs().max())


def test_norms_are_not_run(net, monkeypatch):
    calls = []
    plain = nn.BatchNorm2d.forward
    monkeypatch.setattr(
        nn.BatchNorm2d, "forward", lambda self, x: (calls.append(0), plain(self, x))[1]
    )
    x = items(net)
    net(x)
    before, calls[:] = len(calls), []
    with torch.no_grad():
        net(x)
    assert len(calls) < before
    assert not calls or net.spec.name == "wrn28_10"  # it has norms before convolutions


def test_batch_statistics_stay_those_of_the_batch(net):
    x = items(net)
    net.eval()
    for module in net.modules():
        module.train(isinstance(module, nn.BatchNorm2d))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        ours = net(x)
        again = {name: value.clone() for name, value in net.state_dict().items()}
        net.load_state_dict(before)
    plain = net(x).detach()
    assert torch.allclose(ours, plain, rtol=0, atol=1e-9 * plain.abs().max())
    assert all(torch.allclose(again[name], value) for name, value in net.state_dict().items())
    assert any(not torch.equal(again[name], value) for name, value in before.items())


def test_hooks_are_called():
    conv, norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
    net, seen = Folding(conv, norm).eval(), []
    conv.register_forward_hook(lambda *_: seen.append("convolution"))
    norm.register_forward_pre_hook(lambda *_: seen.append("norm"))
    with torch.no_grad():
        net(torch.zeros(1, 1, 4, 4))
    assert seen == ["convolution", "norm"]


def test_names_of_weights_are_those_of_a_plain_sequence():
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.ReLU()]
    assert Folding(*layers).state_dict().keys() == nn.Sequential(*layers).state_dict().keys()
    with torch.no_grad():
        assert torch.equal(
            Folding(nn.ReLU(), nn.ReLU()).eval()(torch.tensor([-1.0])), torch.zeros(1)
        )


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_images_by_parts_have_the_same_features(monkeypatch, count):
    net = built("conv4")
    x = items(net, count)
    with torch.no_grad():
        whole = net(x)
        monkeypatch.setattr(backbone_module, "PIXELS", 4 * 28 * 28)
        seen, forward = [], net.net.forward
        # not by a hook: where there is one, all images are encoded together
        monkeypatch.setattr(
            net.net, "forward", lambda given: seen.append(len(given)) or forward(given)
        )
        parts = net(x)
        assert seen == {0: [0], 1: [1], 3: [3], 4: [4], 9: [4, 4, 1]}[count]
        assert torch.allclose(parts, whole, rtol=0, atol=1e-12)
        net.train()
        net(x.repeat(3, 1, 1, 1))
    assert seen[-1] == 3 * count
