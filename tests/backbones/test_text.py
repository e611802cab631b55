"""Text encoders against loops, and invalid items."""

import numpy as np
import pytest
import torch
from episodes import randomized
from reference_check import sigmoid, softmax, state_arrays

import graphfew as gf

SMALL = {"words": 9, "length": 6, "word_dim": 4, "place_dim": 2}


def items():
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(1, 9, (3, 6, 1), generator=generator)
    words[1, 4:], words[2] = 0, 0
    return torch.cat([words, torch.randint(0, 12, (3, 6, 2), generator=generator)], dim=2)


def vectors(state, item):
    return [
        np.concatenate(
            [
                state["embedding.word.weight"][word],
                state["embedding.place.0.weight"][a],
                state["embedding.place.1.weight"][b],
            ]
        )
        for word, a, b in item.tolist()
    ]


def encoder(name, **arguments):
    model = randomized(gf.backbones.create(name, **SMALL, **arguments))
    model.net.embedding.word.weight.data[0] = 0
    return model


def test_conv_text():
    model = encoder("conv_text", out_dim=5)
    state, ours = state_arrays(model.net), model(items()).detach().numpy()
    for item, row in zip(items(), ours, strict=True):
        x = [np.zeros(8), *vectors(state, item), np.zeros(8)]
        windows = [
            np.maximum(
                sum(state["conv.weight"][:, :, t] @ x[i + t] for t in range(3))
                + state["conv.bias"],
                0,
            )
            for i in range(6)
            if item[i, 0] > 0
        ]
        assert np.abs(row - np.max([*windows, np.zeros(5)], axis=0)).max() < 1e-12
    assert not ours[2].any()


def lstm(state, rows, suffix):
    units = state[f"lstm.weight_hh_l0{suffix}"].shape[1]
    h, c, out = np.zeros(units), np.zeros(units), []
    for row in rows:
        gates = (
            state[f"lstm.weight_ih_l0{suffix}"] @ row
            + state[f"lstm.bias_ih_l0{suffix}"]
            + state[f"lstm.weight_hh_l0{suffix}"] @ h
            + state[f"lstm.bias_hh_l0{suffix}"]
        )
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return out


def test_bilstm():
    model = encoder("bilstm", units=3, attention=2)
    state, ours = state_arrays(model.net), model(items()).detach().numpy()
    for item, row in zip(items(), ours, strict=True):
        x = vectors(state, item)
        back = lstm(state, x[::-1], "_reverse")[::-1]
        states = [np.concatenate(pair) for pair in zip(lstm(state, x, ""), back, strict=True)]
        words = [i for i in range(6) if item[i, 0] > 0] or list(range(6))
        attention_weights = softmax(
            [
                (state["score.2.weight"] @ np.tanh(state["score.0.weight"] @ states[i]))[0]
                for i in words
            ]
        )
        assert (
            np.abs(
                row - sum(a * states[i] for a, i in zip(attention_weights, words, strict=True))
            ).max()
            < 1e-12
        )


@pytest.mark.parametrize("name", ["conv_text", "bilstm"])
def test_checkpoint_of_texts_without_mentions(name, tmp_path):
    backbone = gf.backbones.create(name, **SMALL, mentions=0)
    model = gf.create("prototypical", encoder=backbone).eval()
    words = items()[:, :, :1]
    e = gf.Episode.single(
        words.repeat(2, 1, 1)[:5], torch.tensor([0, 1, 1, -1, -1]), torch.arange(5) > 2, 2
    )
    logits = model(e).logits
    assert logits.shape == (2, 2)
    assert torch.equal(gf.load(gf.save(model, tmp_path / "model")).eval()(e).logits, logits)


@pytest.mark.parametrize("name", ["conv_text", "bilstm"])
def test_invalid_items_raise(name):
    model = encoder(name)
    with pytest.raises(ValueError, match="int64 items of shape"):
        model(items()[:, :5])
    with pytest.raises(ValueError, match="int64 items of shape"):
        model(items().float())
    for channel, value in ((0, 9), (1, 12), (2, -1)):
        wrong = items()
        wrong[0, 0, channel] = value
        with pytest.raises(ValueError, match="built for 9 words and 12 positions"):
            model(wrong)
    with pytest.raises(ValueError, match="words=0"):
        gf.backbones.create(name, words=0)


def test_even_window_raises():
    with pytest.raises(ValueError, match="window=4"):
        gf.backbones.conv_text(window=4)
