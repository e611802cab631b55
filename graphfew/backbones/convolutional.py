"""Backbones of four convolutions."""

from __future__ import annotations

from torch import nn

from graphfew._utils.model_spec import ModelSpec
from graphfew._utils.seeding import seeded
from graphfew.backbones.base import Backbone, check_positive, trunk_of
from graphfew.backbones.fuse_batchnorm import Folding


def conv4(width: int = 64, in_channels: int = 1, size: int = 28, seed: int = 0) -> Backbone:
    """Four blocks of 3x3 convolution, batch norm, 2x2 max-pool and ReLU; `[N, in_channels, size, size]` to `[N, F]`.

    `F` is `width * (size // 16) ** 2`: 64 at 28 pixels, 1600 at 84.

    **Source**: Snell, Swersky and Zemel, 2017, Prototypical Networks for Few-shot Learning.
    **Deviations**: ReLU follows the max-pool. The two commute: every value is the same, for a quarter of the work.

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1, or images under 16 pixels.
    """
    check_positive("conv4", width=width, in_channels=in_channels, size=size)
    with seeded(seed):
        trunk, flat = trunk_of(
            "conv4",
            in_channels,
            size,
            [
                *_block(in_channels, width, nn.ReLU(), bias=True),
                *_block(width, width, nn.ReLU(), bias=True),
                *_block(width, width, nn.ReLU(), bias=True),
                *_block(width, width, nn.ReLU(), bias=True),
            ],
        )
    return Backbone(
        trunk, flat, ModelSpec("conv4", {"width": width, "in_channels": in_channels, "size": size})
    )


def gnn_omniglot(
    out_dim: int = 64, in_channels: int = 1, size: int = 28, seed: int = 0
) -> Backbone:
    """The Omniglot network of the few-shot GNN; `[N, in_channels, size, size]` to `[N, out_dim]`.

    **Source**: Garcia and Bruna, 2018, Few-Shot Learning with Graph Neural Networks; the published code.
    **Deviations**: none from the code (two of its four blocks have neither padding nor max-pool; the paper's text gives
    a max-pool to all four).

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1, or images under 20 pixels.
    """
    check_positive("gnn_omniglot", out_dim=out_dim, in_channels=in_channels, size=size)
    act = nn.LeakyReLU(0.1)
    with seeded(seed):
        trunk, flat = trunk_of(
            "gnn_omniglot",
            in_channels,
            size,
            [
                *_block(in_channels, 64, act, bias=True),
                *_block(64, 64, act, bias=True),
                *_block(64, 64, act, bias=True, padding=0, pool=False),
                *_block(64, 64, act, bias=True, padding=0, pool=False),
            ],
        )
        net = Folding(
            *trunk, nn.Linear(flat, out_dim, bias=False), nn.BatchNorm1d(out_dim), nn.LeakyReLU()
        )
    arguments = {"out_dim": out_dim, "in_channels": in_channels, "size": size}
    return Backbone(net, out_dim, ModelSpec("gnn_omniglot", arguments))


def egnn_conv(out_dim: int = 128, in_channels: int = 3, size: int = 84, seed: int = 0) -> Backbone:
    """EGNN's embedding network (`EmbeddingImagenet`); `[N, in_channels, size, size]` to `[N, out_dim]`.

    **Source**: Kim, Kim, Kim and Yoo, 2019, Edge-Labeling Graph Neural Network for Few-shot Learning; their code.
    **Deviations**: none in the network. The published code encodes one node position at a time, so that its batch norm
    sees only the images which share a position; here it sees every image of the batch.

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1, or images under 20 pixels.
    """
    check_positive("egnn_conv", out_dim=out_dim, in_channels=in_channels, size=size)
    act = nn.LeakyReLU(0.2)
    with seeded(seed):
        trunk, flat = trunk_of(
            "egnn_conv",
            in_channels,
            size,
            [
                *_block(in_channels, 64, act),
                *_block(64, 96, act, padding=0),
                *_block(96, 128, act),
                nn.Dropout2d(0.4),
                *_block(128, 256, act),
                nn.Dropout2d(0.5),
            ],
        )
        net = Folding(*trunk, nn.Linear(flat, out_dim), nn.BatchNorm1d(out_dim))
    arguments = {"out_dim": out_dim, "in_channels": in_channels, "size": size}
    return Backbone(net, out_dim, ModelSpec("egnn_conv", arguments))


def relation_conv(width: int = 64, in_channels: int = 1, size: int = 28, seed: int = 0) -> Backbone:
    """Relation networks' encoder: maps, flattened; `[N, in_channels, size, size]` to `[N, F]`.

    `F` is `width` maps of 5x5 at 28 pixels (1,600), of 19x19 at 84 pixels.

    **Source**: Sung, Yang, Zhang, Xiang, Torr and Hospedales, 2018, Learning to Compare: Relation Network for Few-Shot
    Learning; their code.
    **Deviations**: batch norm keeps running statistics with torch's momentum (theirs keeps those of the last batch).

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1, or images under 10 pixels.
    """
    check_positive("relation_conv", width=width, in_channels=in_channels, size=size)
    with seeded(seed):
        trunk, flat = trunk_of(
            "relation_conv",
            in_channels,
            size,
            [
                *_block(in_channels, width, nn.ReLU(), bias=True, padding=0),
                *_block(width, width, nn.ReLU(), bias=True, padding=0),
                *_block(width, width, nn.ReLU(), bias=True, pool=False),
                *_block(width, width, nn.ReLU(), bias=True, pool=False),
            ],
        )
    return Backbone(
        trunk,
        flat,
        ModelSpec("relation_conv", {"width": width, "in_channels": in_channels, "size": size}),
    )


def _block(
    inputs: int,
    outputs: int,
    activation: nn.Module,
    *,
    bias: bool = False,
    padding: int = 1,
    pool: bool = True,
) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, padding=padding, bias=bias)
    return [convolution, nn.BatchNorm2d(outputs), *([nn.MaxPool2d(2)] if pool else []), activation]
