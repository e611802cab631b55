"""A text encoder with Hugging Face's interface, and a few labels per topic.

`gf.backbones.HuggingFaceEncoder` makes any model with that interface an encoder: token ids in, mean of the last hidden
states out, padding masked. Here it is a small BERT with random weights, so nothing is downloaded, on artificial
sentences: three words of the topic among filler words that all topics share. Training on some topics teaches it to
ignore the filler, which helps on topics whose words it has never seen. For a pretrained model, replace `make_bert()`
and `Tokenizer()` by `AutoModel.from_pretrained(...)` and `AutoTokenizer.from_pretrained(...)`, and skip the training.

It prints accuracies on unseen topics before and after training; without `transformers`, a stand-in is used.
Run: python examples/hugging_face_encoder.py
"""

import dataclasses

import torch
from torch import nn

import graphfew as gf

VOCABULARY, LENGTH, WIDTH = 300, 12, 32


class Tokenizer:
    """Words are numbers already; the interface is that of Hugging Face's tokenizers."""

    pad_token_id = 0

    def __call__(self, texts, *, padding, truncation, max_length, return_tensors):
        """Ids and attention mask, truncated and padded to one length."""
        rows = [[int(word) for word in text.split()][:max_length] for text in texts]
        ids = torch.tensor([row + [0] * (max_length - len(row)) for row in rows])
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@dataclasses.dataclass
class StandInOutput:
    """Output of the stand-in, with the field that `gf.backbones.mean_pool` reads."""

    last_hidden_state: torch.Tensor


class StandIn(nn.Module):
    """Word embeddings and one attention layer, with the interface of a `transformers` model."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, dropout=0.0, batch_first=True)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> StandInOutput:
        """Hidden states `[N, L, F]`."""
        mask = attention_mask == 0
        return StandInOutput(self.layer(self.words(input_ids), src_key_padding_mask=mask))


def make_bert() -> nn.Module:
    """A small BERT with random weights, or the stand-in if `transformers` is missing."""
    torch.manual_seed(0)
    try:
        from transformers import BertConfig, BertModel
    except ImportError:
        print("transformers is not installed (pip install transformers): using a stand-in")
        return StandIn()
    sizes = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 64}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 4, "hidden_dropout_prob": 0.0}
    return BertModel(BertConfig(**sizes, **heads, attention_probs_dropout_prob=0.0))


def make_sentences(topics: range, seed: int) -> gf.Dataset:
    """30 sentences per topic: 3 of the topic's 6 words, and 3 to 9 of 40 filler words."""
    rng = torch.Generator().manual_seed(seed)
    texts = []
    for topic in [topic for topic in topics for _ in range(30)]:
        topic_words = 100 + 6 * topic + torch.randint(0, 6, (3,), generator=rng)
        n_filler = int(torch.randint(3, 10, (1,), generator=rng))
        filler = torch.randint(1, 41, (n_filler,), generator=rng)
        words = torch.cat([topic_words, filler])[torch.randperm(3 + n_filler, generator=rng)]
        texts.append(" ".join(map(str, words.tolist())))
    ids = gf.backbones.tokenize(Tokenizer(), texts, length=LENGTH)
    y = torch.arange(len(topics)).repeat_interleave(30)
    return gf.Dataset("sentences", "artificial", ids, y, tuple(f"topic {t}" for t in topics))


def main(steps: int = 200, tasks: int = 200) -> dict[str, gf.Result]:
    """Accuracy of prototypes on unseen topics, before and after training on other topics."""
    encoder = gf.backbones.HuggingFaceEncoder(
        make_bert(), WIDTH, pooling=gf.backbones.mean_pool, pad_token_id=0, frozen=False
    )
    model = gf.create("prototypical", encoder=encoder)
    unseen = gf.Tasks(make_sentences(range(20, 30), seed=1), way=5, shot=3, query=5, seed=2)
    results = {"random weights": gf.evaluate(model, unseen, n=tasks)}
    train_tasks = gf.Tasks(make_sentences(range(20), seed=0), way=5, shot=3, query=5, seed=3)
    for _ in gf.train(model, train_tasks, loss=gf.node_loss, batch=4, steps=steps):
        pass
    return {**results, "trained on other topics": gf.evaluate(model, unseen, n=tasks)}


if __name__ == "__main__":
    for name, result in main().items():
        print(f"{name:24} {result}")
