"""Residual backbones: ResNet-12 and wide residual networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from graphfew._utils.model_spec import JSON, ModelSpec
from graphfew._utils.seeding import seeded
from graphfew.backbones.backbone_registry import register_backbone
from graphfew.backbones.base import Backbone, build_trunk, check_dropout, check_positive
from graphfew.backbones.fuse_batchnorm import FusedSequential
from graphfew.errors import InvalidInputError

SLOPE = 0.1


@register_backbone
def resnet12(
    widths: Sequence[int] = (64, 160, 320, 640),
    in_channels: int = 3,
    size: int = 84,
    drop: float = 0.0,
    seed: int = 0,
) -> Backbone:
    """Build ResNet-12: four residual blocks of three convolutions, and global average pooling.

    Args:
        widths: channels of the four blocks.
        in_channels: channels of the images.
        size: height and width of the images.
        drop: dropout probability after each block.
        seed: seed of the initial weights.

    Returns:
        A backbone from `[N, in_channels, size, size]` to `[N, widths[-1]]`.

    Raises:
        InvalidInputError: a number is below 1, `drop` is not in `[0, 1)`, there are not four
            widths, or images have less than 16 pixels.

    Example:
        >>> from graphfew import backbones
        >>> backbones.resnet12(widths=(4, 8, 8, 16), size=32).out_dim
        16

    Source:
        Lee, Maji, Ravichandran and Soatto, 2019, Meta-Learning with Differentiable Convex
        Optimization, the published code; first in Oreshkin, Rodríguez and Lacoste, 2018, TADAM.

    Deviations:
        Plain dropout follows each block, instead of DropBlock. Features are averaged over the
        image, as in pretraining on base classes; the published code keeps the feature map.
    """
    check_positive("resnet12", in_channels=in_channels, size=size)
    for i, width in enumerate(widths):
        check_positive("resnet12", **{f"widths[{i}]": width})
    check_dropout("resnet12", drop)
    if len(widths) != 4:
        raise InvalidInputError(
            f"resnet12 got {len(widths)} widths; give four, such as (64, 160, 320, 640)"
        )
    with seeded(seed):
        layers: list[nn.Module] = []
        n_in = in_channels
        for width in widths:
            layers.append(ResidualBlock(n_in, width, drop))
            n_in = width
        layers.append(nn.AdaptiveAvgPool2d(1))
        trunk, out_dim = build_trunk("resnet12", in_channels, size, layers)
    arguments: dict[str, JSON] = {
        "widths": list(widths),
        "in_channels": in_channels,
        "size": size,
        "drop": drop,
    }
    return Backbone(trunk, out_dim, ModelSpec("resnet12", arguments))


@register_backbone
def wrn28_10(
    depth: int = 28,
    factor: int = 10,
    in_channels: int = 3,
    size: int = 84,
    drop: float = 0.0,
    seed: int = 0,
) -> Backbone:
    """Build a wide residual network with global average pooling.

    Args:
        depth: number of layers, `6 n + 4`.
        factor: widening factor.
        in_channels: channels of the images.
        size: height and width of the images.
        drop: dropout probability inside each block.
        seed: seed of the initial weights.

    Returns:
        A backbone from `[N, in_channels, size, size]` to `[N, 64 * factor]`.

    Raises:
        InvalidInputError: a number is below 1, `drop` is not in `[0, 1)`, or the depth is not
            `6 n + 4`.

    Example:
        >>> from graphfew import backbones
        >>> backbones.wrn28_10(depth=10, factor=1, size=32).out_dim
        64

    Source:
        Zagoruyko and Komodakis, 2016, Wide Residual Networks; in few-shot learning Rusu et al.,
        2019, LEO, and Mangla et al., 2020, Charting the Right Manifold.

    Deviations:
        None.
    """
    check_positive("wrn28_10", factor=factor, in_channels=in_channels, size=size)
    check_dropout("wrn28_10", drop)
    if depth < 10 or (depth - 4) % 6:
        raise InvalidInputError(f"wrn28_10 got depth={depth}; it must be 6 n + 4, such as 16 or 28")
    with seeded(seed):
        layers = _wide_layers(in_channels, depth, factor, drop)
        trunk, out_dim = build_trunk("wrn28_10", in_channels, size, layers)
    arguments: dict[str, JSON] = {
        "depth": depth,
        "factor": factor,
        "in_channels": in_channels,
        "size": size,
        "drop": drop,
    }
    return Backbone(trunk, out_dim, ModelSpec("wrn28_10", arguments))


@final
class ResidualBlock(nn.Module):
    """Three 3x3 convolutions with a 1x1 shortcut, then a max-pool.

    Args:
        n_in: channels of the input.
        n_out: channels of the output.
        drop: dropout probability.
    """

    def __init__(self, n_in: int, n_out: int, drop: float) -> None:
        super().__init__()
        self.branch = FusedSequential(
            *_conv_norm(n_in, n_out),
            nn.LeakyReLU(SLOPE),
            *_conv_norm(n_out, n_out),
            nn.LeakyReLU(SLOPE),
            *_conv_norm(n_out, n_out),
        )
        shortcut = nn.Conv2d(n_in, n_out, 1, bias=False)
        self.shortcut = FusedSequential(shortcut, nn.BatchNorm2d(n_out))
        self.after = nn.Sequential(nn.LeakyReLU(SLOPE), nn.MaxPool2d(2), nn.Dropout(drop))

    def forward(self, x: Float[Tensor, "N i h w"]) -> Float[Tensor, "N o H W"]:
        """Map `[N, n_in, h, w]` to `[N, n_out, h/2, w/2]`."""
        out: Tensor = self.after(self.branch(x) + self.shortcut(x))
        return out


@final
class WideResidualBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU.

    Args:
        n_in: channels of the input.
        n_out: channels of the output.
        stride: stride of the first convolution.
        drop: dropout probability.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, drop: float) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(n_in), nn.ReLU())
        # Only the first convolution comes before a batch norm, so only that one is fused.
        self.branch = FusedSequential(
            nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Dropout(drop),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
        )
        self.shortcut: nn.Conv2d | None = None
        if n_in != n_out or stride != 1:
            self.shortcut = nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False)

    def forward(self, x: Float[Tensor, "N i h w"]) -> Float[Tensor, "N o H W"]:
        """Map `[N, n_in, h, w]` to `[N, n_out, h/stride, w/stride]`."""
        activated = self.before(x)
        # A projection takes the activated input, an identity shortcut the raw one, as in the paper.
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        out: Tensor = self.branch(activated) + shortcut
        return out


def _wide_layers(in_channels: int, depth: int, factor: int, drop: float) -> list[nn.Module]:
    """Return a convolution, three groups of `(depth - 4) / 6` blocks, and the global average."""
    blocks_per_group = (depth - 4) // 6
    blocks: list[nn.Module] = []
    n_in = 16
    for group, width in enumerate((16 * factor, 32 * factor, 64 * factor)):
        for block in range(blocks_per_group):
            # The second and third group halve the image in their first block.
            stride = 2 if group > 0 and block == 0 else 1
            blocks.append(WideResidualBlock(n_in, width, stride, drop))
            n_in = width
    # Built after the blocks: the order of construction decides the weights that a seed gives.
    stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
    return [stem, *blocks, nn.BatchNorm2d(n_in), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]


def _conv_norm(n_in: int, n_out: int) -> list[nn.Module]:
    # The shift of the batch norm makes a bias of the convolution redundant.
    return [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out)]
