"""`method="auto"`: the ensemble, its parts, and the classifier's default."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.metrics import roc_auc_score

import graphfew as gf
from graphfew.estimators.auto.calibration import fit_inv_temperature
from graphfew.estimators.auto.ensemble import fit_ensemble
from graphfew.estimators.auto.weights import default_weights
from graphfew.propagation import sparse_knn_gaussian
from graphfew.propagation.diffusion import diffuse_features
from graphfew.propagation.feature_scaling import fit_scaling
from graphfew.propagation.prior_estimation import estimate_prior, match_prior, prior_features


def partially_labeled(loader, shots, seed, sizes=None):
    """Items, given labels and truth; `sizes` maps the classes that are used to their sizes."""
    x, y = loader(return_X_y=True)
    rng = np.random.default_rng(seed)
    sizes = sizes or {c: int((y == c).sum()) for c in np.unique(y)}
    rows = {c: rng.permutation(np.flatnonzero(y == c))[:size] for c, size in sizes.items()}
    given = np.full(len(y), -1)
    for items in rows.values():
        given[items[:shots]] = y[items[:shots]]
    chosen = rng.permutation(np.concatenate(list(rows.values())))
    return x[chosen], given[chosen], y[chosen]


def accuracy(classifier, x, given, truth):
    unlabeled = given == -1
    return (classifier.fit(x, given).transduction_[unlabeled] == truth[unlabeled]).mean()


def mean_accuracy(loader, shots, sizes=None, seeds=range(5)):
    results = []
    for seed in seeds:
        x, given, truth = partially_labeled(loader, shots, seed, sizes)
        results.append(accuracy(gf.FewShotClassifier(), x, given, truth))
    return np.mean(results)


def test_auto_is_the_default():
    assert gf.FewShotClassifier().method == "auto"


# The former default pool_prototypes had 80, 64 and 61 %.
@pytest.mark.parametrize(
    ("loader", "shots", "sizes", "at_least"),
    [
        (load_iris, 5, None, 0.92),
        (load_wine, 5, None, 0.92),
        (load_breast_cancer, 5, None, 0.90),
        (load_digits, 5, {3: 170, 8: 9 + 5}, 0.94),
    ],
    ids=["iris", "wine", "breast cancer", "digits 95:5"],
)
def test_accuracy_on_raw_tables_and_imbalanced_classes(loader, shots, sizes, at_least):
    assert mean_accuracy(loader, shots, sizes) >= at_least


@pytest.mark.parametrize("loader", [load_wine, load_digits])
def test_the_unit_of_the_features_changes_nothing(loader):
    x, given, _ = partially_labeled(loader, 3, 0)
    plain = gf.FewShotClassifier().fit(x, given)
    scaled = gf.FewShotClassifier().fit(x * 1000, given)
    assert (plain.transduction_ == scaled.transduction_).all()
    np.testing.assert_allclose(
        plain.label_distributions_, scaled.label_distributions_, rtol=1e-4, atol=1e-6
    )


def test_constant_columns_and_columns_of_other_units_change_little():
    x, given, truth = partially_labeled(load_wine, 5, 0)
    odd = np.column_stack([x * 10.0 ** np.arange(13), np.full(len(x), 7.0), np.zeros(len(x))])
    assert accuracy(gf.FewShotClassifier(), odd, given, truth) == pytest.approx(
        accuracy(gf.FewShotClassifier(), x, given, truth), abs=0.01
    )


def test_predicting_fitted_items_repeats_the_transduction():
    x, given, _ = partially_labeled(load_digits, 3, 0, dict.fromkeys(range(10), 40))
    fitted = gf.FewShotClassifier().fit(x, given)
    unlabeled = given == -1
    agreement = fitted.predict(x[unlabeled]) == fitted.transduction_[unlabeled]
    assert agreement.mean() > 0.97


def test_transductive_prediction_uses_the_other_queries():
    x, given, truth = partially_labeled(load_digits, 1, 0, dict.fromkeys(range(10), 40))
    labeled = given != -1
    queries, target = x[~labeled], truth[~labeled]
    alone = gf.FewShotClassifier().fit(x[labeled], given[labeled]).predict(queries)
    classifier = gf.FewShotClassifier(transductive=True).fit(x[labeled], given[labeled])
    together = classifier.predict(queries)
    assert (together == target).mean() > (alone == target).mean() + 0.05


def test_predictions_of_a_batch_are_those_of_single_items():
    x, given, _ = partially_labeled(load_digits, 3, 0, dict.fromkeys(range(10), 20))
    fitted = gf.FewShotClassifier().fit(x[:150], given[:150])
    probs = fitted.predict_proba(x[150:])
    single = np.concatenate([fitted.predict_proba(row[None]) for row in x[150:]])
    np.testing.assert_allclose(probs, single, atol=1e-10)


def test_copies_and_pickles_predict_the_same():
    x, given, _ = partially_labeled(load_wine, 3, 0)
    fitted = gf.FewShotClassifier().fit(x, given)
    expected = fitted.predict_proba(x)
    for other in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(other.predict_proba(x), expected)


def test_queries_of_another_dtype():
    x, given, _ = partially_labeled(load_wine, 3, 0)
    fitted = gf.FewShotClassifier().fit(x, given)
    probs = fitted.predict_proba(x.astype(np.float32))
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs, fitted.predict_proba(x), atol=1e-4)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((6, 3)),
        np.array([[0.0], [1], [2], [3], [4], [5]]),
        np.repeat([[0.0, 1], [1, 0]], 3, axis=0),
        np.array([[0.0, 0], [1, 1], [1e30, 0], [0, 0], [1, 1], [0, 1e30]]),
    ],
    ids=["all equal", "one column", "duplicates", "huge"],
)
def test_degenerate_items_have_finite_probabilities(x):
    fitted = gf.FewShotClassifier().fit(x, [0, 1, -1, -1, -1, -1])
    for probs in (fitted.label_distributions_, fitted.predict_proba(x)):
        assert np.isfinite(probs).all()
        np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)
    assert np.isfinite(fitted.similarity(x)).all()


def test_contradicting_twins_are_not_confident():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal([0, 0], 0.1, (30, 2)), rng.normal([4, 4], 0.1, (30, 2))])
    twins = np.array([[2.0, 2.0]] * 3)
    labels = np.full(63, -1)
    labels[[0, 30]] = 0, 1
    labels[[60, 61]] = 0, 1
    fitted = gf.FewShotClassifier().fit(np.concatenate([x, twins]), labels)
    assert fitted.label_distributions_[62].max() < 0.8
    assert fitted.label_distributions_[1].max() > 0.9


def test_arguments_and_images_are_rejected():
    with pytest.raises(
        gf.errors.InvalidInputError, match="method=\"auto\" has no argument 'alpha'"
    ):
        gf.FewShotClassifier(arguments={"alpha": 1}).fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(gf.errors.InvalidInputError, match="unknown_threshold is 'auto'"):
        gf.FewShotClassifier("label_propagation", unknown_threshold="auto").fit([[0.0]], [0])


def test_automatic_threshold_refuses_outliers_and_few_members():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 64))
    x = np.concatenate([rng.normal(c, 0.5, (80, 64)) for c in centers])
    truth = np.repeat([0, 1, 2], 80)
    # The third class has no label: its items are outliers.
    labels = np.full(240, -1)
    labels[[0, 1, 80, 81]] = 0, 0, 1, 1
    fitted = gf.FewShotClassifier(unknown_threshold="auto").fit(x, labels)
    predicted = fitted.predict(x)
    assert (predicted[truth == 2] == -1).mean() > 0.9
    assert (predicted[truth < 2] == -1).mean() < 0.1


def test_new_outliers_are_less_similar_than_members():
    x, given, _ = partially_labeled(load_digits, 5, 0, dict.fromkeys(range(6), 60))
    fitted = gf.FewShotClassifier(unknown_threshold="auto").fit(x, given)
    digits, labels = load_digits(return_X_y=True)
    outliers = digits[labels >= 8]
    members = digits[(labels < 6)][500:]
    assert (fitted.predict(outliers) == -1).mean() > (fitted.predict(members) == -1).mean() + 0.2
    queries = np.concatenate([members, outliers])
    is_member = np.arange(len(queries)) < len(members)
    means = np.stack([x[given == c].mean(0) for c in range(6)])
    distance = np.linalg.norm(queries[:, None] - means, axis=2).min(1)
    baseline = roc_auc_score(is_member, -distance)
    assert roc_auc_score(is_member, fitted.similarity(queries).max(1)) > baseline - 0.01


def test_partial_fit_adds_unlabeled_items_and_classes():
    x, given, truth = partially_labeled(load_digits, 5, 0, {0: 60, 1: 60, 2: 60})
    first = np.flatnonzero(truth < 2)
    rest = np.flatnonzero(truth == 2)
    fitted = gf.FewShotClassifier().fit(x[first], given[first])
    fitted.partial_fit(x[rest], given[rest])
    assert fitted.classes_.tolist() == [0, 1, 2]
    added = fitted.transduction_[len(first) :]
    assert (added == 2).mean() > 0.9


def test_scaling_of_tables_embeddings_and_offsets():
    rng = torch.Generator().manual_seed(0)
    table = torch.randn(50, 5, generator=rng) * torch.tensor([1.0, 10, 100, 1e3, 1e4])
    standardized = fit_scaling(table)(table)
    assert standardized.std(0, correction=0).allclose(torch.full((5,), 5**-0.5), rtol=1e-3)
    embeddings = torch.randn(50, 100, generator=rng)
    assert fit_scaling(embeddings)(embeddings).norm(dim=1).allclose(torch.ones(50))
    offset = fit_scaling(embeddings + 1000)
    assert not offset.unit_length
    assert offset(embeddings + 1000).mean(0).abs().max() < 1e-4


def test_diffusion_equals_a_loop():
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    topology, weights = sparse_knn_gaussian(x, 3)
    matrix = torch.zeros(12, 12, dtype=x.dtype)
    for sender, receiver, weight in zip(
        topology.senders, topology.receivers, weights[:, 0], strict=True
    ):
        matrix[receiver, sender] = weight
    expected = x.clone()
    for _ in range(7):
        step = torch.zeros_like(x)
        for i in range(12):
            for j in range(12):
                step[i] += matrix[i, j] / matrix[i].sum() * expected[j]
        expected = 0.8 * step + 0.2 * x
    torch.testing.assert_close(diffuse_features(topology, weights, x, 0.8, 7), expected)


def test_matched_prior_and_estimated_prior():
    logits = torch.randn(500, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    prior = torch.tensor([0.7, 0.2, 0.08, 0.02], dtype=torch.float64)
    matched = (logits + match_prior(logits, prior)).softmax(1).mean(0)
    torch.testing.assert_close(matched, prior, atol=1e-3, rtol=0)
    predictions = torch.tensor([[0] * 90 + [1] * 10] * 3)
    features = prior_features(predictions, 2, 1.0)
    expected = np.log(91) - (np.log(91) + np.log(11)) / 2
    torch.testing.assert_close(features[0, :3], torch.full((3,), expected, dtype=torch.float64))
    estimate = estimate_prior(predictions, 2, 3.0, default_weights().prior)
    assert estimate.sum() == pytest.approx(1)
    assert estimate[0] > 0.75
    with pytest.raises(
        gf.errors.InvalidInputError, match="there are 2 weights; 3 classifiers need 11"
    ):
        estimate_prior(predictions, 2, 1.0, [1.0, 1.0])


def test_temperature_gives_the_mean_confidence():
    logits = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    factor = fit_inv_temperature(logits, 0.8)
    assert (factor * logits).softmax(1).amax(1).mean() == pytest.approx(0.8, abs=1e-3)


def test_ensemble_does_not_depend_on_the_order_of_items():
    x, given, _ = partially_labeled(load_wine, 3, 0)
    order = np.random.default_rng(1).permutation(len(x))
    plain = fit_ensemble(torch.tensor(x), torch.tensor(given), 3, default_weights())
    shuffled = fit_ensemble(
        torch.tensor(x[order]), torch.tensor(given[order]), 3, default_weights()
    )
    torch.testing.assert_close(plain.logits[order], shuffled.logits, atol=1e-4, rtol=1e-4)
