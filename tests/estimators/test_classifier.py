"""FewShotClassifier satisfies scikit-learn's checks and predicts what the methods predict."""

import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import graphfew as gf
from graphfew.estimators import _models

INDUCTIVE = (
    "pool_prototypes",
    "label_propagation",
    "label_spreading",
    "poisson",
    "prototypical",
    "nearest_neighbor",
    "linear_head",
    "ridge",
)
TRANSDUCTIVE = (
    "pool_prototypes",
    "label_propagation",
    "label_spreading",
    "poisson",
    "pt_map",
    "propagated_prototypes",
)


def expected_failures(estimator):
    """Transductive predictions change if items are removed."""
    failures = {
        "check_methods_subset_invariance": "transductive: items of one call inform each other"
    }
    return failures if estimator.transductive else {}


@parametrize_with_checks(
    [
        *(gf.FewShotClassifier(name) for name in INDUCTIVE),
        gf.FewShotClassifier(head="linear_head"),
        *(gf.FewShotClassifier(name, transductive=True) for name in TRANSDUCTIVE),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def digits(labels=3, seed=0):
    """Train items, their labels with all but a few per class set to -1, true labels, and test items."""
    x, y = load_digits(return_X_y=True)
    x, queries, y, truth = train_test_split(x / 16, y, test_size=300, stratify=y, random_state=seed)
    x, y = x[:600], y[:600]
    few = np.full(len(y), -1)
    for c in range(10):
        few[np.flatnonzero(y == c)[:labels]] = c
    return x, few, y, queries, truth


@pytest.mark.parametrize("name", ["pool_prototypes", "label_propagation", "label_spreading"])
def test_unlabeled_items_improve_accuracy_and_are_labeled(name):
    x, few, y, queries, truth = digits(1)
    using = gf.FewShotClassifier(name).fit(x, few)
    without = gf.FewShotClassifier("prototypical").fit(x[few >= 0], few[few >= 0])
    assert using.score(queries, truth) > without.score(queries, truth) + 0.05
    assert (
        np.mean(using.transduction_[few < 0] == y[few < 0])
        > without.score(x[few < 0], y[few < 0]) + 0.05
    )
    assert (using.transduction_[few >= 0] == few[few >= 0]).all()
    probs = using.label_distributions_
    assert probs.shape == (600, 10)
    assert np.allclose(probs.sum(1), 1)
    assert (probs.argmax(1) == using.transduction_).all()


@pytest.mark.parametrize("transductive", [False, True])
@pytest.mark.parametrize("name", ["pool_prototypes", "label_spreading"])
def test_predictions_match_the_method(name, transductive):
    x, few, _, queries, _ = digits()
    queries = queries[:40]
    fitted = gf.FewShotClassifier(name, transductive=transductive).fit(x[:100], few[:100])
    way = len(fitted.classes_)
    class_index = np.where(few[:100] >= 0, np.searchsorted(fitted.classes_, few[:100]), -1)
    items = torch.from_numpy(np.concatenate([x[:100], queries]))
    labels = torch.from_numpy(np.concatenate([class_index, np.full(40, -1)]))
    model = gf.create(name, encoder=gf.backbones.identity(64), transductive=transductive).double()
    expected = model(
        gf.Episode.single(items, labels, torch.arange(140) >= 100, way)
    ).logits.softmax(1)
    assert np.abs(fitted.predict_proba(queries) - expected.numpy()).max() < 1e-10
    assert (fitted.predict(queries) == fitted.classes_[expected.argmax(1)]).all()


@pytest.mark.parametrize("name", ["pool_prototypes", "label_propagation", "prototypical"])
def test_inductive_predictions_do_not_depend_on_batch_size(name):
    x, few, _, queries, _ = digits()
    context = (x, few) if name != "prototypical" else (x[few >= 0], few[few >= 0])
    whole, small = (
        gf.FewShotClassifier(name, batch_size=b).fit(*context).predict_proba(queries)
        for b in (1000, 7)
    )
    assert np.abs(whole - small).max() < 1e-9


LABELS = {
    "-1": np.array([0, 0, 7, 7, -1, -1]),
    "None": np.array(["a", "a", "b", "b", None, None], dtype=object),
    "word": np.array(["a", "a", "b", "b", "unlabeled", "unlabeled"]),
    "British": np.array(["a", "a", "b", "b", "unlabelled", "unlabelled"]),
    "float": np.array([1.0, 1, 2, 2, -1, -1]),
    "list": ["a", "a", "b", "b", None, None],
    "nan": np.array(["a", "a", "b", "b", np.nan, np.nan], dtype=object),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_marks_of_unlabeled_items(labels):
    x = np.array([[0.0, 1], [0.1, 1], [1, 0], [1, 0.1], [0, 0.9], [0.9, 0]])
    fitted = gf.FewShotClassifier().fit(x, labels)
    first, second = labels[0], labels[2]
    assert fitted.classes_.tolist() == [first, second]
    assert fitted.transduction_.tolist() == [first, first, second, second, first, second]
    assert fitted.predict(x[4:]).tolist() == [first, second]


def test_minus_one_and_one_other_label_are_two_classes():
    x = np.array([[0.0, 1], [0.1, 1], [1, 0], [1, 0.1]])
    fitted = gf.FewShotClassifier().fit(x, [-1, -1, 1, 1])
    assert fitted.classes_.tolist() == [-1, 1]
    assert fitted.predict(x).tolist() == [-1, -1, 1, 1]


def test_pipelines_grid_search_joblib_and_clone(tmp_path):
    x, few, _, queries, truth = digits()
    x, few = x[few >= 0], few[few >= 0]
    pipeline = make_pipeline(StandardScaler(), gf.FewShotClassifier("label_spreading"))
    grid = {
        "fewshotclassifier__arguments": [{"alpha": 0.5}, {"alpha": 0.9}],
        "fewshotclassifier__transductive": [0, 1],
    }
    grid["fewshotclassifier__transductive"] = [False, True]
    search = GridSearchCV(pipeline, grid, cv=3).fit(x, few)
    assert search.score(queries, truth) > 0.6
    assert len(set(search.cv_results_["mean_test_score"])) > 1
    joblib.dump(search.best_estimator_, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    assert (again.predict_proba(queries) == search.best_estimator_.predict_proba(queries)).all()
    fresh = clone(search.best_estimator_)
    assert (
        fresh.get_params()["fewshotclassifier__arguments"]
        == search.best_params_["fewshotclassifier__arguments"]
    )
    assert not hasattr(fresh[-1], "classes_")


@pytest.mark.parametrize(
    ("labels", "mark", "expected"),
    [
        (np.array([3, 4]), None, -1),
        (np.array(["a", "b"]), None, "unknown"),
        (np.array(["a", "b"]), "other intent", None),
        (np.array(["a", "b"], dtype=object), 0, 0),
    ],
)
def test_items_below_the_threshold_are_unknown(labels, mark, expected):
    x, y = make_blobs(60, centers=[[9, 0, 0], [0, 9, 0]], random_state=0)
    classifier = gf.FewShotClassifier("pool_prototypes", unknown_threshold=0.7, unknown_label=mark)
    fitted = classifier.fit(x, labels[y])
    outliers = np.array([[0.0, 0, 9], [0, 0.1, 7]])
    assert fitted.predict(outliers).tolist() == [mark if expected is None else expected] * 2
    assert (fitted.predict(x) == labels[y]).all()
    assert np.abs(fitted.similarity(outliers)).max() < 0.3 < fitted.similarity(x).max(1).min()
    fitted.set_params(unknown_threshold=None)
    assert set(fitted.predict(outliers)) <= set(labels)


@pytest.mark.parametrize("head", ["linear_head", "prototypical", "ridge"])
def test_head_is_fitted_to_predicted_labels(head):
    x, few, _, queries, truth = digits(1)
    fitted = gf.FewShotClassifier(head=head).fit(x, few)
    by_hand = gf.FewShotClassifier(head).fit(x, fitted.transduction_)
    assert np.abs(fitted.predict_proba(queries) - by_hand.predict_proba(queries)).max() < 1e-9
    assert (fitted.transduction_ == gf.FewShotClassifier().fit(x, few).transduction_).all()
    without = gf.FewShotClassifier("prototypical").fit(x[few >= 0], few[few >= 0])
    assert fitted.score(queries, truth) > without.score(queries, truth) + 0.03


def test_head_arguments():
    x, few, _, queries, _ = digits(1)
    weak, strong = (
        gf.FewShotClassifier(head="linear_head", head_arguments={"inv_regularization": s}).fit(
            x, few
        )
        for s in (0.01, 100.0)
    )
    assert (
        weak.predict_proba(queries).max(1).mean()
        < strong.predict_proba(queries).max(1).mean() - 0.2
    )


def test_similarity_matches_its_formula():
    x, few, _, queries, _ = digits()
    fitted = gf.FewShotClassifier("pool_prototypes").fit(x, few)
    unit, unit_queries = (
        items / np.linalg.norm(items, axis=1, keepdims=True) for items in (x, queries)
    )
    probs = fitted.label_distributions_
    for row, query in zip(fitted.similarity(queries[:5]), unit_queries, strict=False):
        for c in range(10):
            mean = sum(p * item for p, item in zip(probs[:, c], unit, strict=True)) / sum(
                probs[:, c]
            )
            assert row[c] == pytest.approx(1 - sum((query - mean) ** 2) / 2, abs=1e-9)


def test_similarity_is_the_cosine_for_classes_of_one_item():
    x, few, _, queries, _ = digits(1)
    x, few = x[few >= 0], few[few >= 0]
    cosines = [
        [q @ s / np.linalg.norm(q) / np.linalg.norm(s) for s in x[few.argsort()]] for q in queries
    ]
    fitted = gf.FewShotClassifier("pool_prototypes").fit(x, few)
    assert np.abs(fitted.similarity(queries) - cosines).max() < 1e-9


def test_partial_fit_adds_classes_and_keeps_earlier_labels():
    x, few, y, queries, truth = digits(10)
    late = np.isin(y, [8, 9])
    fitted = gf.FewShotClassifier().fit(x[~late], few[~late])
    before, means = fitted.label_distributions_.copy(), fitted.class_means_.copy()
    added = late & (few >= 0)
    fitted.partial_fit(x[added], few[added])
    assert fitted.classes_.tolist() == list(range(10))
    assert (fitted.label_distributions_[: len(before), :8] == before).all()
    assert np.allclose(fitted.class_means_[:8], means, atol=1e-12)
    known = truth >= 8
    # Late classes have 10 items and the others about 60, so they are found less often.
    assert (fitted.predict(queries[known]) == truth[known]).mean() > 0.5
    assert (fitted.predict(queries[~known]) == truth[~known]).mean() > 0.8


def test_partial_fit_of_labeled_items_equals_fit():
    x, few, _, queries, _ = digits()
    x, few = x[few >= 0], few[few >= 0]
    whole = gf.FewShotClassifier().fit(x, few)
    order = few.argsort(kind="stable")[::-1]
    parts = (
        gf.FewShotClassifier()
        .fit(x[order[:12]], few[order[:12]])
        .partial_fit(x[order[12:]], few[order[12:]])
    )
    assert parts.classes_.tolist() == whole.classes_.tolist()
    assert np.abs(parts.predict_proba(queries) - whole.predict_proba(queries)).max() < 1e-10
    assert np.abs(parts.similarity(queries) - whole.similarity(queries)).max() < 1e-10


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A checkpoint of a model for images, and digits as images."""
    model = gf.create("egnn", encoder=gf.backbones.conv4(width=4, size=16), width=6)
    x, few, _, queries, _ = digits()
    path = gf.save(model, tmp_path_factory.mktemp("model") / "egnn")
    x_images, query_images = (
        part.reshape(-1, 1, 8, 8).repeat(2, 2).repeat(2, 3).astype("f4")
        for part in (x[:60], queries[:9])
    )
    return path, model, x_images, few[:60], query_images


@pytest.mark.parametrize("transductive", [False, True])
def test_checkpoint_predicts_as_its_model(images, transductive):
    path, model, x, few, queries = images
    fitted = gf.FewShotClassifier(path, transductive=transductive).fit(x, few)
    class_index = np.where(few >= 0, np.searchsorted(fitted.classes_, few), -1)
    e = gf.Episode.single(
        torch.from_numpy(np.concatenate([x, queries])),
        torch.from_numpy(np.concatenate([class_index, np.full(9, -1)])),
        torch.arange(69) >= 60,
        len(fitted.classes_),
    )
    with gf.nn.eval_mode(model):
        expected = model.in_mode(transductive=transductive)(e).logits.softmax(1)
    assert np.abs(fitted.predict_proba(queries) - expected.numpy()).max() < 1e-5


def test_pickle_contains_the_weights_of_the_checkpoint(images, tmp_path):
    _, model, x, few, queries = images
    path = gf.save(model, tmp_path / "model")
    fitted = gf.FewShotClassifier(str(path)).fit(x, few)
    path.unlink()
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.predict_proba(queries) == fitted.predict_proba(queries)).all()


@pytest.mark.parametrize("name", ["boil", "cavia"])
def test_random_classifiers_are_rejected(name):
    """They have no layers: their classifier is a part of the condition."""
    with pytest.raises(ValueError, match=f"{name} has weights that must be trained"):
        gf.FewShotClassifier(name).fit(torch.eye(5).numpy(), range(5))


@pytest.mark.parametrize("name", ["maml_plus_plus", "meta_sgd"])
def test_learned_step_sizes_work_untrained(name):
    x = torch.eye(5).numpy()
    assert gf.FewShotClassifier(name).fit(x, range(5)).predict(x).tolist() == [*range(5)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "egnn"}, "egnn has weights that must be trained"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"method": "pt_map"}, "pt_map is transductive only"),
        ({"unknown_threshold": 2.0}, "unknown_threshold is 2.0"),
        ({"method": "prototypical", "transductive": True}, "prototypical is inductive only"),
        ({"method": "prototypical"}, "cannot use the 2 unlabeled items"),
        ({"method": "nothing"}, "unknown method"),
        ({"arguments": {"alpha": 1}}, "method=\"auto\" has no argument 'alpha'"),
        (
            {"method": "pool_prototypes", "arguments": {"alpha": 1}},
            "pool_prototypes has no argument 'alpha'",
        ),
        ({"method": "gnn.safetensors"}, "gnn.safetensors"),
        ({"head": "pt_map"}, "the head pt_map cannot predict"),
        ({"head": "egnn"}, "the head egnn cannot"),
        ({"head": "linear_head", "transductive": True}, "omit it with"),
        ({"head": "nothing"}, "unknown method"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        gf.FewShotClassifier(**options).fit(np.eye(6), LABELS["-1"])


def test_one_labeled_class_is_rejected():
    with pytest.raises(ValueError, match="1 class"):
        gf.FewShotClassifier().fit(np.eye(3), ["a", "a", None])


def test_fixed_ways_are_checked_by_fit(tmp_path):
    model = gf.create("gnn", encoder=gf.backbones.identity(6), way=3, width=6, growth=4)
    path = gf.save(model, tmp_path / "gnn")
    with pytest.raises(ValueError, match=r"3-way.*2-way"):
        gf.FewShotClassifier(path).fit(np.eye(6), [0, 0, 0, 1, 1, 1])


def test_fixed_ways_are_checked_by_partial_fit(tmp_path):
    model = gf.create("gnn", encoder=gf.backbones.identity(2), way=2, growth=4, width=4)
    x, y = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 2])
    fitted = gf.FewShotClassifier(gf.save(model, tmp_path / "gnn")).fit(x[:2], y[:2])
    before = fitted.predict_proba(x)
    with pytest.raises(ValueError, match="built for 2-way tasks and got a 3-way task"):
        fitted.partial_fit(x[2:], y[2:])
    assert np.array_equal(fitted.predict_proba(x), before)
    assert len(fitted.partial_fit(x[2:], y[:1]).transduction_) == 3


def test_failed_fit_leaves_the_classifier_unchanged():
    x, y = np.eye(4), np.array(["a", "b", "a", "b"])
    fitted = gf.FewShotClassifier("prototypical").fit(x, y)
    before = vars(fitted).copy()
    predicted = fitted.predict(x)
    for items, labels in (
        (np.eye(6), ["c", "d", "d", "e", "c", None]),
        (np.eye(6), ["c", "d", "d", "e", "c"]),
        (np.eye(3), ["c", "c", "c"]),
    ):
        with pytest.raises(ValueError, match=r"unlabeled|inconsistent|1 class"):
            fitted.fit(items, labels)
        assert vars(fitted) == before
        assert (fitted.predict(x) == predicted).all()


def test_failed_partial_fit_leaves_the_classifier_unchanged():
    fitted = gf.FewShotClassifier("prototypical").fit(np.eye(4), ["a", "b", "a", "b"])
    before = vars(fitted).copy()
    with pytest.raises(ValueError, match="unlabeled"):
        fitted.partial_fit(np.eye(4), ["c", "d", "d", None])
    assert vars(fitted) == before


def test_partial_fit_after_a_failed_fit_is_a_first_fit():
    classifier = gf.FewShotClassifier("prototypical")
    with pytest.raises(ValueError, match="unlabeled"):
        classifier.fit(np.eye(3), ["a", "b", None])
    assert not hasattr(classifier, "classes_")
    assert classifier.partial_fit(np.eye(2), ["a", "b"]).classes_.tolist() == ["a", "b"]


@pytest.mark.parametrize("options", [{}, {"head": "linear_head"}])
def test_models_are_built_by_fit_alone(monkeypatch, options):
    x, few, _, queries, _ = digits()
    fitted = gf.FewShotClassifier(**options).fit(x, few)
    expected = fitted.predict_proba(queries)

    def fail(*args, **kwargs):
        raise AssertionError("a model was built")

    monkeypatch.setattr(_models, "create", fail)
    assert (fitted.predict_proba(queries) == expected).all()
    fitted.similarity(queries)


def test_names_of_pretrained_checkpoints_are_accepted():
    name = "prototypical-omniglot"
    x = np.random.default_rng(0).random((6, 1, 28, 28), dtype=np.float32)
    y = [0, 0, 0, 1, 1, 1]
    named = gf.FewShotClassifier(name).fit(x, y)
    by_path = gf.FewShotClassifier(gf.pretrained.path(name)).fit(x, y)
    assert (named.predict_proba(x) == by_path.predict_proba(x)).all()
