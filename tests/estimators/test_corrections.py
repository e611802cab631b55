"""A given label replaces the label that was predicted for an earlier, unlabeled item."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_blobs

import graphfew as gf
from graphfew.data import DataWarning
from graphfew.estimators._corrections import find_corrections

X, TRUTH = make_blobs(30, centers=3, n_features=4, random_state=0)
Y = np.where(np.arange(30) < 9, TRUTH, -1)
CORRECTED = [12, 20]


def fitted():
    return gf.FewShotClassifier().fit(X, Y)


def other_labels(classifier, rows):
    """Labels that were not predicted for the rows."""
    return (classifier.transduction_[rows] + 1) % 3


def test_corrections_replace_predicted_labels():
    classifier = fitted()
    expected = classifier.transduction_.copy()
    expected[CORRECTED] = other_labels(classifier, CORRECTED)
    classifier.partial_fit(X[CORRECTED], expected[CORRECTED])
    assert classifier.transduction_.tolist() == expected.tolist()
    assert (classifier.label_distributions_[CORRECTED].max(1) == 1).all()
    weights = classifier.label_distributions_
    features = X / np.linalg.norm(X, axis=1, keepdims=True)
    means = weights.T @ features / weights.sum(0)[:, None]
    assert np.abs(classifier.class_means_ - means).max() < 1e-10


def test_corrected_items_predict_as_if_they_had_been_given():
    """The labels of the other unlabeled items are equal, because blobs are far apart."""
    truth = fitted().transduction_
    wrong = np.where(np.arange(30) < 9, TRUTH, -1)
    swapped = other_labels(fitted(), CORRECTED)
    classifier = fitted().partial_fit(X[CORRECTED], swapped)
    whole = truth.copy()
    whole[CORRECTED] = swapped
    expected = gf.FewShotClassifier().fit(X, whole)
    assert len(wrong) == len(classifier.transduction_)
    assert np.abs(classifier.predict_proba(X) - expected.predict_proba(X)).max() < 1e-10


def test_a_correction_can_be_corrected():
    classifier = fitted()
    for label in (2, 0, 1):
        classifier.partial_fit(X[[12]], [label])
        assert (len(classifier.transduction_), classifier.transduction_[12]) == (30, label)


def test_corrections_come_with_new_items_and_classes():
    new = X[:2] + 50
    items = np.concatenate([new[:1], X[CORRECTED], new[1:]])
    classifier = fitted().partial_fit(items, [3, 3, 0, -1])
    assert classifier.classes_.tolist() == [0, 1, 2, 3]
    assert classifier.transduction_.shape == (32,)
    assert classifier.transduction_[[*CORRECTED, 30]].tolist() == [3, 0, 3]


def test_unlabeled_items_correct_nothing():
    classifier = fitted().partial_fit(X[[12]], [-1])
    assert classifier.transduction_.shape == (31,)


def test_a_given_label_is_not_replaced():
    classifier = fitted()
    with pytest.warns(DataWarning, match="1 item equals an earlier one with another given label"):
        classifier.partial_fit(X[[0]], [(TRUTH[0] + 1) % 3])
    assert (len(classifier.transduction_), classifier.transduction_[0]) == (31, TRUTH[0])
    classifier.partial_fit(X[[1]], [TRUTH[1]])
    assert len(classifier.transduction_) == 32


def test_a_class_without_an_item_is_rejected():
    classifier = fitted().partial_fit(X[[12]], [7])
    with pytest.raises(ValueError, match="class 7 has no item left after these corrections"):
        classifier.partial_fit(X[[12]], [0])
    assert classifier.transduction_[12] == 7


def test_equal_items_take_labels_in_order_and_then_the_last_one():
    previous = np.array([[1.0, 2], [0.0, 2], [1, 2], [1, 2], [5, 2]])
    was_unlabeled = np.array([True, True, True, True, False])
    items = np.array([[1.0, 2], [-0.0, 2], [1, 2], [5, 2], [6, 2]])
    found = find_corrections(
        previous, np.zeros(5, dtype=int), was_unlabeled, items, np.array([1, 2, 3, 0, 1])
    )
    labels = dict(zip(found.rows.tolist(), found.class_index.tolist(), strict=True))
    assert labels == {0: 1, 1: 2, 2: 3, 3: 3}
    assert found.is_new.tolist() == [False, False, False, True, True]
    assert found.n_contradictions == 0


def test_more_labels_than_items_are_added():
    previous, items = np.zeros((1, 2)), np.zeros((3, 2))
    found = find_corrections(previous, np.array([0]), np.array([True]), items, np.array([1, 2, -1]))
    assert (found.rows.tolist(), found.class_index.tolist()) == ([0], [1])
    assert found.is_new.tolist() == [False, True, True]


def test_float32_items_correct_float64_ones():
    classifier = fitted().partial_fit(X[CORRECTED].astype(np.float32), [0, 1])
    assert classifier.transduction_.shape == (30,)
    assert classifier.transduction_[CORRECTED].tolist() == [0, 1]


def test_sparse_items_are_corrected():
    items = sparse.csr_array(np.where(np.abs(X) > 2, X, 0))
    classifier = gf.FewShotClassifier().fit(items[:9], TRUTH[:9])
    classifier.partial_fit(items[9:].toarray(), np.full(21, -1))
    corrected = other_labels(classifier, CORRECTED)
    classifier.partial_fit(items[CORRECTED], corrected)
    assert classifier.transduction_.shape == (30,)
    assert classifier.transduction_[CORRECTED].tolist() == corrected.tolist()
