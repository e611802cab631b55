"""Residual networks against functional references, and their published numbers of weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from graphfew import backbones
from graphfew._utils.seeding import seeded

Weights = dict[str, Tensor]


def randomize_norms(net: torch.nn.Module) -> None:
    """Randomize batch norms; new ones are nearly the identity."""
    with seeded(3), torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    assert tensor is not None
                    tensor.normal_()


def batch_norm(x: Tensor, w: Weights, name: str) -> Tensor:
    return functional.batch_norm(
        x,
        w[f"{name}.running_mean"],
        w[f"{name}.running_var"],
        w[f"{name}.weight"],
        w[f"{name}.bias"],
    )


def reference_resnet12(x: Tensor, w: Weights) -> Tensor:
    for block in range(1, 5):
        inner, at = x, f"net.{block}"
        for index, layer in enumerate((0, 3, 6)):
            inner = functional.conv2d(inner, w[f"{at}.branch.{layer}.weight"], padding=1)
            inner = batch_norm(inner, w, f"{at}.branch.{layer + 1}")
            inner = functional.leaky_relu(inner, 0.1) if index < 2 else inner
        short = batch_norm(
            functional.conv2d(x, w[f"{at}.shortcut.0.weight"]), w, f"{at}.shortcut.1"
        )
        x = functional.max_pool2d(functional.leaky_relu(inner + short, 0.1), 2)
    return x.mean((2, 3))


def reference_wide(x: Tensor, w: Weights, depth: int) -> Tensor:
    x = functional.conv2d(x, w["net.1.weight"], padding=1)
    for number in range((depth - 4) // 2):
        at, stride = f"net.{2 + number}", 2 if number in ((depth - 4) // 6, (depth - 4) // 3) else 1
        activated = functional.relu(batch_norm(x, w, f"{at}.before.0"))
        inner = functional.conv2d(activated, w[f"{at}.branch.0.weight"], stride=stride, padding=1)
        inner = functional.relu(batch_norm(inner, w, f"{at}.branch.1"))
        inner = functional.conv2d(inner, w[f"{at}.branch.4.weight"], padding=1)
        shortcut = f"{at}.shortcut.weight"
        x = inner + (
            functional.conv2d(activated, w[shortcut], stride=stride) if shortcut in w else x
        )
    return functional.relu(batch_norm(x, w, f"net.{2 + (depth - 4) // 2}")).mean((2, 3))


def test_resnet12_equals_reference() -> None:
    net = backbones.resnet12((4, 6, 8, 10), in_channels=2, size=32).double().eval()
    randomize_norms(net)
    x = torch.randn(3, 2, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(x), reference_resnet12(x, net.state_dict()))


@pytest.mark.parametrize("depth", [10, 16])
def test_wide_resnet_equals_reference(depth: int) -> None:
    net = backbones.wrn28_10(depth, 2, in_channels=2, size=32).double().eval()
    randomize_norms(net)
    x = torch.randn(3, 2, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(x), reference_wide(x, net.state_dict(), depth))


def test_number_of_weights_is_as_published() -> None:
    assert sum(p.numel() for p in backbones.resnet12().parameters()) == 12_424_320
    # with the 6,410 of CIFAR-10's linear layer: 36,479,194
    assert sum(p.numel() for p in backbones.wrn28_10(size=32).parameters()) == 36_472_784


def test_dropout_only_in_training() -> None:
    x = torch.rand(4, 1, 16, 16)
    for net in (
        backbones.resnet12((4, 4, 4, 4), 1, 16, drop=0.5),
        backbones.wrn28_10(10, 1, 1, 16, drop=0.5),
    ):
        assert not torch.equal(net(x), net(x))
        net.eval()
        assert torch.equal(net(x), net(x))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: backbones.resnet12((4, 4, 4)), "3 widths"),
        (lambda: backbones.resnet12((4, 0, 4, 4)), r"widths\[1\]=0"),
        (lambda: backbones.resnet12(drop=1.0), "drop=1.0"),
        (lambda: backbones.resnet12(size=8), "size=8"),
        (lambda: backbones.wrn28_10(depth=27), "6 n [+] 4"),
        (lambda: backbones.wrn28_10(factor=0), "factor=0"),
        (lambda: backbones.wrn28_10(drop=-0.1), "drop=-0.1"),
    ],
)
def test_invalid_arguments_raise(make, reason: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=reason):
        make()
