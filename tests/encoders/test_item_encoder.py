"""Encoders without pretrained weights: tfidf, hog and pixels."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graphfew import encoders
from graphfew.encoders.images import array_images, crop_square, load_images, to_bytes
from graphfew.encoders.item_encoder import ItemEncoder
from graphfew.encoders.lazy_model import PretrainedFit
from graphfew.errors import ConfigurationError, DatasetError, InvalidInputError, InvalidTypeError

TEXTS = [
    "turn on the light",
    "switch the lights off",
    "play some jazz",
    "play a song",
    "stop music",
]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path / "cache"))


def cosine(features):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit @ unit.T


def stripes(angle, size=40, period=8):
    """Stripes in one direction, in degrees."""
    y, x = np.mgrid[:size, :size]
    wave = np.cos(np.deg2rad(angle)) * x + np.sin(np.deg2rad(angle)) * y
    return (255 * (np.sin(2 * np.pi * wave / period) > 0)).astype(np.uint8)


def test_tfidf_is_deterministic_and_scaled():
    first, second = (encoders.find_encoder("tfidf").fit(TEXTS).encode(TEXTS) for _ in range(2))
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-5)


def test_tfidf_keeps_the_similarity_of_texts():
    """With as many directions as texts, the projection loses nothing."""
    similarity = cosine(encoders.find_encoder("tfidf").fit(TEXTS).encode(TEXTS))
    assert similarity[0, 1] > similarity[0, 2]
    assert similarity[2, 3] > similarity[2, 0]


def test_tfidf_encodes_unknown_and_empty_texts_as_zero():
    fitted = encoders.find_encoder("tfidf").fit([*TEXTS, ""])
    features = fitted.encode(["", "ццц", TEXTS[0]])
    assert (features[:2] == 0).all()
    assert (features[2] != 0).any()


def test_tfidf_knows_words_of_one_character_and_other_scripts():
    fitted = encoders.find_encoder("tfidf").fit(["我 要 茶", "他 要 水", "cafe", "café"])
    similarity = cosine(fitted.encode(["我 茶", "我 要 茶", "他 要 水", "CAFÉ", "cafe"]))
    assert similarity[0, 1] > similarity[0, 2]
    assert similarity[3, 4] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("texts", [["", ""], ["  ", "\n"]])
def test_tfidf_of_empty_texts_is_an_error(texts):
    with pytest.raises(InvalidInputError, match="2 texts are empty"):
        encoders.find_encoder("tfidf").fit(texts)


def test_tfidf_of_punctuation_uses_characters():
    assert encoders.find_encoder("tfidf").fit(["?!", "...", "?"]).encode(["?!"]).any()


def test_tfidf_pickles_its_vocabulary():
    fitted = encoders.find_encoder("tfidf").fit(TEXTS)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.encode(["some light"]), fitted.encode(["some light"]))


def test_hog_separates_directions_and_ignores_contrast():
    images = [stripes(0), stripes(90), 255 - stripes(0), stripes(0) // 2 + 60]
    similarity = cosine(encoders.find_encoder("hog").fit(images).encode(images))
    assert similarity[0, 1] < similarity[0, 2]
    assert similarity[0, 1] < similarity[0, 3]


def test_hog_separates_colors():
    images = [Image.new("RGB", (9, 9), color) for color in ("red", "crimson", "blue")]
    similarity = cosine(encoders.find_encoder("hog").fit(images).encode(images))
    assert similarity[0, 1] > similarity[0, 2]


def test_hog_of_a_ramp_has_the_direction_of_the_ramp():
    """Directions are half turns: a ramp to the right has only edges of direction 0."""
    from graphfew.encoders.hog import gradient_histograms

    ramp = torch.linspace(0, 1, 32).square().expand(1, 3, 32, 32)
    blocks = gradient_histograms(ramp, cell=8, n_directions=4).view(4, 4, 3, 3)
    assert (blocks[:, 0] > 0.4).all()
    torch.testing.assert_close(blocks[:, 1:], torch.zeros(4, 3, 3, 3))
    upward = gradient_histograms(ramp.mT, cell=8, n_directions=4).view(4, 4, 3, 3)
    assert (upward[:, 2] > 0.4).all()


def test_constant_images_have_finite_features():
    for name in ("hog", "pixels"):
        features = encoders.find_encoder(name).fit(np.zeros((2, 5, 5))).encode(np.zeros((2, 5, 5)))
        assert np.isfinite(features).all()


def test_images_of_all_forms_have_equal_features(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 12, 10, 3), dtype=np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    fitted = encoders.find_encoder("pixels").fit(paths)
    expected = fitted.encode(paths)
    for items in (
        [str(path) for path in paths],
        [Image.fromarray(image) for image in pixels],
        list(pixels),
        pixels,
        pixels.transpose(0, 3, 1, 2),
        torch.from_numpy(pixels),
        pixels.astype(np.float64),
        pixels / 255,
        pixels.astype(np.uint16) * 257,
    ):
        np.testing.assert_array_equal(fitted.encode(items), expected)


def test_gray_and_transparent_images_become_rgb():
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    images = load_images([np.zeros((2, 2, 1)), np.ones((2, 2), dtype=bool), clear])
    assert [image.mode for image in images] == ["RGB"] * 3
    assert [image.getpixel((0, 0))[0] for image in images] == [0, 255, 255]


def test_stack_of_channels_first_is_recognized():
    assert array_images(np.zeros((2, 3, 5, 5)))[0].shape == (5, 5, 3)
    assert array_images(np.zeros((2, 3, 5, 3)))[0].shape == (3, 5, 3)


@pytest.mark.parametrize("values", [[-1.0, 1.0], [0.0, 300.0], [0.0, float("nan")]])
def test_values_of_images_outside_the_ranges_are_an_error(values):
    with pytest.raises(InvalidInputError, match="from 0 to 1, or from 0 to"):
        to_bytes(np.array([values]))


def test_wrong_shape_of_an_image_is_an_error():
    with pytest.raises(InvalidInputError, match=r"an image has shape \(4, 4, 7\)"):
        encoders.find_encoder("pixels").fit([np.zeros((4, 4)), np.zeros((4, 4, 7))]).encode(
            [np.zeros((4, 4)), np.zeros((4, 4, 7))]
        )


def test_crop_takes_the_center():
    wide = Image.new("L", (30, 10), 0)
    wide.paste(255, (10, 0, 20, 10))
    assert np.asarray(crop_square(wide, 10)).min() == 255


def test_missing_images_are_listed_before_any_work(tmp_path):
    with pytest.raises(DatasetError, match=r"2 of 2 images do not exist: .*a\.png, .*b\.png"):
        encoders.find_encoder("hog").fit([tmp_path / "a.png", tmp_path / "b.png"])


def test_damaged_images_are_reported_together(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    Image.new("L", (2, 2)).save(tmp_path / "c.png")
    paths = sorted(tmp_path.glob("*.png"))
    with pytest.raises(DatasetError, match=r"(?s)2 .*a\.png.*b\.png"):
        encoders.find_encoder("hog").fit(paths).encode(paths)


@pytest.mark.parametrize(
    ("name", "items", "message"),
    [
        ("tfidf", np.zeros((2, 4, 4)), "tfidf takes texts, and the items are images; .* is hog"),
        ("hog", ["a text", "b"], "2 of 2 images do not exist"),
        ("hog", np.zeros((2, 4)), "the items are features; features need no encoder"),
        ("tfidf", [[0.0, 1.0]], "the items are features"),
    ],
)
def test_items_of_another_kind_are_an_error(name, items, message):
    with pytest.raises((InvalidTypeError, DatasetError), match=message):
        encoders.find_encoder(name).fit(items)


def test_names_of_images_are_texts_for_an_encoder_of_texts():
    assert encoders.find_encoder("tfidf").fit(["cat.png", "dog.png"]).encode(["cat.png"]).any()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tf-idf", "did you mean tfidf"),
        ("bert", "expected one of tfidf, hog, pixels, transformers:NAME"),
        ("", "unknown encoder ''"),
    ],
)
def test_unknown_name(name, message):
    with pytest.raises(ConfigurationError, match=message):
        encoders.find_encoder(name)


def test_default_encoders():
    assert encoders.default_encoder("text").name == "tfidf"
    assert encoders.default_encoder("image").name == "hog"
    with pytest.raises(InvalidInputError, match="'text' or 'image'"):
        encoders.default_encoder("features")


def lengths(batch):
    """An encoder of texts: their length, and that of the longest one of the batch."""
    longest = max(map(len, batch))
    return np.array([[len(text), longest] for text in batch], dtype=np.float64)


def test_batches_are_of_similar_length_in_the_given_order():
    encoder = ItemEncoder("lengths", ("text",), PretrainedFit(lengths), batch_size=2)
    done = []
    features = encoder.fit(["a"]).encode(["aaa", "a", "aaaa", "aa", "aaaaa"], done.append)
    np.testing.assert_array_equal(features[:, 0], [3, 1, 4, 2, 5])
    np.testing.assert_array_equal(features[:, 1], [3, 1, 5, 3, 5])
    assert done == [2, 4, 5]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (np.zeros(2), r"returned float64 of shape \(2,\) for 2 items"),
        (np.zeros((3, 2)), r"must return numbers \[2, F\]"),
        (np.full((2, 2), np.nan), "not finite"),
        (torch.full((2, 2), float("inf")), "not finite"),
        ([["a"], ["b"]], "must return numbers"),
    ],
)
def test_invalid_results_of_an_encoder(result, message):
    encoder = ItemEncoder("mine", ("text",), PretrainedFit(lambda batch: result))
    with pytest.raises(InvalidInputError, match=f"the encoder mine.*{message}"):
        encoder.fit(["a", "b"]).encode(["a", "b"])


def test_paths_are_relative_to_the_working_directory(tmp_path, monkeypatch):
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert encoders.find_encoder("pixels").fit(["a.png"]).encode(["a.png"]).shape == (1, 3072)
    assert Path("a.png").is_file()
