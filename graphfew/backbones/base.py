"""`Backbone`: an encoder with a known width and a recipe, and what its factories share."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import final

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from graphfew._utils.model_spec import ModelSpec
from graphfew._utils.patching import patched_attributes
from graphfew.backbones.fuse_batchnorm import Folding

# 64 maps of so many pixels take 26 MB; from 32 MB on glibc asks the system for new pages, zeroed, at every layer.
PIXELS = 100_000


@final
class Backbone(nn.Module):
    """An encoder with a known output width and the recipe that builds it again.

    Images travel in the channels-last memory format, which is faster on CPU and GPU and changes no value.

    Args:
        net: takes items `[N, ...]` and gives features `[N, out_dim]`.
        out_dim: features per item.
        spec: the factory and its arguments, for checkpoints.
    """

    def __init__(self, net: nn.Module, out_dim: int, spec: ModelSpec) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.out_dim = out_dim
        self.spec = spec
        self.precision = torch.float32

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Shaped[Tensor, "N F"]:
        """`x [N, ...]` to `[N, out_dim]`.

        Raises:
            ValueError: items of another shape than the backbone was built for.
        """
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
        if self.precision == torch.float32:
            return self._features(x)
        with torch.autocast(x.device.type, dtype=self.precision):
            return self._features(x).float()

    def _features(self, x: Tensor) -> Tensor:
        """The net's features; images on a CPU by parts where nothing joins them, no hook either."""
        part = (
            max(1, PIXELS // x[0, 0].numel())
            if x.ndim == 4 and len(x) and x.device.type == "cpu"
            else len(x)
        )
        joined = any(
            m.training or m._forward_hooks or m._forward_pre_hooks for m in self.net.modules()
        )
        if len(x) <= part or torch.is_grad_enabled() or joined:
            features: Tensor = self.net(x)
            return features
        return torch.cat([self.net(images) for images in torch.split(x, part)])


def encoding_in(model: nn.Module, precision: torch.dtype) -> AbstractContextManager[None]:
    """Inside the block every `Backbone` of the model multiplies in this precision; weights and features stay float32.

    Raises:
        ValueError: neither float32, bfloat16 nor float16.
    """
    if precision not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(
            f"precision is {precision}; give torch.float32, torch.bfloat16 or torch.float16"
        )
    return patched_attributes(
        (m for m in model.modules() if isinstance(m, Backbone)), "precision", precision
    )


@final
class Expect(nn.Module):
    """Passes `[N, *shape]` on and refuses anything else."""

    def __init__(self, name: str, *shape: int) -> None:
        super().__init__()
        self.name, self.shape = name, shape

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Shaped[Tensor, "N ..."]:
        """The same tensor. Raises ValueError where its items have another shape."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"{self.name} got items of shape {tuple(x.shape[1:])} but was built for {self.shape}; "
                f"{_advice(self.name, tuple(x.shape[1:]))}"
            )
        return x

    def extra_repr(self) -> str:
        return f"{self.name!r}, {self.shape}"


def trunk_of(
    name: str, in_channels: int, size: int, layers: list[nn.Module]
) -> tuple[nn.Sequential, int]:
    """The layers between a shape check and a flattening, and how many features come out."""
    trunk = Folding(Expect(name, in_channels, size, size), *layers, nn.Flatten()).eval()
    try:
        with torch.no_grad():
            flat = trunk(torch.zeros(1, in_channels, size, size)).shape[1]
    except RuntimeError as error:
        raise ValueError(
            f"{name} got size={size}: nothing is left of so small an image after its convolutions and "
            "max-pools; give larger images, or use another backbone"
        ) from error
    return trunk.train(), flat


def check_positive(name: str, **numbers: int) -> None:
    """Raises ValueError where a number is below 1."""
    for key, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name} got {key}={value}; it must be at least 1")


def check_drop(name: str, drop: float) -> None:
    """Raises ValueError where a share lies outside `[0, 1)`."""
    if not 0 <= drop < 1:
        raise ValueError(f"{name} got drop={drop}; it must be at least 0 and below 1")


def _advice(name: str, came: tuple[int, ...]) -> str:
    if len(came) == 1:
        return f"features of {came[0]} numbers need identity(dim={came[0]})"
    if name == "identity":
        return "flatten the items, or use a backbone for images"
    if len(came) == 3 and came[1] == came[2]:
        return f"build {name} with in_channels={came[0]}, size={came[1]}, or change the images"
    return "change the items, or use another backbone"
