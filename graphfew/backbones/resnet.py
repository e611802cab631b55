"""Residual backbones."""

from __future__ import annotations

from collections.abc import Sequence

from graphfew._utils.model_spec import JSON, ModelSpec
from graphfew._utils.seeding import seeded
from graphfew.backbones.base import Backbone, check_drop, check_positive, trunk_of
from graphfew.backbones.residual_layers import residual_layers, wide_layers


def resnet12(
    widths: Sequence[int] = (64, 160, 320, 640),
    in_channels: int = 3,
    size: int = 84,
    drop: float = 0.0,
    seed: int = 0,
) -> Backbone:
    """Four residual blocks of three convolutions, and the mean over places; `[N, in_channels, size, size]` to
    `[N, widths[-1]]`.

    **Source**: Lee, Maji, Ravichandran and Soatto, 2019, Meta-Learning with Differentiable Convex Optimization, their
    code; first in Oreshkin, Rodríguez and Lacoste, 2018, TADAM.
    **Deviations**: plain dropout after each block where theirs is DropBlock; features are averaged over places, as
    those who classify base classes do (theirs keep the map).

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1, `drop` outside `[0, 1)`, other than four widths, or images under 16 pixels.
    """
    check_positive(
        "resnet12",
        in_channels=in_channels,
        size=size,
        **{f"widths[{i}]": w for i, w in enumerate(widths)},
    )
    check_drop("resnet12", drop)
    if len(widths) != 4:
        raise ValueError(
            f"resnet12 got {len(widths)} widths; give four, such as (64, 160, 320, 640)"
        )
    with seeded(seed):
        trunk, flat = trunk_of(
            "resnet12", in_channels, size, residual_layers(in_channels, widths, drop)
        )
    arguments: dict[str, JSON] = {
        "widths": list(widths),
        "in_channels": in_channels,
        "size": size,
        "drop": drop,
    }
    return Backbone(trunk, flat, ModelSpec("resnet12", arguments))


def wrn28_10(
    depth: int = 28,
    factor: int = 10,
    in_channels: int = 3,
    size: int = 84,
    drop: float = 0.0,
    seed: int = 0,
) -> Backbone:
    """A wide residual network and the mean over places; `[N, in_channels, size, size]` to `[N, 64 factor]`.

    **Source**: Zagoruyko and Komodakis, 2016, Wide Residual Networks; in few-shot learning Rusu et al., 2019, LEO, and
    Mangla et al., 2020, Charting the Right Manifold.
    **Deviations**: none.

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1, `drop` outside `[0, 1)`, or a depth that is not 6 n + 4.
    """
    check_positive("wrn28_10", factor=factor, in_channels=in_channels, size=size)
    check_drop("wrn28_10", drop)
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"wrn28_10 got depth={depth}; it must be 6 n + 4, such as 16 or 28")
    with seeded(seed):
        trunk, flat = trunk_of(
            "wrn28_10", in_channels, size, wide_layers(in_channels, depth, factor, drop)
        )
    arguments: dict[str, JSON] = {
        "depth": depth,
        "factor": factor,
        "in_channels": in_channels,
        "size": size,
        "drop": drop,
    }
    return Backbone(trunk, flat, ModelSpec("wrn28_10", arguments))
