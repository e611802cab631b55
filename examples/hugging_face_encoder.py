"""A text encoder with Hugging Face's interface, and a few labels per topic.

`gf.HuggingFace` makes any model with that interface an encoder: token ids go in, padding gets no attention, the mean of
the last hidden states comes out, and the method above never knows. Here it is a small BERT with random weights, so that
nothing is fetched, and the sentences are made up: three words of a topic's own among filler words that all topics have.
Trained on some topics it learns to overhear the filler, and that helps with topics whose words it has never seen. For a
model that knows a language, put `AutoModel.from_pretrained(...)` and `AutoTokenizer.from_pretrained(...)` in the place
of `bert()` and `Tokenizer()`, and leave the training out.

It prints accuracies on unseen topics, with the weights as drawn and after training. Without `transformers` it says so,
and takes a model of the same interface that is written down here.

Run: python examples/hugging_face_encoder.py
"""

import dataclasses

import torch
from torch import nn

import graphfew as gf

WORDS, LENGTH, WIDTH = 300, 12, 32


class Tokenizer:
    """Words are numbers already; called as Hugging Face's tokenizers are."""

    pad_token_id = 0

    def __call__(self, texts, *, padding, truncation, max_length, return_tensors):
        """Ids and attention mask, cut and filled up to one length."""
        rows = [[int(word) for word in text.split()][:max_length] for text in texts]
        ids = torch.tensor([row + [0] * (max_length - len(row)) for row in rows])
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@dataclasses.dataclass
class Answer:
    """What a stand-in gives: a field of the name that `gf.mean_of_tokens` looks for."""

    last_hidden_state: torch.Tensor


class StandIn(nn.Module):
    """Word vectors and one layer of attention, called as a model of `transformers` is."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, dropout=0.0, batch_first=True)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Answer:
        """Hidden states `[N, L, F]`."""
        return Answer(self.layer(self.words(input_ids), src_key_padding_mask=attention_mask == 0))


def bert() -> nn.Module:
    """A small BERT with random weights, or the stand-in where `transformers` is missing."""
    torch.manual_seed(0)
    try:
        from transformers import BertConfig, BertModel
    except ImportError:
        print(
            "transformers is not installed (pip install transformers): a stand-in of the same interface"
        )
        return StandIn()
    return BertModel(
        BertConfig(
            vocab_size=WORDS,
            hidden_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=64,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def sentences(topics: range, seed: int, each: int = 30) -> gf.Dataset:
    """Sentences of 6 to 12 words: three of the topic's own six, the others of 40 that are filler."""
    draw = torch.Generator().manual_seed(seed)
    texts = []
    for topic in topics:
        for _ in range(each):
            own = 100 + 6 * topic + torch.randint(0, 6, (3,), generator=draw)
            filler = torch.randint(
                1, 41, (int(torch.randint(3, 10, (1,), generator=draw)),), generator=draw
            )
            words = torch.cat([own, filler])[torch.randperm(3 + len(filler), generator=draw)]
            texts.append(" ".join(map(str, words.tolist())))
    ids = gf.backbones.tokenize(Tokenizer(), texts, length=LENGTH)
    return gf.Dataset(
        "sentences",
        "made up",
        ids,
        torch.arange(len(topics)).repeat_interleave(each),
        tuple(f"topic {topic}" for topic in topics),
    )


def main(steps: int = 200, tasks: int = 200) -> dict[str, gf.Result]:
    """Accuracy of prototypes on unseen topics, before and after the encoder's training on others."""
    encoder = gf.backbones.HuggingFaceEncoder(
        bert(), WIDTH, take=gf.backbones.mean_pool, pad=0, frozen=False
    )
    model = gf.create("prototypical", encoder=encoder)
    unseen = gf.Tasks(sentences(range(20, 30), seed=1), way=5, shot=3, query=5, seed=2)
    results = {"weights as drawn": gf.evaluate(model, unseen, n=tasks)}
    source = gf.Tasks(sentences(range(20), seed=0), way=5, shot=3, query=5, seed=3)
    for _ in gf.train(model, source, loss=gf.node_loss, batch=4, steps=steps, lr=1e-3):
        pass
    return {**results, "trained on other topics": gf.evaluate(model, unseen, n=tasks)}


if __name__ == "__main__":
    for name, result in main().items():
        print(f"{name:24} {result}")
