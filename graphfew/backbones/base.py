"""`Backbone`: an encoder with a known output width and the spec that builds it again."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import final

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from graphfew._utils.model_spec import ModelSpec
from graphfew._utils.patching import patched_attributes
from graphfew.backbones.fuse_batchnorm import FusedSequential
from graphfew.errors import InvalidInputError

# Pixels per chunk of images on a CPU. 64 feature maps of this many pixels take 26 MB; from 32 MB
# on, glibc allocates every layer's output as new, zeroed pages of the operating system.
MAX_PIXELS = 100_000


@final
class Backbone(nn.Module):
    """An encoder with a known output width and the spec that builds it again.

    Images are converted to the channels-last memory format, which is faster on CPU and GPU and
    does not change values.

    Args:
        net: maps items `[N, ...]` to features `[N, out_dim]`.
        out_dim: features per item.
        spec: name and arguments of the factory, for checkpoints.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> encoder = backbones.conv4(width=8)
        >>> encoder(torch.zeros(2, 1, 28, 28)).shape, encoder.out_dim
        (torch.Size([2, 8]), 8)
    """

    def __init__(self, net: nn.Module, out_dim: int, spec: ModelSpec) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.out_dim = out_dim
        self.spec = spec
        self.precision = torch.float32

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Shaped[Tensor, "N F"]:
        """Encode items.

        Args:
            x: items, `[N, ...]`.

        Returns:
            Features, `[N, out_dim]`.

        Raises:
            InvalidInputError: the items do not have the shape that the backbone was built for.
        """
        if x.ndim == 4:
            x = _channels_last(x)
        if self.precision == torch.float32:
            return self._encode(x)
        # Autocast instead of `half()`: weights stay float32, so the precision can change at any
        # time.
        with torch.autocast(x.device.type, dtype=self.precision):
            return self._encode(x).float()

    def _encode(self, x: Tensor) -> Tensor:
        chunk_size = self._chunk_size(x)
        if x.shape[0] <= chunk_size:
            features: Tensor = self.net(x)
            return features
        return torch.cat([self.net(chunk) for chunk in torch.split(x, chunk_size)])

    def _chunk_size(self, x: Tensor) -> int:
        """Return how many items to encode at once: all, except images on a CPU in evaluation."""
        if x.ndim != 4 or not len(x) or x.device.type != "cpu" or torch.is_grad_enabled():
            return x.shape[0]
        for module in self.net.modules():
            # Batch norm in training depends on the whole batch, and a hook may look at it.
            if module.training or module._forward_hooks or module._forward_pre_hooks:
                return len(x)
        # At least one: a single image may exceed a chunk.
        return max(1, MAX_PIXELS // x[0, 0].numel())


def _channels_last(x: Tensor) -> Tensor:
    """Return images in the channels-last memory format."""
    if x.shape[1] != 1:
        return x.contiguous(memory_format=torch.channels_last)
    # Images of one channel have both formats. torch takes them for channels-first, unless the
    # channel has a stride of 1, and all layers keep the format of the first.
    return x.contiguous()[:, 0, :, :, None].permute(0, 3, 1, 2)


def encoder_precision(model: nn.Module, precision: torch.dtype) -> AbstractContextManager[None]:
    """Run all backbones of a model in the given precision inside a `with` block.

    Weights and features stay float32; only products inside the backbones change.

    Args:
        model: a model that contains backbones.
        precision: `torch.float32`, `torch.bfloat16` or `torch.float16`.

    Returns:
        A context manager.

    Raises:
        InvalidInputError: another dtype.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> encoder = backbones.conv4(width=8)
        >>> with backbones.encoder_precision(encoder, torch.bfloat16):
        ...     print(encoder(torch.zeros(2, 1, 28, 28)).dtype)
        torch.float32
    """
    if precision not in (torch.float32, torch.bfloat16, torch.float16):
        raise InvalidInputError(
            f"precision is {precision}; give torch.float32, torch.bfloat16 or torch.float16"
        )
    backbones = [module for module in model.modules() if isinstance(module, Backbone)]
    return patched_attributes(backbones, "precision", precision)


@final
class ShapeCheck(nn.Module):
    """Returns its input, and raises if items do not have the expected shape.

    Args:
        name: name of the backbone, for the message.
        *shape: expected shape of an item.
    """

    def __init__(self, name: str, *shape: int) -> None:
        super().__init__()
        self.name, self.shape = name, shape

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Shaped[Tensor, "N ..."]:
        """Check `x [N, *shape]` and return it."""
        shape = tuple(x.shape[1:])
        if shape != self.shape:
            raise InvalidInputError(
                f"{self.name} got items of shape {shape} but was built for {self.shape}; "
                f"{_shape_advice(self.name, shape)}"
            )
        return x

    def extra_repr(self) -> str:
        return f"{self.name!r}, {self.shape}"


def build_trunk(
    name: str, in_channels: int, size: int, layers: list[nn.Module]
) -> tuple[nn.Sequential, int]:
    """Put the layers between a shape check and a flattening, and measure the output width."""
    trunk = FusedSequential(ShapeCheck(name, in_channels, size, size), *layers, nn.Flatten())
    # In evaluation mode the test image changes no running statistics.
    trunk.eval()
    try:
        with torch.no_grad():
            out_dim = trunk(torch.zeros(1, in_channels, size, size)).shape[1]
    # What torch raises if a kernel or a pooling window is larger than its input.
    except RuntimeError as error:
        raise InvalidInputError(
            f"{name} got size={size}: its convolutions and max-pools reduce such an image to "
            "nothing; give larger images, or use another backbone"
        ) from error
    return trunk.train(), out_dim


def check_positive(name: str, **numbers: int) -> None:
    """Raise InvalidInputError if a number is below 1."""
    for key, value in numbers.items():
        if value < 1:
            raise InvalidInputError(f"{name} got {key}={value}; it must be at least 1")


def check_dropout(name: str, drop: float) -> None:
    """Raise InvalidInputError if a dropout probability is not in `[0, 1)`."""
    if not 0 <= drop < 1:
        raise InvalidInputError(f"{name} got drop={drop}; it must be at least 0 and below 1")


def _shape_advice(name: str, shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return f"features of {shape[0]} numbers need identity(dim={shape[0]})"
    if name == "identity":
        return "flatten the items, or use a backbone for images"
    if len(shape) == 3 and shape[1] == shape[2]:
        return f"build {name} with in_channels={shape[0]}, size={shape[1]}, or change the images"
    return "change the items, or use another backbone"
