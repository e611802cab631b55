import itertools
import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from graphfew import backbones
from graphfew._utils.model_spec import ModelSpec
from graphfew._utils.seeding import seeded
from graphfew.backbones import BACKBONES, Backbone, create

IMAGES = {"conv4": (1, 28), "gnn_omniglot": (1, 28), "egnn_conv": (3, 84)}


def images(count: int, channels: int, size: int) -> Tensor:
    with seeded(1, count, channels, size):
        return torch.randn(count, channels, size, size)


def layers_of(backbone: Backbone, kind: type[nn.Module]) -> list[nn.Module]:
    return [m for m in backbone.modules() if isinstance(m, kind)]


def textbook_conv4(width: int, in_channels: int) -> nn.Sequential:
    widths = [in_channels] + [width] * 4
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)
            )
            for i, o in itertools.pairwise(widths)
        ),
        nn.Flatten(),
    )


def textbook_gnn_omniglot() -> nn.Sequential:
    def block(inputs: int, padding: int, *pool: nn.Module) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, 64, 3, padding=padding),
            nn.BatchNorm2d(64),
            *pool,
            nn.LeakyReLU(0.1),
        ]

    return nn.Sequential(
        *block(1, 1, nn.MaxPool2d(2)),
        *block(64, 1, nn.MaxPool2d(2)),
        *block(64, 0),
        *block(64, 0),
        nn.Flatten(),
        nn.Linear(576, 64, bias=False),
        nn.BatchNorm1d(64),
        nn.LeakyReLU(),
    )


def textbook_egnn() -> nn.Sequential:
    def block(inputs: int, outputs: int, padding: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False),
            nn.BatchNorm2d(outputs),
            nn.MaxPool2d(2),
            nn.LeakyReLU(0.2),
        ]

    return nn.Sequential(
        *block(3, 64, 1),
        *block(64, 96, 0),
        *block(96, 128, 1),
        nn.Dropout2d(0.4),
        *block(128, 256, 1),
        nn.Dropout2d(0.5),
        nn.Flatten(),
        nn.Linear(6400, 128),
        nn.BatchNorm1d(128),
    )


TEXTBOOK: dict[str, Callable[[], nn.Module]] = {
    "conv4": lambda: textbook_conv4(64, 1),
    "gnn_omniglot": textbook_gnn_omniglot,
    "egnn_conv": textbook_egnn,
}


def share_weights(source: nn.Module, target: nn.Module) -> None:
    values = list(source.state_dict().values())
    target.load_state_dict(dict(zip(target.state_dict(), values, strict=True)))


def randomize_norms(net: nn.Module) -> None:
    """Randomize batch norms, negative scales included; new ones are nearly the identity."""
    with seeded(9), torch.no_grad():
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm2d):
                for tensor in (norm.weight, norm.bias, norm.running_mean):
                    assert tensor is not None
                    tensor.normal_()


def output_and_gradients(net: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    with seeded(4):
        out: Tensor = net(x)
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    return out.detach(), [p.grad for p in net.parameters() if p.grad is not None]


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", TEXTBOOK)
def test_equals_the_textbook_network(name: str, train: bool) -> None:
    ours, theirs = create(name).double(), TEXTBOOK[name]().double()
    randomize_norms(ours)
    share_weights(ours, theirs)
    x = images(5, *IMAGES[name]).double()
    (out, grads), (expected, expected_grads) = (
        output_and_gradients(ours.train(train), x),
        output_and_gradients(theirs.train(train), x),
    )
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(grads, expected_grads)
    torch.testing.assert_close(list(ours.buffers()), list(theirs.buffers()))


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "out_dim"),
    [
        ("conv4", {}, (1, 28, 28), 64),
        ("conv4", {"width": 8, "in_channels": 3, "size": 84}, (3, 84, 84), 200),
        ("conv4", {"size": 16}, (1, 16, 16), 64),
        ("gnn_omniglot", {}, (1, 28, 28), 64),
        ("gnn_omniglot", {"out_dim": 7, "in_channels": 2, "size": 20}, (2, 20, 20), 7),
        ("egnn_conv", {}, (3, 84, 84), 128),
        ("egnn_conv", {"in_channels": 1, "size": 28}, (1, 28, 28), 128),
        ("identity", {"dim": 11}, (11,), 11),
    ],
)
def test_out_dim_is_the_output_width(
    name: str, arguments: dict[str, int], shape: tuple[int, ...], out_dim: int
) -> None:
    backbone = create(name, **arguments)
    assert backbone.out_dim == out_dim
    assert backbone(torch.zeros(2, *shape)).shape == (2, out_dim)


def test_egnn_conv_has_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in create("egnn_conv").parameters()) == 1_283_200


def test_identity_passes_features_through() -> None:
    x = torch.randn(3, 5)
    assert torch.equal(backbones.identity(5)(x), x)


@pytest.mark.parametrize("name", IMAGES)
def test_convolutions_are_channels_last(name: str) -> None:
    for convolution in layers_of(create(name), nn.Conv2d):
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


def test_images_are_converted_to_channels_last() -> None:
    seen: list[bool] = []

    class Spy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.is_contiguous(memory_format=torch.channels_last))
            return x.flatten(1)

    Backbone(Spy(), 48, ModelSpec("spy", {}))(images(2, 3, 4))
    assert seen == [True]


@pytest.mark.parametrize("name", IMAGES)
def test_new_backbone_is_in_training_mode_without_statistics(name: str) -> None:
    backbone = create(name)
    assert all(m.training for m in backbone.modules())
    assert all(int(m.num_batches_tracked) == 0 for m in layers_of(backbone, nn.BatchNorm2d))


@pytest.mark.parametrize("name", IMAGES)
def test_initial_weights_are_reproducible(name: str) -> None:
    with seeded(2):
        first = create(name)
    with seeded(2):
        second = create(name)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


@pytest.mark.parametrize("name", BACKBONES)
def test_spec_builds_the_same_backbone(name: str) -> None:
    other = {
        "identity": {"dim": 6},
        "gradient_maps": {"size": 20, "blur": 0.5},
        "conv_text": {"words": 20, "mentions": 1},
        "bilstm": {"words": 20, "units": 7},
        "affine_tta": {"encoder": {"name": "conv4", "arguments": {"size": 40}}, "copies": 3},
        "flip_tta": {"encoder": {"name": "conv4", "arguments": {"size": 40}}, "shift": 1},
        "pca": {"encoder": {"name": "conv4", "arguments": {"size": 40}}, "components": 9},
        "concat": {
            "encoders": [{"name": "conv4", "arguments": {"size": 40, "width": k}} for k in (3, 4)]
        },
        "resnet12": {"widths": [4, 6, 8, 10], "size": 40},
        "wrn28_10": {"depth": 10, "factor": 1, "size": 40},
    }
    backbone = create(name, **other.get(name, {"in_channels": 2, "size": 40}))
    again = create(ModelSpec(name, json.loads(json.dumps(dict(backbone.spec.arguments)))))
    assert again.spec == backbone.spec
    assert again.out_dim == backbone.out_dim
    again.load_state_dict(backbone.state_dict())


def test_arguments_override_the_spec() -> None:
    assert create(ModelSpec("conv4", {"width": 8, "size": 32}), width=5).out_dim == 20


def test_unknown_name_lists_the_backbones() -> None:
    with pytest.raises(
        ValueError,
        match=r"'resnet'; expected one of .*bilstm, concat, conv4, .*, resnet12, wrn28_10",
    ):
        create("resnet")


@pytest.mark.parametrize(
    ("name", "needed"), [("conv4", 16), ("gnn_omniglot", 20), ("egnn_conv", 20)]
)
def test_too_small_images_raise(name: str, needed: int) -> None:
    create(name, size=needed)
    with pytest.raises(ValueError, match=rf"{name} got size={needed - 1}.*larger images"):
        create(name, size=needed - 1)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("conv4", {"width": 0}),
        ("conv4", {"in_channels": -1}),
        ("egnn_conv", {"out_dim": 0}),
        ("gnn_omniglot", {"out_dim": 0}),
        ("gnn_omniglot", {"size": 0}),
        ("identity", {"dim": 0}),
    ],
)
def test_numbers_below_one_raise(name: str, arguments: dict[str, int]) -> None:
    ((key, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"{name} got {key}={value}; it must be at least 1"):
        create(name, **arguments)


@pytest.mark.parametrize(
    ("backbone", "shape", "message"),
    [
        (
            backbones.conv4,
            (3, 28, 28),
            r"items of shape \(3, 28, 28\) but was built for \(1, 28, 28\); .*in_channels=3",
        ),
        (backbones.conv4, (1, 32, 32), r"shape \(1, 32, 32\).*size=32"),
        (backbones.conv4, (1, 28, 32), r"shape \(1, 28, 32\).*change the items"),
        (backbones.conv4, (64,), r"shape \(64,\).*identity\(dim=64\)"),
        (
            lambda: backbones.identity(5),
            (4,),
            r"identity got items of shape \(4,\).*\(5,\).*identity\(dim=4\)",
        ),
        (
            lambda: backbones.identity(5),
            (1, 8, 8),
            r"identity got items of shape \(1, 8, 8\).*a backbone for images",
        ),
    ],
)
def test_items_of_another_shape_raise(
    backbone: Callable[[], Backbone],
    shape: tuple[int, ...],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        backbone()(torch.zeros(2, *shape))
