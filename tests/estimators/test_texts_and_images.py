"""FewShotClassifier on texts and images."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

import graphfew as gf
from graphfew import encoders
from graphfew.errors import ConfigurationError, DatasetError, InvalidInputError, InvalidTypeError

TEXTS = [
    "turn on the light",
    "play some jazz",
    "turn off the lights",
    "play a jazz song",
    "lights on please",
    "some music please play",
]
LABELS = ["light", "music", None, None, None, None]
TRUTH = ["light", "music", "light", "music", "light", "music"]
NEW = ["light off", "a song by jazz musicians"]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path / "cache"))


def stripes(n):
    """Images of vertical and horizontal stripes in turn."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 60, (n, 24, 24))
    images[::2, :, ::4] += 180
    images[1::2, ::4, :] += 180
    return images.astype(np.uint8)


def mean_columns(images):
    """Features of images: the mean of each column and row."""
    pixels = np.stack([np.asarray(image.convert("L"), dtype=np.float32) for image in images])
    return np.concatenate([pixels.mean(1), pixels.mean(2)], axis=1)


def test_default_encoder_is_reported_once(recwarn):
    classifier = gf.FewShotClassifier().fit(TEXTS, LABELS)
    (warning,) = recwarn
    assert issubclass(warning.category, gf.data.DataWarning)
    assert str(warning.message).startswith("the items are texts, which tfidf encodes")
    assert classifier.transduction_.tolist() == TRUTH
    assert classifier.predict(NEW).tolist() == ["light", "music"]
    assert len(recwarn) == 1
    assert classifier.encoder is None


@pytest.mark.parametrize(
    "container",
    [list, tuple, np.array, pd.Series, lambda texts: pd.DataFrame({"text": texts})],
)
def test_texts_of_any_container(container):
    classifier = gf.FewShotClassifier(encoder="tfidf").fit(container(TEXTS), LABELS)
    assert classifier.transduction_.tolist() == TRUTH
    assert classifier.predict(container(NEW)).tolist() == ["light", "music"]
    assert classifier.similarity(container(NEW)).shape == (2, 2)
    assert classifier.n_features_in_ == classifier.class_means_.shape[1]


def test_images_of_any_form_give_the_same_predictions(tmp_path):
    pixels, labels = stripes(12), np.array([0, 1] + [-1] * 10)
    paths = [tmp_path / f"{i}.png" for i in range(12)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    forms = [pixels, paths, [str(path) for path in paths], [Image.open(path) for path in paths]]
    for items in forms:
        with pytest.warns(gf.data.DataWarning, match="images, which hog encodes"):
            classifier = gf.FewShotClassifier().fit(items, labels)
        assert classifier.transduction_.tolist() == [0, 1] * 6
        assert classifier.predict(items[:2]).tolist() == [0, 1]


def test_function_and_network_are_encoders():
    pixels, labels = stripes(8), [0, 1] + [-1] * 6
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    torch.manual_seed(0)
    for encoder in (mean_columns, encoders.image_encoder(network, size=24), network):
        classifier = gf.FewShotClassifier(encoder=encoder).fit(pixels, labels)
        assert classifier.predict(pixels).shape == (8,)
    assert (
        gf.FewShotClassifier(encoder=mean_columns).fit(pixels, labels).score(pixels, [0, 1] * 4)
        == 1
    )


def test_clone_parameters_and_search():
    classifier = gf.FewShotClassifier(encoder="tfidf")
    assert clone(classifier).get_params()["encoder"] == "tfidf"
    network = encoders.image_encoder(nn.Flatten())
    assert isinstance(clone(gf.FewShotClassifier(encoder=network)).encoder, encoders.ItemEncoder)
    search = GridSearchCV(
        gf.FewShotClassifier("prototypical"),
        {"encoder": ["tfidf", len_features]},
        cv=2,
        error_score="raise",
    )
    search.fit(TEXTS, TRUTH)
    assert search.best_params_ == {"encoder": "tfidf"}


def len_features(texts):
    return np.array([[len(text), 1.0] for text in texts])


def lower(texts):
    return [text.lower() for text in texts]


def test_pipeline_of_texts():
    from sklearn.preprocessing import FunctionTransformer

    pipeline = make_pipeline(FunctionTransformer(lower), gf.FewShotClassifier(encoder="tfidf"))
    pipeline.fit([text.upper() for text in TEXTS], LABELS)
    assert pipeline.predict(["LIGHT", "JAZZ"]).tolist() == ["light", "music"]


def test_pickle_predicts_the_same():
    classifier = gf.FewShotClassifier(encoder="tfidf").fit(TEXTS, LABELS)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(NEW), classifier.predict_proba(NEW))
    checkpoint = "checkpoint:prototypical-omniglot"
    classifier = gf.FewShotClassifier(encoder=checkpoint).fit(stripes(6), [0, 1] + [-1] * 4)
    content = pickle.dumps(classifier)
    weights = sum(p.numel() for p in gf.load("prototypical-omniglot").parameters())
    assert len(content) < weights
    again = pickle.loads(content)
    np.testing.assert_array_equal(again.predict(stripes(4)), classifier.predict(stripes(4)))


def noisy(texts):
    """Features of texts that depend on the batch, by rounding."""
    base = np.array([[float("light" in text), float("play" in text)] for text in texts])
    return base + 1e-6 * len(texts)


def test_partial_fit_corrects_labels_of_equal_items():
    """Also if an encoder rounds differently for another batch."""
    classifier = gf.FewShotClassifier(encoder=noisy).fit(TEXTS, LABELS)
    classifier.partial_fit([TEXTS[2], "stop"], ["music", None])
    assert classifier.transduction_.tolist()[:3] == ["light", "music", "music"]
    assert len(classifier.transduction_) == 7
    classifier.partial_fit(["stop"], ["music"])
    assert len(classifier.transduction_) == 7
    assert classifier.transduction_[6] == "music"


def test_partial_fit_adds_texts_and_classes():
    classifier = gf.FewShotClassifier(encoder="tfidf").partial_fit(TEXTS, LABELS)
    classifier.partial_fit(["please some jazz on the light"], ["both"])
    assert classifier.classes_.tolist() == ["both", "light", "music"]


def test_progress_is_shown_on_request(capsys, monkeypatch):
    monkeypatch.setattr("graphfew.data.io.progress.LINE_INTERVAL", 0.0)
    gf.FewShotClassifier(encoder="tfidf", verbose=True).fit(TEXTS, LABELS)
    assert "encoding by tfidf: 6 of 6" in capsys.readouterr().err
    gf.FewShotClassifier(encoder="tfidf").fit(TEXTS, LABELS)
    assert capsys.readouterr().err == ""


def never(items):
    raise AssertionError("items must not be encoded")


@pytest.mark.parametrize(
    ("encoder", "items", "labels", "error", "message"),
    [
        (never, TEXTS, ["light"] * 6, InvalidInputError, "1 class"),
        (never, TEXTS, ["light"], ValueError, "inconsistent numbers of samples"),
        (never, [*TEXTS[:5], None], LABELS, InvalidInputError, r"1 of 6 items are missing"),
        ("tfidf", np.zeros((6, 2)), LABELS, InvalidTypeError, "features need no encoder"),
        ("tfidf", stripes(6), LABELS, InvalidTypeError, "takes texts, and the items are images"),
        ("hog", TEXTS, LABELS, DatasetError, "6 of 6 images do not exist"),
        ("hogg", TEXTS, LABELS, ConfigurationError, "did you mean hog"),
        (3, TEXTS, LABELS, InvalidTypeError, "the encoder is 3"),
    ],
)
def test_mistakes_are_found_before_any_work(encoder, items, labels, error, message):
    with pytest.raises(error, match=message):
        gf.FewShotClassifier(encoder=encoder).fit(items, labels)


def test_features_after_texts_are_an_error():
    classifier = gf.FewShotClassifier(encoder="tfidf").fit(TEXTS, LABELS)
    with pytest.raises(InvalidTypeError, match="takes texts, and the items are features"):
        classifier.predict(np.zeros((2, classifier.n_features_in_)))


def test_checkpoint_still_takes_arrays_of_images():
    images = gf.data.digits(size=28).gather(np.arange(30)).numpy()
    labels = [*range(10), *[-1] * 20]
    classifier = gf.FewShotClassifier("prototypical-omniglot").fit(images[:10], labels[:10])
    assert classifier.encoder_ is None
