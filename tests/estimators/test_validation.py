"""The classifier accepts many types of items and labels, and predicts as with NumPy arrays."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import make_blobs

import graphfew as gf

X, Y = make_blobs(30, centers=3, n_features=4, random_state=0)
NAMES = ["one", "two", "three", "four"]
FEW = np.where(np.arange(30) < 12, Y, -1)
WORDS = np.array(["ant", "bee", "cow"])


def fitted(x=X, y=FEW, **options):
    return gf.FewShotClassifier(**options).fit(x, y)


EXPECTED = fitted().predict_proba(X)


@pytest.mark.parametrize(
    ("change", "tolerance"),
    [
        (lambda t: t, 0),
        (lambda t: t.float(), 1e-5),
        (lambda t: t.clone().requires_grad_(), 0),
        (lambda t: t.half(), 0.02),
        (lambda t: t.bfloat16(), 0.1),
    ],
    ids=["float64", "float32", "requires_grad", "float16", "bfloat16"],
)
def test_torch_tensors(change, tolerance):
    x = change(torch.from_numpy(X))
    classifier = fitted(x, torch.from_numpy(FEW))
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert np.abs(classifier.predict_proba(x) - EXPECTED).max() <= tolerance


def test_pandas_tables_keep_column_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=NAMES, index=np.arange(30)[::-1])
    classifier = fitted(frame, pandas.Series(FEW))
    assert classifier.feature_names_in_.tolist() == NAMES
    assert classifier.n_features_in_ == 4
    assert np.array_equal(classifier.predict_proba(frame), EXPECTED)
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame[NAMES[::-1]])
    nullable = frame.astype("Float64")
    assert np.array_equal(fitted(nullable, FEW).predict_proba(nullable), EXPECTED)
    nullable.iloc[3, 1] = pandas.NA
    with pytest.raises(ValueError, match="NaN"):
        fitted(nullable, FEW)


def pandas_labels(kind):
    pandas = pytest.importorskip("pandas")
    words = [WORDS[c] if c >= 0 else None for c in FEW]
    return {
        "string": lambda: pandas.Series(words, dtype="string"),
        "object": lambda: pandas.Series(words, dtype=object),
        "categorical": lambda: pandas.Series(words, dtype="category"),
        "Categorical": lambda: pandas.Categorical(words, categories=["cow", "ant", "bee", "dog"]),
        "default": lambda: pandas.Series(words),
        "index": lambda: pandas.Index(words),
    }[kind]()


@pytest.mark.parametrize(
    "kind", ["string", "object", "categorical", "Categorical", "default", "index"]
)
def test_missing_strings_in_pandas_are_unlabeled(kind):
    classifier = fitted(X, pandas_labels(kind))
    assert classifier.classes_.tolist() == WORDS.tolist()
    assert np.array_equal(classifier.predict_proba(X), EXPECTED)
    assert classifier.predict(X).tolist() == WORDS[EXPECTED.argmax(1)].tolist()


@pytest.mark.parametrize("dtype", ["Int64", "float64", "Float32", "category"])
def test_missing_numbers_in_pandas_are_unlabeled(dtype):
    pandas = pytest.importorskip("pandas")
    y = pandas.Series([c if c >= 0 else None for c in FEW.tolist()]).astype(dtype)
    classifier = fitted(X, y)
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert classifier.classes_.dtype == np.int64
    assert np.array_equal(classifier.predict_proba(X), EXPECTED)


def test_booleans_and_negative_numbers_are_classes_next_to_missing_ones():
    pandas = pytest.importorskip("pandas")
    two, y = X[Y < 2], Y[Y < 2]
    missing = np.arange(len(y)) >= 10
    flags = pandas.Series((y == 1).tolist(), dtype="boolean").mask(missing)
    assert fitted(two, flags).classes_.tolist() == [False, True]
    signs = pandas.Series(np.where(y == 1, 1, -1), dtype="Int64").mask(missing)
    classifier = fitted(two, signs)
    assert classifier.classes_.tolist() == [-1, 1]
    assert classifier.transduction_[:10].tolist() == signs[:10].tolist()


def test_nan_in_numpy_labels_is_unlabeled():
    classifier = fitted(X, np.where(FEW < 0, np.nan, FEW.astype(float)))
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert np.array_equal(classifier.predict_proba(X), EXPECTED)


def test_fractions_are_rejected_next_to_missing_labels():
    pandas = pytest.importorskip("pandas")
    for y in (Y + 0.5, pandas.Series(Y + 0.5).mask(FEW < 0)):
        with pytest.raises(ValueError, match="Unknown label type: continuous"):
            fitted(X, y)


def test_labels_without_a_finite_value_are_rejected():
    with pytest.raises(ValueError, match="the labels have 0 classes"):
        fitted(X, np.full(30, np.nan))
    with pytest.raises(ValueError, match="Input y contains infinity"):
        fitted(X, np.where(FEW < 0, np.inf, FEW.astype(float)))


def test_pandas_column_of_vectors():
    pandas = pytest.importorskip("pandas")
    column = pandas.Series(list(X))
    assert np.array_equal(fitted(column, FEW).predict_proba(column), EXPECTED)
    with pytest.raises(ValueError, match=r"shapes \(3,\), \(4,\)"):
        fitted(pandas.Series([*X[:-1], X[-1, :3]]), FEW)


def test_arrow_tables_and_columns():
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table(dict(zip(NAMES, X.T, strict=True)))
    for labels in (
        [None if c < 0 else WORDS[c] for c in FEW],
        np.where(FEW < 0, "unlabeled", WORDS[FEW]),
    ):
        column = arrow.chunked_array([arrow.array(labels[:7]), arrow.array(labels[7:])])
        for y in (column, column.combine_chunks(), column.dictionary_encode()):
            classifier = fitted(table, y)
            assert classifier.feature_names_in_.tolist() == NAMES
            assert classifier.classes_.tolist() == WORDS.tolist()
            assert np.array_equal(classifier.predict_proba(table), EXPECTED)
    assert fitted(table.to_batches()[0], FEW).feature_names_in_.tolist() == NAMES
    assert (
        fitted(table, arrow.array([None if c < 0 else int(c) for c in FEW])).classes_.dtype
        == np.int64
    )


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
def test_arrow_column_of_vectors():
    arrow = pytest.importorskip("pyarrow")
    for kind in (arrow.list_(arrow.float64()), arrow.list_(arrow.float64(), 4)):
        column = arrow.chunked_array(
            [arrow.array(X[:9].tolist(), kind), arrow.array(X[9:].tolist(), kind)]
        )
        assert np.array_equal(fitted(column, FEW).predict_proba(column), EXPECTED)
    with pytest.raises(ValueError, match="item 1 is missing"):
        fitted(arrow.array([[1.0], None, [2.0]]), [0, 1, 1])


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix])
@pytest.mark.parametrize(
    "name",
    [
        "nearest_neighbor",
        "prototypical",
        "simpleshot",
        "label_propagation",
        "pool_prototypes",
        "linear_head",
    ],
)
def test_sparse_items_are_predicted_as_dense_ones(name, kind):
    sparse_x = np.where(np.abs(X) > 2, X, 0)
    classifier, dense = (
        fitted(x, Y, method=name, batch_size=7) for x in (kind(sparse_x), sparse_x)
    )
    assert (
        np.abs(classifier.predict_proba(kind(sparse_x)) - dense.predict_proba(sparse_x)).max()
        < 1e-10
    )
    assert np.abs(classifier.similarity(kind(sparse_x)) - dense.similarity(sparse_x)).max() < 1e-10
    assert np.allclose(classifier.class_means_, dense.class_means_)


def test_sparse_items_in_partial_fit():
    sparse_x = sparse.csr_array(np.where(np.abs(X) > 2, X, 0))
    whole = fitted(sparse_x, Y)
    parts = fitted(sparse_x[:20], Y[:20]).partial_fit(sparse_x[20:], Y[20:])
    mixed = fitted(sparse_x[:20], Y[:20]).partial_fit(sparse_x[20:].toarray(), Y[20:])
    other = fitted(sparse_x[:20].toarray(), Y[:20]).partial_fit(sparse_x[20:], Y[20:])
    for classifier in (parts, mixed, other):
        assert (
            np.abs(classifier.predict_proba(sparse_x) - whole.predict_proba(sparse_x)).max() < 1e-10
        )
    unlabeled = fitted(sparse_x[:20], Y[:20]).partial_fit(sparse_x[20:].toarray(), np.full(10, -1))
    assert unlabeled.transduction_[20:].tolist() == whole.predict(sparse_x[20:]).tolist()


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (FEW, {}, r"sparse items \[30, 4\].*18 unlabeled items together.*toarray.*TruncatedSVD"),
        (Y, {"transductive": True}, "predicts its items together"),
    ],
)
def test_sparse_items_that_must_be_dense_are_rejected(y, options, message):
    with pytest.raises(ValueError, match=message):
        fitted(sparse.csr_array(X), y, **options)


def test_column_of_strings_is_not_a_column_of_vectors():
    with pytest.raises(ValueError, match="could not convert string to float"):
        fitted(np.array([["a"], ["b"], ["c"]], dtype=object), [0, 1, 1])
