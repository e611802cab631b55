"""Encoders of word indices: layers for `graphfew.backbones`."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

PAD = 0


class Words(nn.Module):
    """Word vectors beside vectors of the word's place relative to each mention: `[N, L, 1 + mentions]` to `[N, L, F]`.

    Index 0 is padding and has the vector 0.
    """

    def __init__(
        self, words: int, length: int, mentions: int, width: int, place_width: int
    ) -> None:
        super().__init__()
        self.length, self.mentions, self.words = length, mentions, words
        self.word = nn.Embedding(words, width, padding_idx=PAD)
        self.place = nn.ModuleList(nn.Embedding(2 * length, place_width) for _ in range(mentions))
        self.out_dim = width + mentions * place_width

    def forward(self, x: Shaped[Tensor, "N L C"]) -> Float[Tensor, "N L F"]:
        """Raises ValueError for another length, another number of mentions, or an index that is no word or place."""
        if x.dtype != torch.int64 or tuple(x.shape[1:]) != (self.length, 1 + self.mentions):
            raise ValueError(
                f"the text encoder got items of shape {tuple(x.shape[1:])}, {x.dtype}; it was built for "
                f"int64 items of shape {(self.length, 1 + self.mentions)}: words, then places relative to "
                f"{self.mentions} mentions"
            )
        most = x.amax((0, 1)).tolist()
        if int(x.min()) < 0 or most[0] >= self.words or any(m >= 2 * self.length for m in most[1:]):
            raise ValueError(
                f"the text encoder got indices up to {most}; it was built for {self.words} words and "
                f"{2 * self.length} places"
            )
        return torch.cat(
            [self.word(x[..., 0]), *(e(x[..., 1 + i]) for i, e in enumerate(self.place))], dim=2
        )


class ConvolvedWords(nn.Module):
    """A convolution over neighboring words, its largest values over the sentence: `[N, width]`."""

    def __init__(self, embedding: Words, width: int, window: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.conv = nn.Conv1d(embedding.out_dim, width, window, padding=window // 2)

    def forward(self, x: Shaped[Tensor, "N L C"]) -> Float[Tensor, "N F"]:
        """Padding does not count; a sentence of padding alone gives 0."""
        seen = self.conv(self.embedding(x).mT).relu()[..., : x.shape[1]]
        out: Tensor = (seen * (x[..., 0] != PAD)[:, None]).amax(2)
        return out


class AttendedWords(nn.Module):
    """A bidirectional LSTM and one head of self-attention over its states: `[N, 2 units]`."""

    def __init__(self, embedding: Words, units: int, attention: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.lstm = nn.LSTM(embedding.out_dim, units, batch_first=True, bidirectional=True)
        self.score = nn.Sequential(
            nn.Linear(2 * units, attention, bias=False),
            nn.Tanh(),
            nn.Linear(attention, 1, bias=False),
        )

    def forward(self, x: Shaped[Tensor, "N L C"]) -> Float[Tensor, "N F"]:
        """Padding has no share in the attention; a sentence of padding alone is attended evenly."""
        states, _ = self.lstm(self.embedding(x))
        words = x[..., 0] != PAD
        words = words | ~words.any(1, keepdim=True)
        share = self.score(states).squeeze(2).masked_fill(~words, -torch.inf).softmax(1)
        out: Tensor = torch.bmm(share[:, None], states)[:, 0]
        return out
