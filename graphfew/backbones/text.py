"""Backbones for sentences."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from graphfew._utils.model_spec import ModelSpec
from graphfew._utils.seeding import seeded
from graphfew.backbones.backbone_registry import register_backbone
from graphfew.backbones.base import Backbone, check_positive
from graphfew.errors import InvalidInputError

PAD = 0


@register_backbone
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
    """Build a convolution over word vectors with max-pooling over the sentence.

    An item holds for each word its index, 0 for padding, and its position relative to each entity
    mention, `0 .. 2 * length - 1`.

    Args:
        words: size of the vocabulary.
        length: words per sentence.
        mentions: number of entity mentions.
        out_dim: features per sentence.
        word_dim: width of the word vectors.
        place_dim: width of the vectors of relative positions.
        window: words per convolution, odd.
        seed: seed of the initial weights.

    Returns:
        A backbone from `[N, length, 1 + mentions]` int64 to `[N, out_dim]`.

    Raises:
        InvalidInputError: a number is below 1 (mentions: below 0), or the window is even.

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> encoder = backbones.conv_text(words=10, length=5, mentions=0, out_dim=8)
        >>> encoder(torch.ones(2, 5, 1, dtype=torch.int64)).shape
        torch.Size([2, 8])

    Source:
        Gao, Han, Liu and Sun, 2019, Hybrid Attention-Based Prototypical Networks for Noisy
        Few-Shot Relation Classification.

    Deviations:
        Word vectors are learned from scratch; theirs are initialized with GloVe. Padding never
        wins the maximum.
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
        raise InvalidInputError(
            f"conv_text got window={window}; give an odd number, so that windows are centered"
        )
    with seeded(seed):
        embedding = WordEmbedding(words, length, mentions, word_dim, place_dim)
        net = ConvTextEncoder(embedding, out_dim, window)
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


@register_backbone
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
    """Build a bidirectional LSTM with self-attention over its states.

    Items are those of `conv_text`.

    Args:
        words: size of the vocabulary.
        length: words per sentence.
        mentions: number of entity mentions.
        units: width of the LSTM in each direction.
        attention: width of the attention's hidden layer.
        word_dim: width of the word vectors.
        place_dim: width of the vectors of relative positions.
        seed: seed of the initial weights.

    Returns:
        A backbone from `[N, length, 1 + mentions]` int64 to `[N, 2 * units]`.

    Raises:
        InvalidInputError: a number is below 1 (mentions: below 0).

    Example:
        >>> import torch
        >>> from graphfew import backbones
        >>> encoder = backbones.bilstm(words=10, length=5, mentions=0, units=4)
        >>> encoder(torch.ones(2, 5, 1, dtype=torch.int64)).shape
        torch.Size([2, 8])

    Source:
        Geng, Li, Li, Zhu, Jian and Sun, 2019, Induction Networks for Few-Shot Text Classification.

    Deviations:
        Word vectors are learned from scratch; theirs are initialized with GloVe. Positions
        relative to mentions are added, which their task does not have (`mentions=0` omits them).
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
        embedding = WordEmbedding(words, length, mentions, word_dim, place_dim)
        net = BiLSTMEncoder(embedding, units, attention)
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


@final
class WordEmbedding(nn.Module):
    """Word vectors, concatenated with vectors of the position relative to each mention.

    Args:
        n_words: size of the vocabulary; index 0 is padding and has the zero vector.
        length: words per sentence.
        n_mentions: number of entity mentions.
        word_dim: width of the word vectors.
        position_dim: width of the vectors of relative positions.
    """

    def __init__(
        self, n_words: int, length: int, n_mentions: int, word_dim: int, position_dim: int
    ) -> None:
        super().__init__()
        self.length, self.n_mentions, self.n_words = length, n_mentions, n_words
        # The names `word` and `place` are part of the keys in checkpoints.
        self.word = nn.Embedding(n_words, word_dim, padding_idx=PAD)
        # Relative positions run from 1 - length to length - 1; items hold them plus `length`.
        self.place = nn.ModuleList(
            nn.Embedding(2 * length, position_dim) for _ in range(n_mentions)
        )
        self.out_dim = word_dim + n_mentions * position_dim

    def forward(self, x: Shaped[Tensor, "N L C"]) -> Float[Tensor, "N L F"]:
        """Embed items `[N, L, 1 + n_mentions]` to `[N, L, F]`."""
        self._check(x)
        vectors = [self.word(x[..., 0])]
        for mention, positions in enumerate(self.place, start=1):
            vectors.append(positions(x[..., mention]))
        return torch.cat(vectors, dim=2)

    def _check(self, x: Tensor) -> None:
        shape = (self.length, 1 + self.n_mentions)
        if x.dtype != torch.int64 or tuple(x.shape[1:]) != shape:
            raise InvalidInputError(
                f"the text encoder got items of shape {tuple(x.shape[1:])}, {x.dtype}; it was "
                f"built for int64 items of shape {shape}: words, then positions relative to "
                f"{self.n_mentions} mentions"
            )
        # Checked here, because on a GPU an invalid index is a device-side assertion without
        # context.
        largest = x.amax((0, 1)).tolist()
        n_positions = 2 * self.length
        positions_fit = all(position < n_positions for position in largest[1:])
        if int(x.min()) < 0 or largest[0] >= self.n_words or not positions_fit:
            raise InvalidInputError(
                f"the text encoder got indices up to {largest}; it was built for {self.n_words} "
                f"words and {n_positions} positions"
            )


@final
class ConvTextEncoder(nn.Module):
    """A convolution over neighboring words, max-pooled over the sentence.

    Args:
        embedding: the word embedding.
        out_dim: features per sentence.
        window: words per convolution.
    """

    def __init__(self, embedding: WordEmbedding, out_dim: int, window: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.conv = nn.Conv1d(embedding.out_dim, out_dim, window, padding=window // 2)

    def forward(self, x: Shaped[Tensor, "N L C"]) -> Float[Tensor, "N F"]:
        """Encode items `[N, L, C]` to `[N, out_dim]`; a sentence of padding alone gives zeros."""
        # An even window gives one position too many.
        hidden = self.conv(self.embedding(x).mT).relu()[..., : x.shape[1]]
        # After a ReLU, the zeros of masked words never exceed those of real words.
        is_word = (x[..., 0] != PAD)[:, None]
        out: Tensor = (hidden * is_word).amax(2)
        return out


@final
class BiLSTMEncoder(nn.Module):
    """A bidirectional LSTM and one head of self-attention over its states.

    Args:
        embedding: the word embedding.
        units: width of the LSTM in each direction.
        attention: width of the attention's hidden layer.
    """

    def __init__(self, embedding: WordEmbedding, units: int, attention: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.lstm = nn.LSTM(embedding.out_dim, units, batch_first=True, bidirectional=True)
        self.score = nn.Sequential(
            nn.Linear(2 * units, attention, bias=False),
            nn.Tanh(),
            nn.Linear(attention, 1, bias=False),
        )

    def forward(self, x: Shaped[Tensor, "N L C"]) -> Float[Tensor, "N F"]:
        """Encode items `[N, L, C]` to `[N, 2 * units]`; padding gets no attention."""
        states, _ = self.lstm(self.embedding(x))
        is_word = x[..., 0] != PAD
        # A sentence of padding alone attends to all positions, because a softmax over nothing
        # would be NaN.
        attended = is_word | ~is_word.any(1, keepdim=True)
        scores = self.score(states).squeeze(2).masked_fill(~attended, -torch.inf)
        out: Tensor = torch.bmm(scores.softmax(1)[:, None], states)[:, 0]
        return out
