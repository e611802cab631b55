"""Encoders from elsewhere: any callable, and models with the interface of Hugging Face."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from graphfew.errors import InvalidInputError, InvalidTypeError

Pooling = Callable[[Any, Tensor | None], Tensor]
ModelCall = Callable[[nn.Module, Tensor, Tensor | None], Any]


@final
class FunctionEncoder(nn.Module):
    """Any function of items as an encoder.

    It has no weights: parameters that `fn` closes over are neither trained, moved to a device nor
    saved. Wrap a network in an `nn.Module` instead, which is an encoder as it is.

    Args:
        fn: `[N, ...] -> [N, F]`.
        out_dim: F, if known.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> encoder = backbones.FunctionEncoder(lambda x: x.flatten(1), out_dim=4)
        >>> encoder(torch.zeros(3, 2, 2)).shape
        torch.Size([3, 4])
    """

    def __init__(self, fn: Callable[[Tensor], Tensor], out_dim: int | None = None) -> None:
        super().__init__()
        self.fn = fn
        self.out_dim = out_dim

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Tensor:
        """Encode items.

        Args:
            x: items, `[N, ...]`.

        Returns:
            Features, `[N, F]`.

        Raises:
            InvalidTypeError, InvalidInputError: the function does not return features.
        """
        name = getattr(self.fn, "__name__", type(self.fn).__name__)
        return check_features(self.fn(x), len(x), self.out_dim, name)


def as_module(encoder: nn.Module | Callable[[Tensor], Tensor], dim: int | None = None) -> nn.Module:
    """Return a module unchanged, and any other callable as a `FunctionEncoder`."""
    if isinstance(encoder, nn.Module):
        return encoder
    # Calling a class would construct a module from the items instead of encoding them.
    if not callable(encoder) or isinstance(encoder, type):
        raise InvalidTypeError(
            f"the encoder is {encoder!r}; give a module or a function from items [N, ...] to "
            "features [N, F]"
        )
    return FunctionEncoder(encoder, dim)


def check_features(features: Any, n_items: int, dim: int | None, name: str) -> Tensor:
    """Return the features of the encoder `name` if they are floating and `[n_items, dim]`."""
    if not isinstance(features, Tensor) or not features.dtype.is_floating_point:
        received = f"a {type(features).__name__}"
        if isinstance(features, Tensor):
            received = f"a tensor of {features.dtype}"
        raise InvalidTypeError(
            f"the encoder {name} returned {received}; it must return features as a floating tensor "
            "[N, F]"
        )
    if features.ndim != 2 or features.shape[0] != n_items or dim not in (None, features.shape[1]):
        width = "F" if dim is None else dim
        raise InvalidInputError(
            f"the encoder {name} returned features of shape {tuple(features.shape)} for {n_items} "
            f"items; they must be [{n_items}, {width}]: flatten or pool them, or pass their width "
            "(dim= or out_dim=)"
        )
    return features


def mean_pool(output: Any, mask: Bool[Tensor, "N L"] | None) -> Float[Tensor, "N F"]:
    """Average the `last_hidden_state` of a model's output.

    Args:
        output: an output with `last_hidden_state`, `[N, L, F]` for tokens or `[N, F, h, w]` for
            feature maps, as an attribute or a key.
        mask: `[N, L]` bool, True for tokens that count; None counts all.

    Returns:
        Features `[N, F]`; zero if no token counts.

    Raises:
        KeyError: the output has no `last_hidden_state`.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> states = torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> mask = torch.tensor([[True, True, False]])
        >>> backbones.mean_pool({"last_hidden_state": states}, mask)
        tensor([[2.]])
    """
    states = _output_field(output, "last_hidden_state")
    if states is None:
        raise KeyError("last_hidden_state")
    if states.ndim == 4:
        return states.mean((2, 3))
    if mask is None:
        return states.mean(1)
    # A count of at least 1, so that a text of padding alone gives zeros instead of NaN.
    weights = mask[..., None].to(states.dtype)
    mean: Tensor = (states * weights).sum(1) / weights.sum(1).clamp_min(1)
    return mean


def pooler_output(output: Any, mask: Bool[Tensor, "N L"] | None) -> Float[Tensor, "N F"]:
    """Return the pooled features of a model's output.

    Args:
        output: an output with `pooler_output`, `image_embeds`, `text_embeds` or
            `last_hidden_state`, as attributes or keys.
        mask: `[N, L]` bool, True for tokens that count; only used for `last_hidden_state`.

    Returns:
        The first of these fields that the output has, `[N, F]`; the last one by `mean_pool`.

    Raises:
        InvalidTypeError: the output has none of these fields.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> backbones.pooler_output({"image_embeds": torch.ones(2, 3)}, None).shape
        torch.Size([2, 3])
    """
    for name in ("pooler_output", "image_embeds", "text_embeds"):
        features = _output_field(output, name)
        if features is not None:
            # Convolutional models pool to [N, F, 1, 1].
            return features.flatten(1)
    if _output_field(output, "last_hidden_state") is None:
        fields = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
        raise InvalidTypeError(
            f"the model returned a {type(output).__name__} with fields "
            f"{', '.join(fields) or 'none'}; it needs pooler_output, image_embeds, text_embeds or "
            "last_hidden_state, or pass pooling= a function of the output and the mask (a tuple "
            "comes from return_dict=False)"
        )
    return mean_pool(output, mask)


def call_by_keyword(model: nn.Module, x: Tensor, mask: Tensor | None) -> Any:
    """Pass token ids as `input_ids` with `attention_mask`, anything else as `pixel_values`."""
    if mask is None:
        return model(pixel_values=x)
    # As integers, the form in which tokenizers return the attention mask.
    return model(input_ids=x, attention_mask=mask.to(torch.int64))


@final
class HuggingFaceEncoder(nn.Module):
    """A model with the interface of Hugging Face as an encoder of images or token ids.

    Only the interface matters: keyword arguments `pixel_values`, or `input_ids` and
    `attention_mask`, and an output with named fields, as attributes or keys. Padding tokens get no
    attention. The model runs in its own precision; features are at least float32.

    `gf.save` writes the model's weights with all others, but no spec: `gf.load` needs an equal
    model, built by `transformers` from its configuration, as `into=`.

    Args:
        model: a model, called by `call`.
        out_dim: width of the features; None reads `hidden_size`, or the last of `hidden_sizes`,
            of `model.config`.
        pooling: `(output, mask [N, L] or None) -> [N, out_dim]`, such as `pooler_output` and
            `mean_pool`, which is often better for texts.
        pad_token_id: id of the padding token; None reads `model.config`.
        preprocess: applied to the items first, for example to resize and normalize images.
        frozen: whether to disable gradients and keep the model in evaluation mode.
        call: `(model, x, mask or None) -> output`.

    Raises:
        InvalidInputError: there is no `out_dim`, neither given nor in the configuration.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> class Mean(torch.nn.Module):
        ...     def forward(self, pixel_values):
        ...         return {"pooler_output": pixel_values.mean((2, 3))}
        >>> backbones.HuggingFaceEncoder(Mean(), out_dim=3)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        out_dim: int | None = None,
        *,
        pooling: Pooling = pooler_output,
        pad_token_id: int | None = None,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        frozen: bool = True,
        call: ModelCall = call_by_keyword,
    ) -> None:
        super().__init__()
        config = getattr(model, "config", None)
        if out_dim is None:
            out_dim = _hidden_size(config)
        if out_dim is None:
            raise InvalidInputError(
                f"the configuration of {type(model).__name__} does not give the width of the "
                "features; pass out_dim="
            )
        if pad_token_id is None:
            pad_token_id = getattr(config, "pad_token_id", None)
        self.model, self.out_dim = model, int(out_dim)
        self.pooling, self.call, self.preprocess = pooling, call, preprocess
        self.pad_token_id = pad_token_id
        self.frozen = frozen
        if frozen:
            model.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> HuggingFaceEncoder:
        """Set training mode; a frozen model stays in evaluation mode.

        Args:
            mode: True for training, False for evaluation.

        Returns:
            The encoder itself.
        """
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N F"]:
        """Encode items.

        Args:
            x: images `[N, c, h, w]` or token ids `[N, L]` int64.

        Returns:
            Features, `[N, out_dim]`.

        Raises:
            InvalidTypeError: the output has no features.
            InvalidInputError: the items are neither images nor token ids, the padding id is
                unknown, or the features have another shape.
        """
        if self.preprocess is not None:
            x = self.preprocess(x)
        uses_keywords = self.call is call_by_keyword
        is_tokens = x.dtype == torch.int64
        if uses_keywords and not is_tokens and x.ndim < 4:
            raise InvalidInputError(
                f"{type(self.model).__name__} got items of shape {tuple(x.shape[1:])}, {x.dtype}; "
                "give images [N, c, h, w] or token ids [N, L] of int64 (a Dataset keeps them; "
                "data.arrays converts them to float32), or pass call="
            )
        mask = self._token_mask(x) if is_tokens else None
        # A model in half precision needs images in the dtype of its weights; token ids stay
        # integers.
        model_input = x
        if uses_keywords and not is_tokens:
            parameter = next(self.model.parameters(), None)
            model_input = x.to(torch.float32 if parameter is None else parameter.dtype)
        output = self.call(self.model, model_input, mask)
        features = self.pooling(output, mask)
        features = check_features(features, len(x), self.out_dim, type(self.model).__name__)
        # Features continue in the dtype of the images; that of token ids says nothing about them.
        if x.dtype.is_floating_point:
            return features.to(x.dtype)
        return features.to(torch.promote_types(features.dtype, torch.float32))

    def _token_mask(self, x: Int[Tensor, "N ..."]) -> Bool[Tensor, "N ..."]:
        if self.pad_token_id is None:
            raise InvalidInputError(
                f"the configuration of {type(self.model).__name__} has no pad_token_id; pass "
                "pad_token_id="
            )
        return x != self.pad_token_id


def tokenize(
    tokenizer: Callable[..., Any],
    texts: Sequence[str],
    *,
    length: int | None = None,
    pad_token_id: int | None = None,
) -> Int[Tensor, "N L"]:
    """Convert texts to token ids of equal length, the items of an `Episode` or `Dataset`.

    Args:
        tokenizer: a tokenizer with the interface of Hugging Face: `(texts, padding=...,
            truncation=True, max_length=..., return_tensors="pt")` returns `input_ids` and
            `attention_mask`.
        texts: at least one text.
        length: L, to which texts are truncated or padded; None uses that of the longest text.
        pad_token_id: id of the padding token; None reads the tokenizer's.

    Returns:
        Token ids, `[N, L]` int64.

    Raises:
        InvalidInputError: `texts` is empty, the padding id is unknown, or it also occurs in texts,
            so that the mask cannot be recovered from the ids.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> def letters(texts, **options):
        ...     ids = torch.tensor([[ord(c) for c in text] for text in texts])
        ...     return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        >>> backbones.tokenize(letters, ["ab", "cd"], pad_token_id=0)
        tensor([[ 97,  98],
                [ 99, 100]])
    """
    if pad_token_id is None:
        pad_token_id = getattr(tokenizer, "pad_token_id", None)
    if not len(texts):
        raise InvalidInputError("tokenize got no texts; give at least one")
    if pad_token_id is None:
        raise InvalidInputError("the tokenizer has no pad_token_id; pass pad_token_id=")
    encoding = tokenizer(
        list(texts),
        padding=True if length is None else "max_length",
        truncation=True,
        max_length=length,
        return_tensors="pt",
    )
    ids = torch.as_tensor(encoding["input_ids"])
    mask = torch.as_tensor(encoding["attention_mask"]).bool()
    # An episode carries only the ids; the encoder computes the mask from them again.
    if not torch.equal(ids != pad_token_id, mask):
        text = int(((ids != pad_token_id) != mask).any(1).nonzero()[0])
        raise InvalidInputError(
            f"in text {text} the id {pad_token_id} is not only padding; add a separate padding "
            "token: tokenizer.add_special_tokens({'pad_token': '[PAD]'}), then "
            "model.resize_token_embeddings(len(tokenizer))"
        )
    return ids.to(torch.int64)


def _hidden_size(config: Any) -> int | None:
    # Hierarchical models of images have a width per stage; features come from the last one.
    hidden_sizes = getattr(config, "hidden_sizes", None)
    last_size = hidden_sizes[-1] if hidden_sizes else None
    size: int | None = getattr(config, "hidden_size", last_size)
    return size


def _output_field(output: Any, name: str) -> Tensor | None:
    get = output.get if isinstance(output, Mapping) else functools.partial(getattr, output)
    value: Tensor | None = get(name, None)
    return value
