"""What the classifier settles in `fit` is used by `predict`, and survives pickling."""

import copy
import pickle
import time

import numpy as np
import pytest

import graphfew as gf
from graphfew.estimators import _fitting

WITH_UNLABELED = ("pool_prototypes", "label_propagation", "label_spreading", "poisson")
LABELED_ONLY = (
    "prototypical",
    "simpleshot",
    "nearest_neighbor",
    "matching",
    "linear_head",
    "ridge",
    "logistic",
    "metaoptnet_svm",
    "imprinting",
    "hypernetwork",
)
FITTED = (*WITH_UNLABELED, *LABELED_ONLY)


def blobs(n, n_classes=5, dim=8, seed=0, dtype=np.float64):
    """Items around class centers, two of each class labeled, and ten others."""
    generator = np.random.default_rng(seed)
    y = np.arange(n + 10) % n_classes
    x = generator.standard_normal((n_classes, dim))[y] + 0.5 * generator.standard_normal(
        (n + 10, dim)
    )
    few = np.where(np.arange(n) < 2 * n_classes, y[:n], -1)
    return x[:n].astype(dtype), few, x[n:].astype(dtype)


def fit(name, n=60, **options):
    x, few, queries = blobs(n, **options)
    if name in LABELED_ONLY:
        few = np.arange(n) % 5
    return gf.FewShotClassifier(name).fit(x, few), queries


@pytest.mark.parametrize("name", FITTED)
def test_predictions_run_no_episode(name, monkeypatch):
    fitted, queries = fit(name)
    expected = fitted.predict_proba(queries)

    def fail(*args, **kwargs):
        raise AssertionError("an episode was built")

    monkeypatch.setattr(_fitting, "with_queries", fail)
    monkeypatch.setattr(_fitting, "predict", fail)
    assert (fitted.predict_proba(queries) == expected).all()


@pytest.mark.parametrize("name", FITTED)
def test_copies_and_pickles_predict_the_same(name):
    fitted, queries = fit(name)
    expected = fitted.predict_proba(queries)
    for again in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert (again.predict_proba(queries) == expected).all()


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("dtypes", [("f4", "f8"), ("f8", "f4")], ids="-".join)
def test_queries_of_another_dtype(name, dtypes):
    own, queries = fit(name, dtype=dtypes[0])
    other = own.predict_proba(queries.astype(dtypes[1]))
    assert other.dtype == dtypes[1]
    assert np.abs(other - own.predict_proba(queries)).max() < 1e-4


@pytest.mark.parametrize("head", ["linear_head", "simpleshot"])
def test_the_head_is_fitted_once(head, monkeypatch):
    x, few, queries = blobs(60)
    fitted = gf.FewShotClassifier(head=head).fit(x, few)
    by_hand = gf.FewShotClassifier(head).fit(x, fitted.transduction_)
    monkeypatch.setattr(_fitting, "with_queries", None)
    assert np.abs(fitted.predict_proba(queries) - by_hand.predict_proba(queries)).max() < 1e-12


@pytest.mark.parametrize("name", WITH_UNLABELED)
def test_partial_fit_settles_again(name):
    x, few, queries = blobs(60)
    parts = gf.FewShotClassifier(name).fit(x[:30], few[:30]).partial_fit(x[30:], few[30:])
    # Labels that were predicted for earlier items count as given.
    labels = np.concatenate([parts.transduction_[:30], few[30:]])
    whole = gf.FewShotClassifier(name).fit(x, labels)
    assert np.abs(parts.predict_proba(queries) - whole.predict_proba(queries)).max() < 1e-10


def seconds(fitted, items, repeats=15):
    """Processor time of a prediction; other load on the machine adds little to the minimum."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        fitted.predict_proba(items)
        times.append(time.process_time() - begin)
    return min(times)


@pytest.mark.parametrize("name", ["pool_prototypes", "label_spreading", "simpleshot", "matching"])
def test_prediction_does_not_grow_with_the_fitted_set(name):
    """40 times the items: one search in them is allowed, an episode of them would take 100 times."""
    small, queries = fit(name, n=500)
    large, _ = fit(name, n=20_000)
    assert seconds(large, queries[:1]) < 20 * seconds(small, queries[:1])
