"""Batch norms fused into convolutions: equal features, only in evaluation and without hooks."""

import pytest
import torch
from torch import nn

from graphfew import backbones
from graphfew.backbones import base as backbone_module
from graphfew.backbones.fuse_batchnorm import FusedSequential

BACKBONES = {
    "conv4": {"width": 8},
    "gnn_omniglot": {},
    "egnn_conv": {"size": 32},
    "relation_conv": {"width": 8},
    "resnet12": {"widths": [4, 8, 8, 16], "in_channels": 1, "size": 32},
    "wrn28_10": {"in_channels": 1, "size": 32},
}


def random_backbone(name):
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
    return random_backbone(request.param)


def test_fused_features_are_equal(net):
    x = items(net)
    plain = net(x).detach()
    with torch.no_grad():
        fused = net(x)
    assert plain.abs().max() > 0.01
    assert torch.allclose(fused, plain, rtol=0, atol=1e-9 * plain.abs().max())


def test_fused_norms_are_not_called(net, monkeypatch):
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


def test_norms_in_training_mode_are_not_fused(net):
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
    net, seen = FusedSequential(conv, norm).eval(), []
    conv.register_forward_hook(lambda *_: seen.append("convolution"))
    norm.register_forward_pre_hook(lambda *_: seen.append("norm"))
    with torch.no_grad():
        net(torch.zeros(1, 1, 4, 4))
    assert seen == ["convolution", "norm"]


def test_state_dict_keys_are_those_of_sequential():
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.ReLU()]
    assert (
        FusedSequential(*layers).state_dict().keys() == nn.Sequential(*layers).state_dict().keys()
    )
    with torch.no_grad():
        assert torch.equal(
            FusedSequential(nn.ReLU(), nn.ReLU()).eval()(torch.tensor([-1.0])), torch.zeros(1)
        )


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_chunks_of_images_have_equal_features(monkeypatch, count):
    net = random_backbone("conv4")
    x = items(net, count)
    with torch.no_grad():
        whole = net(x)
        monkeypatch.setattr(backbone_module, "MAX_PIXELS", 4 * 28 * 28)
        seen, forward = [], net.net.forward
        # not by a hook: with hooks, all images are encoded together
        monkeypatch.setattr(net.net, "forward", lambda x: seen.append(len(x)) or forward(x))
        parts = net(x)
        assert seen == {0: [0], 1: [1], 3: [3], 4: [4], 9: [4, 4, 1]}[count]
        assert torch.allclose(parts, whole, rtol=0, atol=1e-12)
        net.train()
        net(x.repeat(3, 1, 1, 1))
    assert seen[-1] == 3 * count
