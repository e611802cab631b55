"""Backbones of four convolutions."""

from __future__ import annotations

from torch import nn

from graphfew._utils.model_spec import ModelSpec
from graphfew._utils.seeding import seeded
from graphfew.backbones.backbone_registry import register_backbone
from graphfew.backbones.base import Backbone, build_trunk, check_positive
from graphfew.backbones.fuse_batchnorm import FusedSequential


@register_backbone
def conv4(width: int = 64, in_channels: int = 1, size: int = 28, seed: int = 0) -> Backbone:
    """Build Conv-4: four blocks of 3x3 convolution, batch norm, 2x2 max-pool and ReLU.

    Args:
        width: channels of each convolution.
        in_channels: channels of the images.
        size: height and width of the images.
        seed: seed of the initial weights.

    Returns:
        A backbone from `[N, in_channels, size, size]` to `[N, F]` with
        `F = width * (size // 16) ** 2`: 64 at 28 pixels, 1600 at 84.

    Raises:
        InvalidInputError: a number is below 1, or images have less than 16 pixels.

    Example:
        >>> from graphfew import backbones
        >>> backbones.conv4(in_channels=3, size=84).out_dim
        1600

    Source:
        Snell, Swersky and Zemel, 2017, Prototypical Networks for Few-shot Learning.

    Deviations:
        ReLU follows the max-pool. The two commute, so all values are the same, for a quarter of
        the work.
    """
    check_positive("conv4", width=width, in_channels=in_channels, size=size)
    with seeded(seed):
        layers = [
            *_block(in_channels, width, nn.ReLU(), bias=True),
            *_block(width, width, nn.ReLU(), bias=True),
            *_block(width, width, nn.ReLU(), bias=True),
            *_block(width, width, nn.ReLU(), bias=True),
        ]
        trunk, out_dim = build_trunk("conv4", in_channels, size, layers)
    arguments = {"width": width, "in_channels": in_channels, "size": size}
    return Backbone(trunk, out_dim, ModelSpec("conv4", arguments))


@register_backbone
def gnn_omniglot(
    out_dim: int = 64, in_channels: int = 1, size: int = 28, seed: int = 0
) -> Backbone:
    """Build the Omniglot encoder of the few-shot GNN.

    Args:
        out_dim: features per image.
        in_channels: channels of the images.
        size: height and width of the images.
        seed: seed of the initial weights.

    Returns:
        A backbone from `[N, in_channels, size, size]` to `[N, out_dim]`.

    Raises:
        InvalidInputError: a number is below 1, or images have less than 20 pixels.

    Example:
        >>> from graphfew import backbones
        >>> backbones.gnn_omniglot().out_dim
        64

    Source:
        Garcia and Bruna, 2018, Few-Shot Learning with Graph Neural Networks; the published code.

    Deviations:
        None from the code, in which two of the four blocks have neither padding nor max-pool. In
        the text of the paper all four have a max-pool.
    """
    check_positive("gnn_omniglot", out_dim=out_dim, in_channels=in_channels, size=size)
    # Activations have no state, so one instance serves all blocks.
    activation = nn.LeakyReLU(0.1)
    with seeded(seed):
        layers = [
            *_block(in_channels, 64, activation, bias=True),
            *_block(64, 64, activation, bias=True),
            *_block(64, 64, activation, bias=True, padding=0, pool=False),
            *_block(64, 64, activation, bias=True, padding=0, pool=False),
        ]
        trunk, flat_dim = build_trunk("gnn_omniglot", in_channels, size, layers)
        projection = nn.Linear(flat_dim, out_dim, bias=False)
        # One flat sequence: a nested trunk would change the keys of saved weights.
        net = FusedSequential(*trunk, projection, nn.BatchNorm1d(out_dim), nn.LeakyReLU())
    arguments = {"out_dim": out_dim, "in_channels": in_channels, "size": size}
    return Backbone(net, out_dim, ModelSpec("gnn_omniglot", arguments))


@register_backbone
def egnn_conv(out_dim: int = 128, in_channels: int = 3, size: int = 84, seed: int = 0) -> Backbone:
    """Build the image encoder of EGNN (`EmbeddingImagenet`).

    Args:
        out_dim: features per image.
        in_channels: channels of the images.
        size: height and width of the images.
        seed: seed of the initial weights.

    Returns:
        A backbone from `[N, in_channels, size, size]` to `[N, out_dim]`.

    Raises:
        InvalidInputError: a number is below 1, or images have less than 20 pixels.

    Example:
        >>> from graphfew import backbones
        >>> backbones.egnn_conv(size=28).out_dim
        128

    Source:
        Kim, Kim, Kim and Yoo, 2019, Edge-Labeling Graph Neural Network for Few-shot Learning;
        the published code.

    Deviations:
        None in the network. The published code encodes one node position at a time, so that batch
        norm sees only the images of that position; here it sees all images of the batch.
    """
    check_positive("egnn_conv", out_dim=out_dim, in_channels=in_channels, size=size)
    activation = nn.LeakyReLU(0.2)
    with seeded(seed):
        layers = [
            *_block(in_channels, 64, activation),
            *_block(64, 96, activation, padding=0),
            *_block(96, 128, activation),
            nn.Dropout2d(0.4),
            *_block(128, 256, activation),
            nn.Dropout2d(0.5),
        ]
        trunk, flat_dim = build_trunk("egnn_conv", in_channels, size, layers)
        net = FusedSequential(*trunk, nn.Linear(flat_dim, out_dim), nn.BatchNorm1d(out_dim))
    arguments = {"out_dim": out_dim, "in_channels": in_channels, "size": size}
    return Backbone(net, out_dim, ModelSpec("egnn_conv", arguments))


@register_backbone
def relation_conv(width: int = 64, in_channels: int = 1, size: int = 28, seed: int = 0) -> Backbone:
    """Build the encoder of relation networks, whose feature maps are flattened.

    Args:
        width: channels of each convolution.
        in_channels: channels of the images.
        size: height and width of the images.
        seed: seed of the initial weights.

    Returns:
        A backbone from `[N, in_channels, size, size]` to `[N, F]`: `width` maps of 5x5 at 28
        pixels (F = 1600), of 19x19 at 84 pixels.

    Raises:
        InvalidInputError: a number is below 1, or images have less than 10 pixels.

    Example:
        >>> from graphfew import backbones
        >>> backbones.relation_conv().out_dim
        1600

    Source:
        Sung, Yang, Zhang, Xiang, Torr and Hospedales, 2018, Learning to Compare: Relation Network
        for Few-Shot Learning; the published code.

    Deviations:
        Batch norm keeps running statistics with torch's momentum; the published code keeps those
        of the last batch.
    """
    check_positive("relation_conv", width=width, in_channels=in_channels, size=size)
    with seeded(seed):
        layers = [
            *_block(in_channels, width, nn.ReLU(), bias=True, padding=0),
            *_block(width, width, nn.ReLU(), bias=True, padding=0),
            *_block(width, width, nn.ReLU(), bias=True, pool=False),
            *_block(width, width, nn.ReLU(), bias=True, pool=False),
        ]
        trunk, out_dim = build_trunk("relation_conv", in_channels, size, layers)
    arguments = {"width": width, "in_channels": in_channels, "size": size}
    return Backbone(trunk, out_dim, ModelSpec("relation_conv", arguments))


def _block(
    n_in: int,
    n_out: int,
    activation: nn.Module,
    *,
    bias: bool = False,
    padding: int = 1,
    pool: bool = True,
) -> list[nn.Module]:
    """Return a 3x3 convolution, batch norm, optional 2x2 max-pool, and the activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(n_in, n_out, kernel_size=3, padding=padding, bias=bias),
        nn.BatchNorm2d(n_out),
    ]
    # Max-pooling commutes with a monotone activation, which then sees a quarter of the values.
    if pool:
        layers.append(nn.MaxPool2d(2))
    layers.append(activation)
    return layers
