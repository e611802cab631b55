"""Encoders that others wrote: any callable, and models with the interface of Hugging Face's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

Take = Callable[[Any, Tensor | None], Tensor]
Call = Callable[[nn.Module, Tensor, Tensor | None], Any]


@final
class FunctionEncoder(nn.Module):
    """Any function of items as an encoder.

    It has no weights: what `fn` closes over is neither trained, moved nor saved with a model. A network belongs in a
    module of its own, which is an encoder as it is.

    Args:
        fn: `[N, ...] -> [N, F]`.
        out_dim: F, where it is known.
    """

    def __init__(self, fn: Callable[[Tensor], Tensor], out_dim: int | None = None) -> None:
        super().__init__()
        self.fn = fn
        self.out_dim = out_dim

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Tensor:
        """`[N, ...]` to `[N, F]`. Raises as `check_features` does."""
        return check_features(
            self.fn(x), len(x), self.out_dim, getattr(self.fn, "__name__", type(self.fn).__name__)
        )


def as_module(encoder: nn.Module | Callable[[Tensor], Tensor], dim: int | None = None) -> nn.Module:
    """A module as it is, any other callable in an `Encoder`.

    Raises:
        TypeError: neither.
    """
    if isinstance(encoder, nn.Module):
        return encoder
    if not callable(encoder) or isinstance(encoder, type):
        raise TypeError(
            f"the encoder is {encoder!r}; give a module or a function that takes items [N, ...] and gives "
            "features [N, F]"
        )
    return FunctionEncoder(encoder, dim)


def check_features(found: Any, items: int, dim: int | None, name: str) -> Tensor:
    """The features, where they are `[items, dim]` and floating.

    Raises:
        TypeError: no tensor, or none of a floating type.
        ValueError: another shape.
    """
    if not isinstance(found, Tensor) or not found.dtype.is_floating_point:
        came = (
            f"a tensor of {found.dtype}"
            if isinstance(found, Tensor)
            else f"a {type(found).__name__}"
        )
        raise TypeError(
            f"the encoder {name} gives {came}; it must give features as a floating tensor [N, F]"
        )
    if found.ndim != 2 or len(found) != items or dim not in (None, found.shape[1]):
        raise ValueError(
            f"the encoder {name} gives features of shape {tuple(found.shape)} for {items} items; they "
            f"must be [{items}, {'F' if dim is None else dim}]: flatten or pool them, or tell the width "
            "(dim= or out_dim=)"
        )
    return found


def mean_pool(output: Any, mask: Bool[Tensor, "N L"] | None) -> Float[Tensor, "N F"]:
    """The mean of `last_hidden_state`, `[N, L, F]` over the tokens that the mask marks, or `[N, F, h, w]` over all
    places. Zero where no token is marked. Raises KeyError where the output has none."""
    states = _field(output, "last_hidden_state")
    if states is None:
        raise KeyError("last_hidden_state")
    if states.ndim == 4:
        return states.mean((2, 3))
    if mask is None:
        return states.mean(1)
    share = mask[..., None].to(states.dtype)
    mean: Tensor = (states * share).sum(1) / share.sum(1).clamp_min(1)
    return mean


def pooler_output(output: Any, mask: Bool[Tensor, "N L"] | None) -> Float[Tensor, "N F"]:
    """`pooler_output`, where the output has it, else `image_embeds` or `text_embeds`, else `mean_of_tokens`.

    Raises:
        TypeError: an output with none of them.
    """
    for name in ("pooler_output", "image_embeds", "text_embeds"):
        found = _field(output, name)
        if found is not None:
            return found.flatten(1)
    if _field(output, "last_hidden_state") is None:
        has = (
            ", ".join(output)
            if isinstance(output, Mapping)
            else ", ".join(getattr(output, "__dict__", {})) or "none"
        )
        raise TypeError(
            f"the model gives a {type(output).__name__} with fields {has}; it needs pooler_output, "
            "image_embeds, text_embeds or last_hidden_state, or pass take= a function of the output and "
            "the mask (a tuple comes from return_dict=False)"
        )
    return mean_pool(output, mask)


def call_by_keyword(model: nn.Module, x: Tensor, mask: Tensor | None) -> Any:
    """Token ids as `input_ids` with an `attention_mask`, anything else as `pixel_values`."""
    if mask is None:
        return model(pixel_values=x)
    return model(input_ids=x, attention_mask=mask.to(torch.int64))


@final
class HuggingFaceEncoder(nn.Module):
    """A model with the interface of Hugging Face's as an encoder of images `[N, c, h, w]` or token ids `[N, L]`.

    Only the interface counts: keyword arguments `pixel_values`, or `input_ids` and `attention_mask`, and an output with
    named fields, as attributes or keys. Ids that are padding get no attention. Images go in, and features come out, in
    the model's own precision; features are float32 at least.

    `gf.save` writes the model's weights with all others, but no recipe: `gf.load` needs an equal model, built anew
    (by `transformers` from its configuration), as `into=`.

    Args:
        model: takes its items by `call`.
        out_dim: width of the features; None reads `hidden_size`, or the last of `hidden_sizes`, of `model.config`.
        take: `(output, mask [N, L] or None) -> [N, out_dim]`; see `pooled` and `mean_of_tokens`, which is often the
            better one for texts.
        pad: the id of padding; None reads `pad_token_id` of `model.config`.
        prepare: applied to the items first, such as a resizing and normalizing of images.
        frozen: the weights are set to want no gradients, and the model stays in evaluation mode; False trains them.
        call: `(model, x, mask or None) -> output`.

    Raises:
        ValueError: no width is given, and the configuration does not tell it.
    """

    def __init__(
        self,
        model: nn.Module,
        out_dim: int | None = None,
        *,
        take: Take = pooler_output,
        pad: int | None = None,
        prepare: Callable[[Tensor], Tensor] | None = None,
        frozen: bool = True,
        call: Call = call_by_keyword,
    ) -> None:
        super().__init__()
        config = getattr(model, "config", None)
        sizes = getattr(config, "hidden_sizes", None)
        width = (
            out_dim
            if out_dim is not None
            else getattr(config, "hidden_size", sizes[-1] if sizes else None)
        )
        if width is None:
            raise ValueError(
                f"the configuration of {type(model).__name__} does not tell the features' width; pass "
                "out_dim="
            )
        self.model, self.out_dim = model, int(width)
        self.take, self.call, self.prepare = take, call, prepare
        self.pad = pad if pad is not None else getattr(config, "pad_token_id", None)
        self.frozen = frozen
        if frozen:
            model.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> HuggingFaceEncoder:
        """As of any module; a frozen model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N F"]:
        """Items to features `[N, out_dim]`.

        Raises:
            TypeError: an output without the features looked for.
            ValueError: items that are neither images nor token ids, ids without a known padding id, or features of
                another shape.
        """
        x = x if self.prepare is None else self.prepare(x)
        if self.call is call_by_keyword and x.dtype != torch.int64 and x.ndim < 4:
            raise ValueError(
                f"{type(self.model).__name__} got items of shape {tuple(x.shape[1:])}, {x.dtype}; give "
                "images [N, c, h, w] or token ids [N, L] of int64 (a Dataset keeps them; data.arrays "
                "makes them float32), or pass call="
            )
        own = next((p.dtype for p in self.model.parameters()), torch.float32)
        mask = self._mask(x) if x.dtype == torch.int64 else None
        given = x if mask is not None or self.call is not call_by_keyword else x.to(own)
        found = check_features(
            self.take(self.call(self.model, given, mask), mask),
            len(x),
            self.out_dim,
            type(self.model).__name__,
        )
        wanted = (
            x.dtype
            if x.dtype.is_floating_point
            else torch.promote_types(found.dtype, torch.float32)
        )
        return found.to(wanted)

    def _mask(self, x: Int[Tensor, "N ..."]) -> Bool[Tensor, "N ..."]:
        if self.pad is None:
            raise ValueError(
                f"the configuration of {type(self.model).__name__} has no pad_token_id; pass pad=, the id "
                "that fills up short items"
            )
        return x != self.pad


def tokenize(
    tokenizer: Callable[..., Any],
    texts: Sequence[str],
    *,
    length: int | None = None,
    pad: int | None = None,
) -> Int[Tensor, "N L"]:
    """Token ids `[N, L]`, int64, filled up with padding on one length: the items of an `Episode` or `Dataset` of texts.

    Args:
        tokenizer: called as Hugging Face's are, `(texts, padding=..., truncation=True, max_length=...,
            return_tensors="pt")`, and gives `input_ids` and `attention_mask`.
        texts: at least one.
        length: L, all texts being cut and filled up to it, so that items made at other times fit together; None takes
            the longest text's.
        pad: the padding id; None reads the tokenizer's `pad_token_id`.

    Raises:
        ValueError: no texts, no padding id, or one that stands for more than padding, so that the mask could not be
            told from the ids.
    """
    pad = getattr(tokenizer, "pad_token_id", None) if pad is None else pad
    if not len(texts) or pad is None:
        raise ValueError(
            "tokenize got no texts"
            if not len(texts)
            else "the tokenizer has no pad_token_id; pass pad="
        )
    found = tokenizer(
        list(texts),
        padding=True if length is None else "max_length",
        truncation=True,
        max_length=length,
        return_tensors="pt",
    )
    ids, mask = (torch.as_tensor(found[name]) for name in ("input_ids", "attention_mask"))
    if not torch.equal(ids != pad, mask.bool()):
        item = int(((ids != pad) != mask.bool()).any(1).nonzero()[0])
        raise ValueError(
            f"in text {item} the id {pad} is not padding alone; give the tokenizer a padding token of its "
            "own: tokenizer.add_special_tokens({'pad_token': '[PAD]'}), then "
            "model.resize_token_embeddings(len(tokenizer))"
        )
    return ids.to(torch.int64)


def _field(output: Any, name: str) -> Tensor | None:
    found: Tensor | None = (
        output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
    )
    return found
