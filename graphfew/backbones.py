"""Backbones: networks that turn items into feature vectors. Each is a factory that returns a `Backbone`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, final

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from graphfew.recipe import JSON, Recipe
from graphfew.residual import residual_layers, wide_layers
from graphfew.seeding import seeded
from graphfew.text import AttendedWords, ConvolvedWords, Words
from graphfew.views import Views

# The copies are part of what a trained head has seen, so they never change.
_JITTER_SEED = 0


@final
class Backbone(nn.Module):
    """An encoder with a known output width and the recipe that builds it again.

    Images travel in the channels-last memory format, which is faster on CPU and GPU and changes no value.

    Args:
        net: takes items `[N, ...]` and gives features `[N, out_dim]`.
        out_dim: features per item.
        recipe: the factory and its arguments, for checkpoints.
    """

    def __init__(self, net: nn.Module, out_dim: int, recipe: Recipe) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.out_dim = out_dim
        self.recipe = recipe
        self.precision = torch.float32

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Shaped[Tensor, "N F"]:
        """`x [N, ...]` to `[N, out_dim]`.

        Raises:
            ValueError: items of another shape than the backbone was built for.
        """
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
        if self.precision == torch.float32:
            features: Tensor = self.net(x)
            return features
        with torch.autocast(x.device.type, dtype=self.precision):
            return self.net(x).float()  # type: ignore[no-any-return]


@contextmanager
def encoding_in(model: nn.Module, precision: torch.dtype) -> Iterator[None]:
    """Inside the block every `Backbone` of the model multiplies in this precision; weights and features stay float32.

    Raises:
        ValueError: neither float32, bfloat16 nor float16.
    """
    if precision not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"precision is {precision}; give torch.float32, torch.bfloat16 or torch.float16")
    backbones = [m for m in model.modules() if isinstance(m, Backbone)]
    before = [m.precision for m in backbones]
    try:
        for module in backbones:
            module.precision = precision
        yield
    finally:
        for module, own in zip(backbones, before, strict=True):
            module.precision = own


@final
class Expect(nn.Module):
    """Passes `[N, *shape]` on and refuses anything else."""

    def __init__(self, name: str, *shape: int) -> None:
        super().__init__()
        self.name, self.shape = name, shape

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Shaped[Tensor, "N ..."]:
        """The same tensor. Raises ValueError where its items have another shape."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"{self.name} got items of shape {tuple(x.shape[1:])} but was built for {self.shape}; "
                             f"{_advice(self.name, tuple(x.shape[1:]))}")
        return x

    def extra_repr(self) -> str:
        return f"{self.name!r}, {self.shape}"


def conv4(width: int = 64, in_channels: int = 1, size: int = 28, seed: int = 0) -> Backbone:
    """Four blocks of 3x3 convolution, batch norm, 2x2 max-pool and ReLU; `[N, in_channels, size, size]` to `[N, F]`.

    `F` is `width * (size // 16) ** 2`: 64 at 28 pixels, 1600 at 84.

    **Source**: Snell, Swersky and Zemel, 2017, Prototypical Networks for Few-shot Learning.
    **Deviations**: ReLU follows the max-pool. The two commute: every value is the same, for a quarter of the work.

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1, or images under 16 pixels.
    """
    _check_positive("conv4", width=width, in_channels=in_channels, size=size)
    with seeded(seed):
        trunk, flat = _trunk("conv4", in_channels, size, [
            *_block(in_channels, width, nn.ReLU(), bias=True), *_block(width, width, nn.ReLU(), bias=True),
            *_block(width, width, nn.ReLU(), bias=True), *_block(width, width, nn.ReLU(), bias=True),
        ])
    return Backbone(trunk, flat, Recipe("conv4", {"width": width, "in_channels": in_channels, "size": size}))


def gnn_omniglot(out_dim: int = 64, in_channels: int = 1, size: int = 28, seed: int = 0) -> Backbone:
    """The Omniglot network of the few-shot GNN; `[N, in_channels, size, size]` to `[N, out_dim]`.

    **Source**: Garcia and Bruna, 2018, Few-Shot Learning with Graph Neural Networks; the published code.
    **Deviations**: none from the code (two of its four blocks have neither padding nor max-pool; the paper's text gives
    a max-pool to all four).

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1, or images under 20 pixels.
    """
    _check_positive("gnn_omniglot", out_dim=out_dim, in_channels=in_channels, size=size)
    act = nn.LeakyReLU(0.1)
    with seeded(seed):
        trunk, flat = _trunk("gnn_omniglot", in_channels, size, [
            *_block(in_channels, 64, act, bias=True), *_block(64, 64, act, bias=True),
            *_block(64, 64, act, bias=True, padding=0, pool=False),
            *_block(64, 64, act, bias=True, padding=0, pool=False),
        ])
        net = nn.Sequential(*trunk, nn.Linear(flat, out_dim, bias=False), nn.BatchNorm1d(out_dim), nn.LeakyReLU())
    arguments = {"out_dim": out_dim, "in_channels": in_channels, "size": size}
    return Backbone(net, out_dim, Recipe("gnn_omniglot", arguments))


def egnn_conv(out_dim: int = 128, in_channels: int = 3, size: int = 84, seed: int = 0) -> Backbone:
    """EGNN's embedding network (`EmbeddingImagenet`); `[N, in_channels, size, size]` to `[N, out_dim]`.

    **Source**: Kim, Kim, Kim and Yoo, 2019, Edge-Labeling Graph Neural Network for Few-shot Learning; their code.
    **Deviations**: none in the network. The published code encodes one node position at a time, so that its batch norm
    sees only the images which share a position; here it sees every image of the batch.

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1, or images under 20 pixels.
    """
    _check_positive("egnn_conv", out_dim=out_dim, in_channels=in_channels, size=size)
    act = nn.LeakyReLU(0.2)
    with seeded(seed):
        trunk, flat = _trunk("egnn_conv", in_channels, size, [
            *_block(in_channels, 64, act), *_block(64, 96, act, padding=0),
            *_block(96, 128, act), nn.Dropout2d(0.4), *_block(128, 256, act), nn.Dropout2d(0.5),
        ])
        net = nn.Sequential(*trunk, nn.Linear(flat, out_dim), nn.BatchNorm1d(out_dim))
    arguments = {"out_dim": out_dim, "in_channels": in_channels, "size": size}
    return Backbone(net, out_dim, Recipe("egnn_conv", arguments))


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
    _check_positive("relation_conv", width=width, in_channels=in_channels, size=size)
    with seeded(seed):
        trunk, flat = _trunk("relation_conv", in_channels, size, [
            *_block(in_channels, width, nn.ReLU(), bias=True, padding=0),
            *_block(width, width, nn.ReLU(), bias=True, padding=0),
            *_block(width, width, nn.ReLU(), bias=True, pool=False),
            *_block(width, width, nn.ReLU(), bias=True, pool=False),
        ])
    return Backbone(trunk, flat, Recipe("relation_conv", {"width": width, "in_channels": in_channels, "size": size}))


def conv_text(words: int = 8000, length: int = 40, mentions: int = 2, out_dim: int = 230, word_dim: int = 50,
              place_dim: int = 5, window: int = 3, seed: int = 0) -> Backbone:
    """A convolution over word vectors and its maximum; `[N, length, 1 + mentions]` int64 to `[N, out_dim]`.

    Items are word indices, 0 for padding, beside the word's place relative to each mention (`0 .. 2 length - 1`).

    **Source**: Gao, Han, Liu and Sun, 2019, Hybrid Attention-Based Prototypical Networks for Noisy Few-Shot Relation
    Classification.
    **Deviations**: word vectors are learned from scratch (theirs begin as GloVe's); padding never wins the maximum.

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1 (mentions: below 0), or an even window.
    """
    _check_positive("conv_text", words=words, length=length, mentions=mentions + 1, out_dim=out_dim, word_dim=word_dim,
                    place_dim=place_dim, window=window)
    if window % 2 == 0:
        raise ValueError(f"conv_text got window={window}; give an odd number, so that every word has one in its middle")
    with seeded(seed):
        net = ConvolvedWords(Words(words, length, mentions, word_dim, place_dim), out_dim, window)
    arguments = {"words": words, "length": length, "mentions": mentions, "out_dim": out_dim, "word_dim": word_dim,
                 "place_dim": place_dim, "window": window}
    return Backbone(net, out_dim, Recipe("conv_text", arguments))


def bilstm(words: int = 8000, length: int = 40, mentions: int = 2, units: int = 128, attention: int = 64,
           word_dim: int = 50, place_dim: int = 5, seed: int = 0) -> Backbone:
    """A bidirectional LSTM with self-attention; `[N, length, 1 + mentions]` int64 to `[N, 2 units]`.

    Items are as `conv_text` takes them.

    **Source**: Geng, Li, Li, Zhu, Jian and Sun, 2019, Induction Networks for Few-Shot Text Classification.
    **Deviations**: word vectors are learned from scratch (theirs begin as GloVe's); places relative to mentions, which
    their task does not have (`mentions=0` leaves them out).

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1 (mentions: below 0).
    """
    _check_positive("bilstm", words=words, length=length, mentions=mentions + 1, units=units, attention=attention,
                    word_dim=word_dim, place_dim=place_dim)
    with seeded(seed):
        net = AttendedWords(Words(words, length, mentions, word_dim, place_dim), units, attention)
    arguments = {"words": words, "length": length, "mentions": mentions, "units": units, "attention": attention,
                 "word_dim": word_dim, "place_dim": place_dim}
    return Backbone(net, 2 * units, Recipe("bilstm", arguments))


def resnet12(widths: Sequence[int] = (64, 160, 320, 640), in_channels: int = 3, size: int = 84, drop: float = 0.0,
             seed: int = 0) -> Backbone:
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
    _check_positive("resnet12", in_channels=in_channels, size=size, **{f"widths[{i}]": w for i, w in enumerate(widths)})
    _check_drop("resnet12", drop)
    if len(widths) != 4:
        raise ValueError(f"resnet12 got {len(widths)} widths; give four, such as (64, 160, 320, 640)")
    with seeded(seed):
        trunk, flat = _trunk("resnet12", in_channels, size, residual_layers(in_channels, widths, drop))
    arguments: dict[str, JSON] = {"widths": list(widths), "in_channels": in_channels, "size": size, "drop": drop}
    return Backbone(trunk, flat, Recipe("resnet12", arguments))


def wrn28_10(depth: int = 28, factor: int = 10, in_channels: int = 3, size: int = 84, drop: float = 0.0,
             seed: int = 0) -> Backbone:
    """A wide residual network and the mean over places; `[N, in_channels, size, size]` to `[N, 64 factor]`.

    **Source**: Zagoruyko and Komodakis, 2016, Wide Residual Networks; in few-shot learning Rusu et al., 2019, LEO, and
    Mangla et al., 2020, Charting the Right Manifold.
    **Deviations**: none.

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1, `drop` outside `[0, 1)`, or a depth that is not 6 n + 4.
    """
    _check_positive("wrn28_10", factor=factor, in_channels=in_channels, size=size)
    _check_drop("wrn28_10", drop)
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"wrn28_10 got depth={depth}; it must be 6 n + 4, such as 16 or 28")
    with seeded(seed):
        trunk, flat = _trunk("wrn28_10", in_channels, size, wide_layers(in_channels, depth, factor, drop))
    arguments: dict[str, JSON] = {"depth": depth, "factor": factor, "in_channels": in_channels, "size": size,
                                  "drop": drop}
    return Backbone(trunk, flat, Recipe("wrn28_10", arguments))


def jittered(encoder: Backbone | Mapping[str, JSON], copies: int = 8, strength: float = 1.0, seed: int = 0) -> Backbone:
    """An encoder of images whose features are averaged over affine copies of each; `[N, c, h, w]` to `[N, out_dim]`.

    The changes are the same for every image, and always the same, so answers stay independent of one another.

    Args:
        encoder: a backbone, whose weights it shares, or the name and arguments of one, its weights drawn from `seed`.
        copies: how many, the image itself among them; encoding takes as many times as long.
        strength: factor on the changes, see `graphfew.data.augment.affine`.

    Raises:
        ValueError: a number below 1, or a strength that is not positive.
    """
    _check_positive("jittered", copies=copies)
    if not 0 < strength < float("inf"):
        raise ValueError(f"jittered got strength={strength}; it must be positive and finite")
    if not isinstance(encoder, Backbone):
        encoder = create(Recipe(str(encoder["name"]), encoder["arguments"]), seed=seed)  # type: ignore[arg-type]
    inner: JSON = {"name": encoder.recipe.name, "arguments": dict(encoder.recipe.arguments)}
    arguments: dict[str, JSON] = {"encoder": inner, "copies": copies, "strength": strength}
    return Backbone(Views(encoder, copies, strength, _JITTER_SEED), encoder.out_dim, Recipe("jittered", arguments))


def identity(dim: int, seed: int = 0) -> Backbone:
    """Features that are ready for use, passed through; `[N, dim]` to `[N, dim]`. Has no weights: `seed` is not used.

    Raises:
        ValueError: `dim` below 1.
    """
    del seed
    _check_positive("identity", dim=dim)
    return Backbone(Expect("identity", dim), dim, Recipe("identity", {"dim": dim}))


catalogue: Final[dict[str, Callable[..., Backbone]]] = {
    "conv4": conv4, "gnn_omniglot": gnn_omniglot, "egnn_conv": egnn_conv,
    "relation_conv": relation_conv, "conv_text": conv_text, "bilstm": bilstm,
    "resnet12": resnet12, "wrn28_10": wrn28_10, "jittered": jittered, "identity": identity,
}


def create(backbone: str | Recipe, /, **arguments: JSON) -> Backbone:
    """The backbone of that name, or of a recipe; `arguments` go to its factory and win over the recipe's.

    Raises:
        ValueError: a name that is not in `catalogue`, or what the factory raises.
    """
    recipe = Recipe(backbone, {}) if isinstance(backbone, str) else backbone
    if recipe.name not in catalogue:
        raise ValueError(f"no backbone is called {recipe.name!r}; known: {', '.join(sorted(catalogue))}")
    return catalogue[recipe.name](**{**recipe.arguments, **arguments})


def _block(inputs: int, outputs: int, activation: nn.Module, *, bias: bool = False, padding: int = 1,
           pool: bool = True) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, padding=padding, bias=bias)
    return [convolution, nn.BatchNorm2d(outputs), *([nn.MaxPool2d(2)] if pool else []), activation]


def _trunk(name: str, in_channels: int, size: int, layers: list[nn.Module]) -> tuple[nn.Sequential, int]:
    """The layers between a shape check and a flattening, and how many features come out."""
    trunk = nn.Sequential(Expect(name, in_channels, size, size), *layers, nn.Flatten()).eval()
    try:
        with torch.no_grad():
            flat = trunk(torch.zeros(1, in_channels, size, size)).shape[1]
    except RuntimeError as error:
        raise ValueError(f"{name} got size={size}: nothing is left of so small an image after its convolutions and "
                         "max-pools; give larger images, or use another backbone") from error
    return trunk.train(), flat


def _check_positive(name: str, **numbers: int) -> None:
    for key, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name} got {key}={value}; it must be at least 1")


def _check_drop(name: str, drop: float) -> None:
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
