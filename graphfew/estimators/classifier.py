"""`FewShotClassifier`: scikit-learn's interface to methods that need no training and to checkpoints."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data
from torch.nn import functional as F

from graphfew._utils.data_warning import warn_data
from graphfew.data.label_values import LabelValues, label_values
from graphfew.data.table_columns import drop_index
from graphfew.errors import InvalidInputError
from graphfew.estimators import _raw_items, _validation
from graphfew.estimators._corrections import find_corrections
from graphfew.estimators._fitting import FittedItems, ItemPredictor, encode_items, fit_items
from graphfew.estimators._models import ModelFactory, check_head, check_method
from graphfew.estimators.auto.predictor import AUTO, AutoPredictor, check_auto, fit_auto
from graphfew.serialization import pretrained
from graphfew.serialization.checkpoint import SUFFIX, checkpoint_path
from graphfew.serialization.hub_download import is_hub_address

Array = NDArray[Any]
# Items whose class means are summed at a time.
ITEMS_PER_BLOCK = 65_536


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifier for a few labels per class, with or without unlabeled items.

    The items of `fit` are the support set and the unlabeled set of an episode, the items of
    `predict` its queries. Unlabeled items have label -1, None or NaN, "unlabeled", or another usual
    mark (see `unlabeled_marks`); missing labels of pandas and Arrow are unlabeled too. With labels
    -1 and one other number, both are classes, because one class cannot be classified. A
    `gf.data.DataWarning` reports labels that are ambiguous, class names that are easily confused,
    and the index that pandas writes, which is no feature.

    Items are NumPy arrays, torch tensors, and pandas or Arrow tables or columns of vectors, with
    finite values. SciPy's sparse matrices are accepted if items are predicted one by one
    (`transductive=False`) and all items of `fit` are labeled; then only the labeled items and
    `batch_size` queries are dense at a time.

    Texts and images are items, too: lists of texts, of paths of images or of PIL images, and arrays
    `[n, h, w]` or `[n, h, w, c]`. `encoder` computes their features.

    Args:
        method: "auto", an ensemble that suits data of many kinds (see
            `graphfew.estimators.auto.ensemble.fit_ensemble`); the name of a registered method that
            works without training; the path of a checkpoint that `save` or `graphfew train` wrote; or
            the name of a pretrained checkpoint. With a checkpoint, items may be images
            `[n, c, h, w]`.
        arguments: arguments of the method, such as `{"alpha": 0.9}`.
        head: name of a registered inductive method that works without training, such as
            "linear_head" or "ridge". `fit` then labels the unlabeled items by `method`, and the
            head is fitted to all items with these labels. None predicts with `method` itself.
        head_arguments: arguments of the head, such as `{"inv_regularization": 3.0}`.
        transductive: True predicts all items of one call to `predict` together, so that they
            inform each other; False predicts each item alone.
        unknown_threshold: similarity between an item and its class (see `similarity`) below which
            `predict` returns `unknown_label`; "auto" chooses it so that about 5 % of the members of
            the classes are refused, with the method "auto" only; None always returns a class.
        unknown_label: the label of such items; None is -1 if labels are numbers, otherwise
            "unknown".
        batch_size: number of items that are predicted at a time if each is predicted alone; it does
            not change the predictions.
        unlabeled_marks: the mark or marks of unlabeled items, compared exactly, such as "?"; `()` if
            every label is a class. None takes the default ones: -1, -100, "?", "-", and in any case
            "unlabeled", "unlabelled", "unknown", "NA", "N/A", "nan", "none" and "null". Missing
            labels and blank text are always unlabeled.
        encoder: of texts or images: a name such as "tfidf", "hog" or
            "sentence-transformers:all-MiniLM-L6-v2" (see `graphfew.encoders.find_encoder`), an
            `ItemEncoder`, a torch module of images, or a function that maps a list of texts or of
            RGB images to features `[n, F]`. None takes "tfidf" for texts and "hog" for images, with
            a `DataWarning`, and nothing for features. Pretrained weights are not part of a pickle
            of the classifier; they are loaded again by name.
        verbose: whether the progress of encoding is shown on standard error.

    Attributes:
        classes_: `[C]` the labels, sorted.
        transduction_: `[n]` the label of every item of `fit`, predicted if it was unlabeled.
        label_distributions_: `[n, C]` class probabilities of these items.
        class_means_: `[C, F]` means of the encoded items, scaled to length 1 and weighted by these
            probabilities.
        auto_threshold_: with the method "auto", the similarity that about 95 % of the members of
            the classes reach; None otherwise.
        transduction_similarity_: with the method "auto", `[n]` similarity of every item of `fit` to its
            label in `transduction_`; None otherwise.
        neighbor_search_: with the method "auto", the name of the search for neighbors: exact, or
            `cell_search` for more than 30,000 items; None otherwise.
        encoder_: the fitted encoder of texts or images; None if the items are features.
        n_features_in_, feature_names_in_: as in scikit-learn; of raw items, the number of features.

    Example:
        >>> import numpy as np
        >>> from sklearn.datasets import load_digits
        >>> X, truth = load_digits(return_X_y=True)
        >>> y = np.where(np.arange(len(truth)) < 30, truth, -1)  # 30 labels
        >>> classifier = FewShotClassifier().fit(X[:1000], y[:1000])
        >>> bool((classifier.predict(X[1000:]) == truth[1000:]).mean() > 0.7)
        True
    """

    method: str | Path
    arguments: Mapping[str, Any] | None
    head: str | None
    head_arguments: Mapping[str, Any] | None
    transductive: bool
    unknown_threshold: float | str | None
    unknown_label: Any
    batch_size: int
    unlabeled_marks: Any
    encoder: Any
    verbose: bool

    # The parameters are not typed: scikit-learn requires that any value is accepted here and
    # rejected by `fit`.
    def __init__(
        self,
        method: Any = AUTO,
        *,
        arguments: Any = None,
        head: Any = None,
        head_arguments: Any = None,
        transductive: Any = False,
        unknown_threshold: Any = None,
        unknown_label: Any = None,
        batch_size: Any = 1000,
        unlabeled_marks: Any = None,
        encoder: Any = None,
        verbose: Any = False,
    ) -> None:
        self.method = method
        self.arguments = arguments
        self.head = head
        self.head_arguments = head_arguments
        self.transductive = transductive
        self.unknown_threshold = unknown_threshold
        self.unknown_label = unknown_label
        self.batch_size = batch_size
        self.unlabeled_marks = unlabeled_marks
        self.encoder = encoder
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> FewShotClassifier:
        """Fit to items and their labels, some of which may be unknown.

        If it fails, a fitted classifier is unchanged.

        Args:
            X: `[n, F]` items.
            y: `[n]` labels.

        Returns:
            The classifier.

        Raises:
            ValueError: scikit-learn's checks reject the input.
            InvalidInputError: there are fewer than two labeled classes, or the method needs
                training, lacks the mode, or cannot use unlabeled items.
            MissingFileError: the checkpoint does not exist.

        Example:
            >>> FewShotClassifier().fit([[0, 1], [1, 0], [0, 2]], ["a", "b", None]).transduction_
            array(['a', 'b', 'a'], dtype=object)
        """
        # A copy is fitted, so that an error at any point leaves this estimator unchanged.
        fitted = copy.copy(self)
        fitted._fit(X, y)
        self.__dict__ = fitted.__dict__
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> FewShotClassifier:
        """Add items, and possibly classes; correct predicted labels of earlier items.

        A labeled item that equals an earlier, unlabeled one replaces the label that was predicted
        for it, instead of being added. Other labels that were predicted for earlier items are not
        revised, so a class that is added later is not assigned to any of them. If it fails, the
        classifier is unchanged.

        Args:
            X: `[n, F]` items.
            y: `[n]` labels, of previous or new classes.
            classes: ignored; in scikit-learn, the labels that may come later.

        Returns:
            The classifier.

        Raises:
            ValueError: scikit-learn's checks reject the input, or the number of features changed.
            InvalidInputError: as for `fit`, or a class has no item after its last one is corrected.

        Example:
            >>> classifier = FewShotClassifier().fit([[0, 1], [1, 0]], ["a", "b"])
            >>> classifier.partial_fit([[-1, 0]], ["c"]).predict([[-2, 0]])
            array(['c'], dtype='<U1')
            >>> classifier = FewShotClassifier().fit([[0, 1], [1, 0], [0, 2]], ["a", "b", None])
            >>> classifier.partial_fit([[0, 2]], ["b"]).transduction_  # was "a"
            array(['a', 'b', 'b'], dtype=object)
        """
        # Part of scikit-learn's signature; here classes may appear with any call.
        del classes
        if not hasattr(self, "classes_"):
            return self.fit(X, y)
        fitted = copy.copy(self)
        fitted._add(X, y)
        self.__dict__ = fitted.__dict__
        return self

    def predict_proba(self, X: Any) -> Array:
        """Compute class probabilities.

        Args:
            X: `[n, F]` items. With `transductive=True`, the result for an item depends on the
                others.

        Returns:
            `[n, C]` probabilities; each row sums to 1.

        Raises:
            ValueError: scikit-learn's checks reject the input.

        Example:
            >>> classifier = FewShotClassifier().fit([[0, 1], [1, 0]], ["a", "b"])
            >>> classifier.predict_proba([[1, 1]])
            array([[0.5, 0.5]])
        """
        return self._probabilities(self._validate_queries(X))

    def predict(self, X: Any) -> Array:
        """Predict labels.

        Args:
            X: `[n, F]` items.

        Returns:
            `[n]` labels; `unknown_label` for items below `unknown_threshold`.

        Raises:
            ValueError: scikit-learn's checks reject the input.

        Example:
            >>> classifier = FewShotClassifier(unknown_threshold=0.5)
            >>> classifier.fit([[0, 1], [1, 0]], ["a", "b"]).predict([[0, 1], [-1, -1]])
            array(['a', 'unknown'], dtype='<U7')
        """
        queries = self._validate_queries(X)
        predicted = self._probabilities(queries).argmax(1)
        labels: Array = self.classes_[predicted]
        if self.unknown_threshold is None:
            return labels
        similarity = self._similarity(queries)[np.arange(len(predicted)), predicted]
        return _validation.mark_unknown(labels, similarity < self._threshold(), self.unknown_label)

    def similarity(self, X: Any) -> Array:
        """Compute how similar items are to each class, to detect out-of-distribution items.

        `predict_proba` compares the classes with each other, so it is confident about an item that
        is far from all of them. The similarity is not normalized over classes.

        Formula:
            `1 - ‖x - m‖² / 2`. With the method "auto", `x` is the item averaged with its neighbors
            among the items of `fit`, and `m` the mean of the labeled items of the class. With other
            methods or a head, `x` is the encoded item scaled to length 1 and `m` a row of
            `class_means_`. It is at most 1 for the items of `fit`, and can be a little larger for
            others.

        Args:
            X: `[n, F]` items.

        Returns:
            `[n, C]` similarities.

        Raises:
            ValueError: scikit-learn's checks reject the input.

        Example:
            >>> classifier = FewShotClassifier().fit([[0, 1], [1, 0]], ["a", "b"])
            >>> classifier.similarity([[0, 1]]).round(2)
            array([[1.  , 0.98]])
        """
        return self._similarity(self._validate_queries(X))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.transductive
        tags.input_tags.string = self.encoder is not None
        return tags

    def _fit(self, X: Any, y: Any) -> None:
        self._check_parameters()
        # Errors of labels come first, because encoding may take minutes.
        labels = self._validate_labels(X, y)
        self.classes_, class_index = _validation.encode_labels(labels, self.unlabeled_marks)
        self.encoder_ = _raw_items.fit_encoder(
            self.encoder, X, accepts_images=self._is_checkpoint()
        )
        X, self._digests = self._encode_raw(X)
        X = self._validate_items(X, reset=True)
        n_classes, n_features = len(self.classes_), int(np.prod(X.shape[1:]))
        content = checkpoint_path(self.method).read_bytes() if self._is_checkpoint() else None
        if self.method == AUTO:
            # The ensemble is no registered method. Prototypes encode items for `class_means_`.
            self._factory = ModelFactory("prototypical", None, None, n_features)
        else:
            self._factory = ModelFactory(str(self.method), self.arguments, content, n_features)
        self._head_factory = None
        if self.head is not None:
            self._head_factory = ModelFactory(self.head, self.head_arguments, None, n_features)
        self._check_models(X, class_index, n_classes)
        n_unlabeled = int((class_index < 0).sum())
        _validation.check_sparse(X, n_unlabeled, transductive=self.transductive)
        self._X, self._class_index = X, class_index
        self._was_unlabeled = class_index < 0
        self._update(X, class_index, previous_probs=np.zeros((0, n_classes)))

    def _add(self, X: Any, y: Any) -> None:
        labels = self._validate_labels(X, y)
        classes, class_index = _validation.encode_labels(
            labels, self.unlabeled_marks, self.classes_
        )
        X, digests = self._encode_raw(X)
        X = self._validate_items(X, reset=False)
        X = _raw_items.repeat_features(self._X, self._digests, X, digests)
        n_unlabeled = int((class_index < 0).sum())
        _validation.check_sparse(X, n_unlabeled, transductive=self.transductive)
        # Classes are sorted, so a new one shifts the columns of those after it.
        previous_columns = np.searchsorted(classes, self.classes_)
        previous_probs = np.zeros((len(self.label_distributions_), len(classes)))
        previous_probs[:, previous_columns] = self.label_distributions_
        # From here on, items that were unlabeled before count with their predicted class.
        previous_index = previous_probs.argmax(1)
        corrections = find_corrections(self._X, previous_index, self._was_unlabeled, X, class_index)
        previous_index[corrections.rows] = corrections.class_index
        previous_probs[corrections.rows] = np.eye(len(classes))[corrections.class_index]
        X, class_index = X[corrections.is_new], class_index[corrections.is_new]
        new_digests = list(itertools.compress(digests, corrections.is_new))
        all_items = _validation.vstack(self._X, X)
        all_indices = np.concatenate([previous_index, class_index])
        _validation.check_class_sizes(classes, all_indices)
        self._check_models(all_items, all_indices, len(classes))
        self.classes_, self._X, self._class_index = classes, all_items, all_indices
        self._digests = [*self._digests, *new_digests]
        self._was_unlabeled = np.concatenate([self._was_unlabeled, class_index < 0])
        self._update(X, class_index, previous_probs=previous_probs)
        _validation.warn_contradictions(corrections.n_contradictions)

    def _update(self, X: Any, class_index: Array, *, previous_probs: Array) -> None:
        """Set the fitted attributes from new items, which are the last ones of the context."""
        n_classes = len(self.classes_)
        n_previous = len(previous_probs)
        dtype = np.float32 if X.dtype == np.float16 else np.float64
        probs = np.zeros((n_previous + X.shape[0], n_classes), dtype=dtype)
        probs[:n_previous] = previous_probs
        new_probs = probs[n_previous:]  # a view: the assignments below fill `probs`
        labeled = class_index >= 0
        new_probs[labeled, class_index[labeled]] = 1
        # The ensemble reads the items themselves.
        features = None if self.method == AUTO else self._encode(self._X)
        fitted = self._fit_method(features)
        del features
        new_probs[~labeled] = fitted.unlabeled_probs
        self._predictor = fitted.predictor
        self.transduction_similarity_ = fitted.similarity
        self.neighbor_search_ = fitted.search
        del fitted
        self.auto_threshold_: float | None = None
        if isinstance(self._predictor, AutoPredictor):
            self.auto_threshold_ = self._predictor.ensemble.threshold
        if self._head_factory is not None:
            self._predictor = self._fit_head(self._head_factory, probs.argmax(1))

        self.class_means_ = self._class_means(probs)
        self.label_distributions_ = probs
        self.transduction_ = self.classes_[probs.argmax(1)]

    def _class_means(self, probs: Array) -> Array:
        """Means of the encoded items, `[C, F]`, from blocks of items."""
        sums: torch.Tensor | None = None
        for start in range(0, len(probs), ITEMS_PER_BLOCK):
            rows = slice(start, start + ITEMS_PER_BLOCK)
            features = F.normalize(self._encode(self._X[rows]), dim=1)
            part = torch.from_numpy(probs[rows]).to(features.dtype).T @ features
            sums = part if sums is None else sums + part
        assert sums is not None
        class_weights = torch.from_numpy(probs.sum(0)).to(sums.dtype)
        means: Array = (sums / class_weights[:, None]).numpy()
        return means

    def _fit_method(self, features: torch.Tensor | None) -> FittedItems:
        n_classes, transductive = len(self.classes_), self.transductive
        if features is not None:
            return fit_items(
                self._factory,
                self._X,
                features,
                self._class_index,
                n_classes,
                transductive=transductive,
            )
        weights = (self.arguments or {}).get("weights")
        return fit_auto(
            self._X, self._class_index, n_classes, transductive=transductive, weights=weights
        )

    def _fit_head(self, factory: ModelFactory, class_index: Array) -> ItemPredictor:
        """Fit the head to all items with their given and predicted labels."""
        items, n_classes = self._X, len(self.classes_)
        features = encode_items(factory, items, transductive=False, batch_size=self.batch_size)
        fitted = fit_items(factory, items, features, class_index, n_classes, transductive=False)
        return fitted.predictor

    def _check_parameters(self) -> None:
        threshold = self.unknown_threshold
        if isinstance(threshold, str):
            if threshold != "auto" or self.method != AUTO or self.head is not None:
                raise InvalidInputError(
                    f"unknown_threshold is {threshold!r}; it must be a number or None, or "
                    '"auto" with method="auto" and no head'
                )
        elif threshold is not None and not -1 <= threshold <= 1:
            raise InvalidInputError(
                f"unknown_threshold is {threshold!r}; it must be a similarity between -1 and 1, "
                '"auto", or None'
            )
        if not self.batch_size >= 1:
            raise InvalidInputError(f"batch_size is {self.batch_size!r}; it must be at least 1")

    def _check_models(self, X: Any, class_index: Array, n_classes: int) -> None:
        if self.method == AUTO:
            check_auto(self.arguments, X)
        else:
            check_method(self._factory, X, class_index, n_classes, transductive=self.transductive)
        if self._head_factory is None:
            return
        if self.transductive or self._is_checkpoint():
            raise InvalidInputError(
                f"the head {self.head} predicts each item alone from features; omit it with "
                "transductive=True or a checkpoint"
            )
        check_head(self._head_factory, X)

    def _validate_labels(self, X: Any, y: Any) -> LabelValues:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        labels = label_values(y)
        column = column_or_1d(labels.values, warn=True)
        if column.dtype.kind == "f":
            assert_all_finite(column, allow_nan=True, input_name="y")
        check_consistent_length(X, column)
        return LabelValues(column, labels.is_missing.ravel())

    def _validate_queries(self, X: Any) -> Any:
        check_is_fitted(self, "class_means_")
        X, _ = self._encode_raw(X)
        return self._validate_items(X, reset=False)

    def _encode_raw(self, X: Any) -> tuple[Any, list[bytes]]:
        """The features of raw items and their digests; other items as they are."""
        if self.encoder_ is None:
            return X, []
        return _raw_items.encode_raw(self.encoder_, X, verbose=self.verbose)

    def _validate_items(self, X: Any, *, reset: bool) -> Any:
        feature_names = None if reset else getattr(self, "feature_names_in_", ())
        X, notes = drop_index(_validation.as_items(X), feature_names)
        warn_data(notes)
        _validation.check_sparse(X, 0, transductive=self.transductive)
        # scikit-learn first sums all values, which may overflow for large ones and warn.
        with np.errstate(over="ignore", invalid="ignore"):
            return validate_data(
                self,
                X,
                reset=reset,
                dtype=[np.float64, np.float32, np.float16],
                allow_nd=self._is_checkpoint(),
                accept_sparse="csr",
                # Predictions use these items later, when the caller may have overwritten the array.
                copy=True,
                order="C",
            )

    def _is_checkpoint(self) -> bool:
        method = self.method
        return (
            isinstance(method, Path)
            or str(method).endswith(SUFFIX)
            or is_hub_address(str(method))
            or str(method) in pretrained.names()
        )

    def _encode(self, X: Any) -> torch.Tensor:
        return encode_items(
            self._factory, X, transductive=self.transductive, batch_size=self.batch_size
        )

    def _threshold(self) -> float:
        if isinstance(self.unknown_threshold, str):
            assert self.auto_threshold_ is not None
            return self.auto_threshold_
        assert self.unknown_threshold is not None
        return self.unknown_threshold

    def _similarity(self, queries: Any) -> Array:
        if isinstance(self._predictor, AutoPredictor):
            return self._predictor.similarity(queries, self.batch_size)
        means = torch.from_numpy(self.class_means_).to(_validation.float_dtype(queries))
        features = F.normalize(self._encode(queries), dim=1)
        # 1 - ‖x - m‖² / 2 with ‖x‖ = 1.
        similarity: Array = (features @ means.T + (1 - means.square().sum(1)) / 2).numpy()
        return similarity

    def _probabilities(self, queries: Any) -> Array:
        return self._predictor.probabilities(queries, self.batch_size)
