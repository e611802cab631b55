"""The backbones by name: `create` builds one from its name or from the spec of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from graphfew._utils.model_spec import JSON, ModelSpec
from graphfew.backbones.base import Backbone, ShapeCheck, check_positive
from graphfew.errors import ConfigurationError

Factory = TypeVar("Factory", bound=Callable[..., Backbone])

BACKBONES: Final[dict[str, Callable[..., Backbone]]] = {}


def register_backbone(factory: Factory) -> Factory:
    """Add a factory to `BACKBONES` under the name of the function.

    A checkpoint stores the factory's name and arguments, so both must stay valid once models have
    been saved.

    Args:
        factory: returns a `Backbone` whose spec has the factory's name; takes a `seed`.

    Returns:
        The factory.

    Example:
        >>> from graphfew import backbones
        >>> @backbones.register_backbone
        ... def tiny_conv(width: int = 4, seed: int = 0) -> backbones.Backbone:
        ...     return backbones.conv4(width=width, seed=seed)
        >>> backbones.create("tiny_conv").out_dim
        4
        >>> del backbones.BACKBONES["tiny_conv"]
    """
    BACKBONES[factory.__name__] = factory
    return factory


def create(backbone: str | ModelSpec, /, **arguments: JSON) -> Backbone:
    """Build a backbone by name, or from a spec.

    Args:
        backbone: a name of `BACKBONES`, or a spec.
        **arguments: arguments of the factory; they override those of the spec.

    Returns:
        The backbone.

    Raises:
        ConfigurationError: the name is unknown.
        InvalidInputError: as the factory.

    Example:
        >>> from graphfew import backbones
        >>> encoder = backbones.create("conv4", width=8)
        >>> backbones.create(encoder.spec, width=16).out_dim
        16
    """
    spec = ModelSpec(backbone, {}) if isinstance(backbone, str) else backbone
    if spec.name not in BACKBONES:
        names = ", ".join(sorted(BACKBONES))
        raise ConfigurationError(f"unknown backbone {spec.name!r}; expected one of {names}")
    return BACKBONES[spec.name](**{**spec.arguments, **arguments})


def build_inner(encoder: Backbone | Mapping[str, JSON], seed: int) -> tuple[Backbone, JSON]:
    """Return the encoder that a wrapper holds, and the JSON form of its spec.

    A mapping with name and arguments, as it comes from the spec of a checkpoint, is built first.
    """
    # Wrappers of wrappers are built recursively, from the inside out.
    if not isinstance(encoder, Backbone):
        spec = ModelSpec(str(encoder["name"]), encoder["arguments"])  # type: ignore[arg-type]
        encoder = create(spec, seed=seed)
    return encoder, {"name": encoder.spec.name, "arguments": dict(encoder.spec.arguments)}


@register_backbone
def identity(dim: int, seed: int = 0) -> Backbone:
    """Return a backbone that passes features through, `[N, dim]` to `[N, dim]`.

    Args:
        dim: width of the features.
        seed: unused, because there are no weights; every factory takes it.

    Returns:
        The backbone.

    Raises:
        InvalidInputError: `dim` is below 1.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> backbones.identity(3)(torch.ones(1, 3))
        tensor([[1., 1., 1.]])
    """
    del seed
    check_positive("identity", dim=dim)
    return Backbone(ShapeCheck("identity", dim), dim, ModelSpec("identity", {"dim": dim}))
