"""Backbones: networks that turn items into feature vectors. Each is a factory that returns a `Backbone`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from graphfew._utils.model_spec import JSON, ModelSpec
from graphfew.backbones.base import Backbone, Expect, check_positive, encoding_in
from graphfew.backbones.convolutional import conv4, egnn_conv, gnn_omniglot, relation_conv
from graphfew.backbones.external import (
    FunctionEncoder,
    HuggingFaceEncoder,
    mean_pool,
    pooler_output,
    tokenize,
)
from graphfew.backbones.principal_components import PrincipalComponents
from graphfew.backbones.resnet import resnet12, wrn28_10
from graphfew.backbones.text import bilstm, conv_text
from graphfew.backbones.wrappers import AffineTTA, ConcatEncoders, FlipTTA

__all__ = [
    "BACKBONES",
    "Backbone",
    "FunctionEncoder",
    "HuggingFaceEncoder",
    "affine_tta",
    "bilstm",
    "concat",
    "conv4",
    "conv_text",
    "create",
    "egnn_conv",
    "encoding_in",
    "flip_tta",
    "gnn_omniglot",
    "identity",
    "mean_pool",
    "pca",
    "pooler_output",
    "relation_conv",
    "resnet12",
    "tokenize",
    "wrn28_10",
]

# The copies are part of what a trained head has seen, so they never change.
_JITTER_SEED = 0


def affine_tta(
    encoder: Backbone | Mapping[str, JSON], copies: int = 8, strength: float = 1.0, seed: int = 0
) -> Backbone:
    """An encoder of images whose features are averaged over affine copies of each; `[N, c, h, w]` to `[N, out_dim]`.

    The changes are the same for every image, and always the same, so answers stay independent of one another.

    Args:
        encoder: a backbone, whose weights it shares, or the name and arguments of one, its weights drawn from `seed`.
        copies: how many, the image itself among them; encoding takes as many times as long.
        strength: factor on the changes, see `graphfew.data.augment.affine`.

    Raises:
        ValueError: a number below 1, or a strength that is not positive.
    """
    check_positive("affine_tta", copies=copies)
    if not 0 < strength < float("inf"):
        raise ValueError(f"jittered got strength={strength}; it must be positive and finite")
    inner, told = _inner(encoder, seed)
    arguments: dict[str, JSON] = {"encoder": told, "copies": copies, "strength": strength}
    return Backbone(
        AffineTTA(inner, copies, strength, _JITTER_SEED),
        inner.out_dim,
        ModelSpec("affine_tta", arguments),
    )


def flip_tta(encoder: Backbone | Mapping[str, JSON], shift: int = 2, seed: int = 0) -> Backbone:
    """An encoder of images whose features are averaged over each image and its mirror, as they are and moved by `shift`
    pixels up, down, left and right; `[N, c, h, w]` to `[N, out_dim]`.

    For images that mean the same in a mirror, such as photographs; not for characters. Encoding takes ten times as
    long.

    Args:
        encoder: a backbone, whose weights it shares, or the name and arguments of one, its weights drawn from `seed`.
        shift: pixels; 0 only mirrors.

    Raises:
        ValueError: a negative shift.
    """
    if shift < 0:
        raise ValueError(f"mirrored got shift={shift}; it must be 0 or more pixels")
    inner, told = _inner(encoder, seed)
    return Backbone(
        FlipTTA(inner, shift),
        inner.out_dim,
        ModelSpec("flip_tta", {"encoder": told, "shift": shift}),
    )


def concat(encoders: Sequence[Backbone | Mapping[str, JSON]], seed: int = 0) -> Backbone:
    """Several encoders of the same items, their features side by side; `[N, ...]` to `[N, sum of their widths]`.

    Under squared distances the logits of prototypes on it are the sums of those on each, so this is the ensemble of
    nets that were trained apart.

    Args:
        encoders: backbones, whose weights it shares, or the names and arguments of some, their weights drawn from
            `seed`, `seed + 1` and so on.

    Raises:
        ValueError: none is given.
    """
    if not encoders:
        raise ValueError("together got no encoder; give at least one")
    parts = [_inner(encoder, seed + number) for number, encoder in enumerate(encoders)]
    told: list[JSON] = [recipe for _, recipe in parts]
    return Backbone(
        ConcatEncoders([inner for inner, _ in parts]),
        sum(inner.out_dim for inner, _ in parts),
        ModelSpec("concat", {"encoders": told}),
    )


def pca(encoder: Backbone | Mapping[str, JSON], components: int, seed: int = 0) -> Backbone:
    """An encoder whose features are brought to one length and turned to their principal components; `[N, ...]` to
    `[N, components]`, each of length `sqrt(components)`.

    The directions are part of the weights. `encoder.net.fit(features)` finds them, best from the features of what the
    inner encoder learned from; `graphfew train --components` does so by itself. Until then they are the first axes.

    Args:
        encoder: a backbone, whose weights it shares, or the name and arguments of one, its weights drawn from `seed`.
        components: how many, at most the encoder's width.

    Raises:
        ValueError: a number of components below 1 or above the encoder's width.
    """
    inner, told = _inner(encoder, seed)
    if not 1 <= components <= inner.out_dim:
        raise ValueError(
            f"principal got components={components}; the encoder's {inner.out_dim} features have 1 to "
            f"{inner.out_dim} principal components"
        )
    arguments: dict[str, JSON] = {"encoder": told, "components": components}
    return Backbone(
        PrincipalComponents(inner, inner.out_dim, components),
        components,
        ModelSpec("pca", arguments),
    )


def identity(dim: int, seed: int = 0) -> Backbone:
    """Features that are ready for use, passed through; `[N, dim]` to `[N, dim]`. Has no weights: `seed` is not used.

    Raises:
        ValueError: `dim` below 1.
    """
    del seed
    check_positive("identity", dim=dim)
    return Backbone(Expect("identity", dim), dim, ModelSpec("identity", {"dim": dim}))


BACKBONES: Final[dict[str, Callable[..., Backbone]]] = {
    "conv4": conv4,
    "gnn_omniglot": gnn_omniglot,
    "egnn_conv": egnn_conv,
    "relation_conv": relation_conv,
    "conv_text": conv_text,
    "bilstm": bilstm,
    "resnet12": resnet12,
    "wrn28_10": wrn28_10,
    "affine_tta": affine_tta,
    "flip_tta": flip_tta,
    "pca": pca,
    "concat": concat,
    "identity": identity,
}


def _inner(encoder: Backbone | Mapping[str, JSON], seed: int) -> tuple[Backbone, JSON]:
    """The encoder that another one holds, and how its recipe tells of it."""
    if not isinstance(encoder, Backbone):
        encoder = create(ModelSpec(str(encoder["name"]), encoder["arguments"]), seed=seed)  # type: ignore[arg-type]
    return encoder, {"name": encoder.spec.name, "arguments": dict(encoder.spec.arguments)}


def create(backbone: str | ModelSpec, /, **arguments: JSON) -> Backbone:
    """The backbone of that name, or of a recipe; `arguments` go to its factory and win over the recipe's.

    Raises:
        ValueError: a name that is not in `catalog`, or what the factory raises.
    """
    recipe = ModelSpec(backbone, {}) if isinstance(backbone, str) else backbone
    if recipe.name not in BACKBONES:
        raise ValueError(
            f"no backbone is called {recipe.name!r}; known: {', '.join(sorted(BACKBONES))}"
        )
    return BACKBONES[recipe.name](**{**recipe.arguments, **arguments})
