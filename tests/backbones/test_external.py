"""Any callable is an encoder, and so is a model with Hugging Face's interface: a stand-in, and the real ones."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import graphfew as gf

PAD, LENGTH, WIDTH = 0, 6, 8


@dataclasses.dataclass
class Answer:
    """As `ModelOutput`: named fields, some of them None."""

    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None


class Texts(nn.Module):
    """Word vectors, with the interface of a text model."""

    def __init__(self, form="mean"):
        super().__init__()
        self.config = type("Config", (), {"hidden_size": WIDTH, "pad_token_id": PAD})()
        self.words = nn.Embedding(20, WIDTH)
        self.drop = nn.Dropout(0.5)
        self.form = form

    def forward(self, input_ids, attention_mask):
        states = self.drop(self.words(input_ids))
        if self.form == "tuple":
            return (states,)
        if self.form == "dict":
            return {"last_hidden_state": states}
        return Answer(states, states[:, 0] * 2 if self.form == "pooled" else None)


class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = type("Config", (), {"hidden_sizes": [4, WIDTH]})()
        self.conv = nn.Conv2d(3, WIDTH, 3)

    def forward(self, pixel_values):
        states = self.conv(pixel_values)
        return Answer(states, states.mean((2, 3), keepdim=True))


def texts(seed=0, way=3, dtype=torch.int64):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 20, (3 * way, LENGTH), generator=generator)
    ids[
        torch.arange(LENGTH) >= torch.randint(1, LENGTH + 1, (len(ids), 1), generator=generator)
    ] = PAD
    y = torch.cat([torch.arange(way), torch.full((2 * way,), -1)])
    return gf.Episode.single(ids.to(dtype), y, y < 0, way)


def masked_means(model, ids):
    """Mean of the words of each text, by a loop."""
    return torch.stack([model.words.weight[row[row != PAD]].mean(0) for row in ids])


@pytest.mark.parametrize("form", ["mean", "dict"])
def test_texts_are_averaged_without_padding(form):
    model = Texts(form)
    encoder = gf.backbones.HuggingFaceEncoder(model)
    ids = texts().x
    assert encoder.out_dim == WIDTH
    assert torch.allclose(encoder(ids), masked_means(model, ids), atol=1e-6)
    longer = torch.cat([ids, torch.full((len(ids), 3), PAD)], dim=1)
    assert torch.allclose(encoder(longer), encoder(ids), atol=1e-6)
    assert torch.equal(encoder(torch.full((1, 4), PAD)), torch.zeros(1, WIDTH))


def test_pooling_functions():
    model, ids = Texts("pooled"), texts().x
    first = model.words.weight[ids[:, 0]]
    assert torch.allclose(gf.backbones.HuggingFaceEncoder(model)(ids), 2 * first)
    assert torch.allclose(
        gf.backbones.HuggingFaceEncoder(model, pooling=gf.backbones.mean_pool)(ids),
        masked_means(model, ids),
        atol=1e-6,
    )
    own = gf.backbones.HuggingFaceEncoder(
        model,
        2,
        pooling=lambda output, mask: torch.stack(
            [output.last_hidden_state[:, 0, 0], mask.sum(1)], dim=1
        ),
    )
    assert torch.equal(own(ids)[:, 1], (ids != PAD).sum(1).float())


def test_images_are_preprocessed_and_pooled():
    model, images = Pictures(), torch.rand(5, 1, 8, 8)
    encoder = gf.backbones.HuggingFaceEncoder(model, preprocess=lambda x: x.expand(-1, 3, -1, -1))
    assert encoder.out_dim == WIDTH
    expected = model.conv(images.expand(-1, 3, -1, -1)).mean((2, 3))
    assert torch.allclose(encoder(images), expected, atol=1e-6)
    assert torch.allclose(
        gf.backbones.mean_pool(Answer(model.conv(images.repeat(1, 3, 1, 1))), None),
        expected,
        atol=1e-6,
    )


@pytest.mark.parametrize("name", ["prototypical", "egnn", "label_propagation"])
def test_methods_run_on_hugging_face_encoders(name):
    model = gf.create(name, encoder=gf.backbones.HuggingFaceEncoder(Texts()))
    with gf.nn.eval_mode(model):
        out = model(texts()).logits
        features = gf.create(name, encoder=gf.backbones.identity(WIDTH))
        features.layers.load_state_dict(model.layers.state_dict())
        with gf.nn.eval_mode(features):
            again = features(texts().encode(model.encoder)).logits
    assert out.shape == (6, 3)
    assert torch.equal(out, again)


def test_frozen_weights_do_not_change():
    for frozen in (True, False):
        encoder = gf.backbones.HuggingFaceEncoder(Texts(), frozen=frozen)
        model = gf.create("prototypical", encoder=encoder).train()
        assert encoder.model.drop.training is not frozen
        assert all(p.requires_grad is not frozen for p in encoder.parameters())
        before = encoder.model.words.weight.detach().clone()
        if not frozen:
            optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
            nn.functional.cross_entropy(model(texts()).logits, torch.arange(3).repeat(2)).backward()
            optimizer.step()
        assert torch.equal(encoder.model.words.weight, before) is frozen
        model.eval()
        assert not encoder.model.drop.training


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_model_runs_in_its_precision(precision):
    text, image = Texts().to(precision), Pictures().to(precision)
    at_least = torch.promote_types(precision, torch.float32)
    assert gf.backbones.HuggingFaceEncoder(text)(texts().x).dtype == at_least
    assert gf.backbones.HuggingFaceEncoder(image)(torch.rand(2, 3, 8, 8)).dtype == torch.float32
    assert (
        gf.backbones.HuggingFaceEncoder(image)(torch.rand(2, 3, 8, 8, dtype=torch.float64)).dtype
        == torch.float64
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_encoder_moves_with_its_method():
    model = gf.create("prototypical", encoder=gf.backbones.HuggingFaceEncoder(Texts())).cuda()
    assert model(texts().to("cuda")).logits.is_cuda


def test_weights_are_saved_and_loaded_into_an_equal_model(tmp_path):
    model = gf.create("egnn", encoder=gf.backbones.HuggingFaceEncoder(Texts()), width=6)
    path = gf.save(model, tmp_path / "model")
    other = gf.create("egnn", encoder=gf.backbones.HuggingFaceEncoder(Texts()), width=6, seed=1)
    with gf.nn.eval_mode(model), gf.nn.eval_mode(other):
        assert not torch.equal(model(texts()).logits, other(texts()).logits)
        gf.load(path, into=other)
        assert torch.equal(model(texts()).logits, other(texts()).logits)
    with pytest.raises(ValueError, match="not made by create"):
        gf.load(path)


def test_encoding_a_data_set():
    ids = texts().x
    data = gf.Dataset("texts", "all", ids, torch.arange(3).repeat(3), ("a", "b", "c"))
    encoder = gf.backbones.HuggingFaceEncoder(Texts())
    features = gf.data.encode(data, encoder, batch=4, progress=False)
    assert torch.allclose(torch.as_tensor(features.x), masked_means(encoder.model, ids), atol=1e-6)
    assert encoder.training


@pytest.mark.parametrize(
    ("model", "options", "x", "error", "message"),
    [
        (Texts("tuple"), {}, texts().x, TypeError, "a tuple with fields none.*return_dict=False"),
        (
            Texts(),
            {"out_dim": 5},
            texts().x,
            ValueError,
            r"Texts returned features of shape \(9, 8\).*\[9, 5\]",
        ),
        (
            Texts(),
            {"pooling": lambda out, mask: out.last_hidden_state},
            texts().x,
            ValueError,
            r"\(9, 6, 8\)",
        ),
        (Pictures(), {}, texts().x, ValueError, "no pad_token_id; pass pad_token_id="),
        (
            Texts(),
            {},
            texts(dtype=torch.float32).x,
            ValueError,
            r"shape \(6,\), torch.float32; give images.*data.arrays",
        ),
        (
            nn.Linear(2, 2),
            {},
            None,
            ValueError,
            "Linear does not give the width of the features; pass out_dim=",
        ),
    ],
    ids=["tuple", "width", "tokens", "pad", "floating tokens", "no width"],
)
def test_invalid_models_and_items_raise(model, options, x, error, message):
    with pytest.raises(error, match=message):
        gf.backbones.HuggingFaceEncoder(model, **options)(x)


class Tokenizer:
    """One id per letter."""

    pad_token_id = 0

    def __call__(self, texts, *, padding, truncation, max_length, return_tensors):
        assert truncation
        assert return_tensors == "pt"
        length = max_length if padding == "max_length" else max(map(len, texts))
        ids = [[ord(c) - 96 for c in text[:length]] for text in texts]
        return {
            "input_ids": torch.tensor([row + [0] * (length - len(row)) for row in ids]),
            "attention_mask": torch.tensor(
                [[1] * len(row) + [0] * (length - len(row)) for row in ids]
            ),
        }


def test_tokenize():
    assert gf.backbones.tokenize(Tokenizer(), ["ab", "c"]).tolist() == [[1, 2], [3, 0]]
    assert gf.backbones.tokenize(Tokenizer(), ("abc",), length=2).tolist() == [[1, 2]]
    with pytest.raises(ValueError, match="in text 1 the id 3 is not only padding"):
        gf.backbones.tokenize(Tokenizer(), ["ab", "cd"], pad_token_id=3)
    with pytest.raises(ValueError, match="no texts"):
        gf.backbones.tokenize(Tokenizer(), [])
    with pytest.raises(ValueError, match="no pad_token_id"):
        gf.backbones.tokenize(lambda *_, **__: {}, ["a"])


def test_function_encoder():
    episode = gf.Episode.single(
        torch.rand(6, 1, 4, 4), torch.tensor([0, 1, -1, -1, -1, -1]), torch.arange(6) > 1, 2
    )
    model = gf.create("prototypical", encoder=lambda x: x.flatten(1), dim=16)
    plain = gf.create("prototypical", encoder=nn.Flatten(), dim=16)
    assert torch.equal(model(episode).logits, plain(episode).logits)
    assert isinstance(model.encoder, gf.backbones.FunctionEncoder)
    assert model.encoder.out_dim == 16
    data = gf.data.arrays(np.zeros((4, 1, 2, 2), dtype=np.float32), np.array([0, 0, 1, 1]))
    assert gf.data.encode(data, lambda x: x.flatten(1), progress=False).x.shape == (4, 4)
    with pytest.raises(ValueError, match="the encoder, a function, has no attribute out_dim"):
        gf.create("egnn", encoder=lambda x: x.flatten(1))


def maps(x):
    return x


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("encoder", "error", "message"),
    [
        (maps, ValueError, r"maps returned features of shape \(6, 1, 4, 4\).*\[6, 16\]: flatten"),
        (lambda x: x.flatten(1)[:3], ValueError, r"shape \(3, 16\) for 6 items"),
        (
            lambda x: x.flatten(1)[:, :9],
            ValueError,
            r"\(6, 9\) for 6 items; they must be \[6, 16\]",
        ),
        (lambda x: x.flatten(1).numpy(), TypeError, "returned a ndarray"),
        (lambda x: x.flatten(1).long(), TypeError, "a tensor of torch.int64"),
        (nn.Identity(), ValueError, r"Identity returned features of shape \(6, 1, 4, 4\)"),
        ("conv4", TypeError, "the encoder is 'conv4'"),
        (nn.Flatten, TypeError, "give a module or a function"),
    ],
)
def test_invalid_encoders_raise(encoder, error, message):
    episode = gf.Episode.single(
        torch.rand(6, 1, 4, 4), torch.tensor([0, 1, -1, -1, -1, -1]), torch.arange(6) > 1, 2
    )
    with pytest.raises(error, match=message):
        gf.create("prototypical", encoder=encoder, dim=16)(episode)


# Models of transformers, small and with random weights; nothing is downloaded.

SMALL = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


@pytest.fixture
def transformers():
    return pytest.importorskip("transformers")


@pytest.mark.parametrize("pooling", [gf.backbones.pooler_output, gf.backbones.mean_pool])
def test_transformers_bert(transformers, pooling):
    model = transformers.BertModel(transformers.BertConfig(vocab_size=20, **SMALL))
    encoder = gf.backbones.HuggingFaceEncoder(model, pooling=pooling).eval()
    ids = texts().x
    out = model(input_ids=ids, attention_mask=(ids != PAD).long())
    expected = (
        out.pooler_output
        if pooling is gf.backbones.pooler_output
        else torch.stack(
            [
                states[row != PAD].mean(0)
                for states, row in zip(out.last_hidden_state, ids, strict=True)
            ]
        )
    )
    assert torch.allclose(encoder(ids), expected, atol=1e-5)
    longer = torch.cat([ids, torch.full((len(ids), 3), PAD)], dim=1)
    assert torch.allclose(encoder(longer), encoder(ids), atol=1e-5)


def test_transformers_vit(transformers, tmp_path):
    config = transformers.ViTConfig(image_size=8, patch_size=4, **SMALL)
    encoder = gf.backbones.HuggingFaceEncoder(transformers.ViTModel(config))
    images = torch.rand(9, 3, 8, 8)
    assert encoder(images).shape == (9, WIDTH)
    episode = gf.Episode.single(images, texts().y, texts().query, 3)
    model = gf.create("egnn", encoder=encoder, width=6)
    path = gf.save(model, tmp_path / "vit")
    again = gf.create(
        "egnn",
        encoder=gf.backbones.HuggingFaceEncoder(transformers.ViTModel(copy.deepcopy(config))),
        width=6,
        seed=3,
    )
    with gf.nn.eval_mode(model), gf.nn.eval_mode(again):
        assert torch.equal(gf.load(path, into=again)(episode).logits, model(episode).logits)
    program = gf.export.export_program(model, episode).module()
    with gf.nn.eval_mode(model):
        assert torch.allclose(program(images, episode.y), model(episode).logits, atol=1e-4)


def test_transformers_clip_and_resnet(transformers):
    clip = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(image_size=8, patch_size=4, projection_dim=5, **SMALL)
    )
    images = torch.rand(2, 3, 8, 8)
    assert torch.allclose(
        gf.backbones.HuggingFaceEncoder(clip, 5)(images), clip(pixel_values=images).image_embeds
    )
    maps = transformers.ResNetModel(
        transformers.ResNetConfig(
            embedding_size=4, hidden_sizes=[4, WIDTH], depths=[1, 1], layer_type="basic"
        )
    )
    assert gf.backbones.HuggingFaceEncoder(maps)(torch.rand(2, 3, 32, 32)).shape == (2, WIDTH)
