"""The paths for many items, on few: blocks, features of 16 bits, and searches in cells."""

import numpy as np
import pytest
import torch

import graphfew as gf
from graphfew.estimators.auto import calibration, ensemble, members, mixture, predictor
from graphfew.propagation import diffusion, feature_scaling, search_choice


@pytest.fixture(scope="module")
def items():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 400)
    x = np.eye(40)[y * 3] + rng.normal(0, 0.25, (400, 40))
    return x, y, np.where(np.arange(400) < 24, y, -1)


@pytest.fixture
def small_blocks(monkeypatch):
    for module in (members, mixture, predictor):
        monkeypatch.setattr(module, "ROWS_PER_BLOCK", 37)
    monkeypatch.setattr(ensemble, "ROWS_PER_CHUNK", 37)
    monkeypatch.setattr(diffusion, "COLUMNS", 7)
    monkeypatch.setattr(feature_scaling, "VALUES_PER_BLOCK", 1000)
    monkeypatch.setattr("graphfew.estimators.classifier.ITEMS_PER_BLOCK", 37)


def test_blocks_give_the_results_of_the_whole(items, small_blocks, monkeypatch):
    x, _, given = items
    blocks = gf.FewShotClassifier().fit(x, given)
    monkeypatch.undo()
    whole = gf.FewShotClassifier().fit(x, given)
    assert np.allclose(blocks.label_distributions_, whole.label_distributions_, atol=1e-9)
    assert np.allclose(blocks.class_means_, whole.class_means_)
    assert np.allclose(blocks.similarity(x), whole.similarity(x))


def test_float16_gives_the_labels_of_float32(items):
    x, y, given = items
    half = gf.FewShotClassifier().fit(x.astype(np.float16), given)
    single = gf.FewShotClassifier().fit(x.astype(np.float32), given)
    assert half.label_distributions_.dtype == np.float32
    assert (half.transduction_ == single.transduction_).mean() > 0.99
    assert np.abs(half.label_distributions_ - single.label_distributions_).mean() < 0.01
    queries = x[:50].astype(np.float16)
    assert half.predict_proba(queries).dtype == np.float32
    assert (half.predict(queries) == y[:50]).mean() > 0.9
    assert half._predictor.ensemble.features.dtype == torch.float16


def test_cells_give_nearly_the_labels_of_exact_search(items, monkeypatch):
    x, y, given = items
    exact = gf.FewShotClassifier().fit(x, given)
    monkeypatch.setattr(search_choice, "EXACT_NODES", 100)
    monkeypatch.setattr(ensemble, "EXACT_NODES", 100)
    cells = gf.FewShotClassifier().fit(x, given)
    assert (exact.neighbor_search_, cells.neighbor_search_) == ("exact_search", "cell_search")
    assert (cells.transduction_ == exact.transduction_).mean() > 0.98
    assert (cells.predict(x) == y).mean() > 0.9


def test_few_labeled_items_count_among_many_unlabeled_ones(items, monkeypatch):
    x, _, given = items
    x, given = np.tile(x, (4, 1)), np.concatenate([given, *[np.full(400, -1)] * 3])
    given[12:24] = -1
    separate = gf.FewShotClassifier().fit(x, given)
    monkeypatch.setattr(ensemble, "MAX_COPIED", 100)
    monkeypatch.setattr(calibration, "MAX_CALIBRATED", 2000)
    together = gf.FewShotClassifier().fit(x, given)
    difference = separate.label_distributions_ - together.label_distributions_
    assert np.abs(difference).mean() < 0.02
    assert (separate.transduction_ == together.transduction_).mean() > 0.98


def test_similarity_of_fitted_items_is_that_of_the_fit(items):
    x, _, given = items
    classifier = gf.FewShotClassifier().fit(x, given)
    assigned = classifier.label_distributions_.argmax(1)
    expected = classifier.similarity(x)[np.arange(400), assigned]
    assert np.allclose(classifier.transduction_similarity_, expected, atol=1e-6)
    assert gf.FewShotClassifier("poisson").fit(x, given).transduction_similarity_ is None
