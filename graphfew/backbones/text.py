"""Backbones of sentences."""

from __future__ import annotations

from graphfew._utils.model_spec import ModelSpec
from graphfew._utils.seeding import seeded
from graphfew.backbones.base import Backbone, check_positive
from graphfew.backbones.text_layers import AttendedWords, ConvolvedWords, Words


def conv_text(
    words: int = 8000,
    length: int = 40,
    mentions: int = 2,
    out_dim: int = 230,
    word_dim: int = 50,
    place_dim: int = 5,
    window: int = 3,
    seed: int = 0,
) -> Backbone:
    """A convolution over word vectors and its maximum; `[N, length, 1 + mentions]` int64 to `[N, out_dim]`.

    Items are word indices, 0 for padding, beside the word's place relative to each mention (`0 .. 2 length - 1`).

    **Source**: Gao, Han, Liu and Sun, 2019, Hybrid Attention-Based Prototypical Networks for Noisy Few-Shot Relation
    Classification.
    **Deviations**: word vectors are learned from scratch (theirs begin as GloVe's); padding never wins the maximum.

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1 (mentions: below 0), or an even window.
    """
    check_positive(
        "conv_text",
        words=words,
        length=length,
        mentions=mentions + 1,
        out_dim=out_dim,
        word_dim=word_dim,
        place_dim=place_dim,
        window=window,
    )
    if window % 2 == 0:
        raise ValueError(
            f"conv_text got window={window}; give an odd number, so that every word has one in its middle"
        )
    with seeded(seed):
        net = ConvolvedWords(Words(words, length, mentions, word_dim, place_dim), out_dim, window)
    arguments = {
        "words": words,
        "length": length,
        "mentions": mentions,
        "out_dim": out_dim,
        "word_dim": word_dim,
        "place_dim": place_dim,
        "window": window,
    }
    return Backbone(net, out_dim, ModelSpec("conv_text", arguments))


def bilstm(
    words: int = 8000,
    length: int = 40,
    mentions: int = 2,
    units: int = 128,
    attention: int = 64,
    word_dim: int = 50,
    place_dim: int = 5,
    seed: int = 0,
) -> Backbone:
    """A bidirectional LSTM with self-attention; `[N, length, 1 + mentions]` int64 to `[N, 2 units]`.

    Items are as `conv_text` takes them.

    **Source**: Geng, Li, Li, Zhu, Jian and Sun, 2019, Induction Networks for Few-Shot Text Classification.
    **Deviations**: word vectors are learned from scratch (theirs begin as GloVe's); places relative to mentions, which
    their task does not have (`mentions=0` leaves them out).

    The initial weights are drawn from `seed`.

    Raises:
        ValueError: a number below 1 (mentions: below 0).
    """
    check_positive(
        "bilstm",
        words=words,
        length=length,
        mentions=mentions + 1,
        units=units,
        attention=attention,
        word_dim=word_dim,
        place_dim=place_dim,
    )
    with seeded(seed):
        net = AttendedWords(Words(words, length, mentions, word_dim, place_dim), units, attention)
    arguments = {
        "words": words,
        "length": length,
        "mentions": mentions,
        "units": units,
        "attention": attention,
        "word_dim": word_dim,
        "place_dim": place_dim,
    }
    return Backbone(net, 2 * units, ModelSpec("bilstm", arguments))
