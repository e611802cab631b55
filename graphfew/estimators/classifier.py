"""`FewShotClassifier`: scikit-learn's interface to every method that needs no training, and to trained checkpoints."""

from __future__ import annotations

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

from graphfew.core.episode import UNKNOWN, Episode
from graphfew.estimators import _validation
from graphfew.estimators._predict import (
    class_probabilities,
    float_type,
    from_bytes,
    learns,
    unlearned,
)
from graphfew.methods.registry import find_method
from graphfew.nn.method import GraphMethod
from graphfew.ops.magnitude import clamp_magnitude
from graphfew.serialization import checkpoint

Array = NDArray[Any]


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A few labels per class and, where there are any, unlabeled items: one graph, any method of the library.

    Items to `fit` are the supports and the unlabeled nodes of an episode, items to `predict` its queries. Unlabeled
    items have label -1 where labels are numbers, and None, NaN or "unlabeled" where they are text; in pandas and Arrow
    also what is missing. Labels -1 and one other are the two classes of a binary problem, since one labeled class
    leaves nothing to tell apart.

    Items are NumPy arrays, torch tensors, pandas or Arrow tables or columns of vectors, all of finite numbers. SciPy's
    sparse matrices are taken where each item is answered alone (`transductive=False`) and all of `fit` are labeled:
    then `batch_size` of them are dense at a time, and the labeled ones.

    Args:
        method: a registered name that needs no training, or the path of a checkpoint that `save` or `graphfew train`
            wrote (then items may be images, `[n, c, h, w]`).
        arguments: of the method's factory, such as `{"alpha": 0.9}`.
        head: a registered name that needs no training and answers each item alone, such as "linear_head": `method`
            labels the unlabeled items when fitting, and the head then learns from all of them, with these labels. None
            leaves the answers to `method` as well.
        head_arguments: of the head's factory, such as `{"inv_regularization": 3.0}`.
        transductive: False answers each item alone; True answers all items of one call to `predict` together, so that
            they help each other.
        unknown_threshold: similarity between an item and its class below which `predict` answers `unknown_label`, see
            `similarity`; None always answers a class.
        unknown_label: that answer; None is -1 where labels are numbers, else "unknown".
        batch_size: items answered in one piece of work where each is answered alone; it changes no answer.

    Attributes:
        classes_: `[C]` the labels, sorted.
        transduction_: `[n]` the label of every item of `fit`, its own where it had one.
        label_distributions_: `[n, C]` the shares behind them.
        class_means_: `[C, F]` the means of encoded items of length 1, weighted by these shares.
        n_features_in_, feature_names_in_: as scikit-learn has them.
    """

    method: str | Path
    arguments: Mapping[str, Any] | None
    head: str | None
    head_arguments: Mapping[str, Any] | None
    transductive: bool
    unknown_threshold: float | None
    unknown_label: Any
    batch_size: int

    # scikit-learn has constructors take anything; `fit` refuses.
    def __init__(
        self,
        method: Any = "pool_prototypes",
        *,
        arguments: Any = None,
        head: Any = None,
        head_arguments: Any = None,
        transductive: Any = False,
        unknown_threshold: Any = None,
        unknown_label: Any = None,
        batch_size: Any = 1000,
    ) -> None:
        self.method = method
        self.arguments = arguments
        self.head = head
        self.head_arguments = head_arguments
        self.transductive = transductive
        self.unknown_threshold = unknown_threshold
        self.unknown_label = unknown_label
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any) -> FewShotClassifier:
        """Learn from `X [n, F]` with labels `y [n]`, some of which may be unknown.

        Raises:
            ValueError: input that scikit-learn's checks refuse, fewer than two labeled classes, a method that needs
                training, lacks the mode, or cannot use unlabeled items where there are some.
        """
        self._check_options()
        X, labels = self._checked(X, y, reset=True)
        self.classes_, known = _validation.encode(labels)
        self._weights = Path(self.method).read_bytes() if self._is_checkpoint() else None
        self._check_method(X, known, len(self.classes_))
        _validation.check_sparse(X, int((known < 0).sum()), transductive=self.transductive)
        self._X, self._y = X, known
        way = len(self.classes_)
        self._settle(X, known, np.zeros((0, way)), torch.zeros(way, 1), np.arange(way))
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> FewShotClassifier:
        """Add items, and with them classes. What was settled of earlier items is taken as given from now on: they are
        not divided again, so a class that comes late takes none of them.

        Args:
            X, y: as `fit` takes them; labels may be of old and of new classes.
            classes: labels that may come later; only those that have an item count.

        Raises:
            ValueError: as `fit` does; other features than before.
        """
        del classes
        if not hasattr(self, "classes_"):
            return self.fit(X, y)
        X, labels = self._checked(X, y, reset=False)
        classes, known = _validation.encode(labels, self.classes_)
        _validation.check_sparse(X, int((known < 0).sum()), transductive=self.transductive)
        place = np.searchsorted(classes, self.classes_)
        settled = place[self.label_distributions_.argmax(1)]
        items, given = _validation.stacked(self._X, X), np.concatenate([settled, known])
        self._check_method(items, given, len(classes))
        self.classes_, self._X, self._y = classes, items, given
        self._settle(X, known, self.label_distributions_, self._sums, place)
        return self

    def predict_proba(self, X: Any) -> Array:
        """Shares `[n, C]` of the classes, each row of sum 1; with `transductive` they depend on the other items."""
        return self._answers(self._queries(X))

    def predict(self, X: Any) -> Array:
        """The label `[n]` of each item, `unknown_label` for those below the threshold."""
        queries = self._queries(X)
        best = self._answers(queries).argmax(1)
        labels: Array = self.classes_[best]
        if self.unknown_threshold is None:
            return labels
        strange = self._similarity(queries)[np.arange(len(best)), best] < self.unknown_threshold
        return _validation.with_unknown(labels, strange, self.unknown_label)

    def similarity(self, X: Any) -> Array:
        """How much an item is of a class at all, `[n, C]`: `1 - ‖x - m‖² / 2`, between an encoded item of length 1 and
        `class_means_`. It is at most 1, and the cosine where all items of the class are alike.

        `predict_proba` says which class an item is of if it is of one; this says whether.
        """
        return self._similarity(self._queries(X))

    def _check_options(self) -> None:
        if self.unknown_threshold is not None and not -1 <= self.unknown_threshold <= 1:
            raise ValueError(
                f"unknown_threshold is {self.unknown_threshold!r}; it is a similarity between -1 and 1, "
                "or None"
            )
        if not self.batch_size >= 1:
            raise ValueError(f"batch_size is {self.batch_size!r}; it must be at least 1")

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Array]:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        items = self._items(X, reset=reset)
        labels = column_or_1d(_validation.labels(y), warn=True)
        if labels.dtype.kind == "f":
            assert_all_finite(labels, input_name="y")
        check_consistent_length(items, labels)
        return items, labels

    def _items(self, X: Any, *, reset: bool) -> Any:
        X = _validation.table(X)
        _validation.check_sparse(X, 0, transductive=self.transductive)
        # Its first look at large values sums them up, and warns where that overflows both ways.
        with np.errstate(over="ignore", invalid="ignore"):
            return validate_data(
                self,
                X,
                reset=reset,
                dtype=[np.float64, np.float32],
                allow_nd=self._is_checkpoint(),
                accept_sparse="csr",
                copy=True,
                order="C",
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.transductive
        return tags

    def _queries(self, X: Any) -> Any:
        check_is_fitted(self, "class_means_")
        return self._items(X, reset=False)

    def _is_checkpoint(self) -> bool:
        return isinstance(self.method, Path) or str(self.method).endswith(checkpoint.SUFFIX)

    def _model(self, transductive: bool, items: Any) -> GraphMethod:
        """The method for such items, in the mode asked for where it has both."""
        if self._weights is not None:
            model = from_bytes(self._weights)
            return (
                model
                if model.transductive == transductive
                else model.in_mode(transductive=transductive)
            )
        return unlearned(str(self.method), self.arguments, transductive, items)

    def _check_method(self, X: Any, known: Array, way: int) -> None:
        """Refuse what the method cannot do, before any work."""
        model = self._model(self.transductive, X)
        name = str(self.method) if self._weights is None else getattr(model.spec, "name", None)
        if name is not None:
            method, unlabeled = find_method(name), int((known < 0).sum())
            if not (method.transductive if self.transductive else method.inductive):
                raise ValueError(
                    f"{name} is {'inductive' if self.transductive else 'transductive'} only; give "
                    f"transductive={not self.transductive}, or another method"
                )
            if unlabeled and not method.unlabeled:
                raise ValueError(
                    f"{name} cannot use the {unlabeled} unlabeled items; leave them out, or use a "
                    "method that can, such as pool_prototypes or label_propagation"
                )
        if self._weights is None and learns(model):
            raise ValueError(
                f"{name} has weights that must be trained first; give the path of a checkpoint, or a "
                "method that needs no training"
            )
        self._check_head(X)
        first = [int(np.flatnonzero(known == c)[0]) for c in range(way)]
        labels = torch.tensor([*range(way), UNKNOWN])
        model.check(
            Episode.single(
                torch.tensor(_validation.dense(X[[*first, first[0]]])), labels, labels < 0, way
            )
        )

    def _check_head(self, X: Any) -> None:
        if self.head is None:
            return
        if self.transductive or self._weights is not None:
            raise ValueError(
                f"the head {self.head} answers each item alone and reads features; leave it out with "
                "transductive=True or a checkpoint"
            )
        if not find_method(self.head).inductive or learns(
            unlearned(self.head, self.head_arguments, False, X)
        ):
            raise ValueError(
                f"the head {self.head} cannot answer each item alone without training; give one that can, "
                "such as linear_head or prototypical"
            )

    def _settle(
        self, X: Any, known: Array, before: Array, sums: torch.Tensor, place: Array
    ) -> None:
        """Add the shares of new items, the last ones of the context, to those settled before."""
        way = len(self.classes_)
        shares = np.zeros((len(before) + X.shape[0], way))
        shares[: len(before), place] = before
        new = shares[len(before) :]
        new[known >= 0, known[known >= 0]] = 1
        if (known < 0).any():
            new[known < 0] = self._pile(X[known < 0])
        encoded = self._encoded(X)
        total = torch.zeros(way, encoded.shape[1], dtype=encoded.dtype)
        total[torch.from_numpy(place)] += sums.to(encoded.dtype)
        self._sums = total + torch.from_numpy(new).to(encoded.dtype).T @ encoded
        self.label_distributions_ = shares
        weight = torch.from_numpy(shares.sum(0)).to(encoded.dtype)
        self.class_means_ = (self._sums / weight[:, None]).numpy()
        self.transduction_ = self.classes_[shares.argmax(1)]

    def _pile(self, items: Array) -> Array:
        """Shares of unlabeled items: they are the queries of the labeled ones, asked together where possible."""
        known = self._y >= 0
        registered = None if self._weights is not None else find_method(str(self.method))
        model = self._model(True if registered is None else registered.transductive, items)
        context = _validation.dense(self._X[known].astype(items.dtype, copy=False))
        return class_probabilities(model, context, self._y[known], items, len(self.classes_))

    def _encoded(self, X: Any) -> torch.Tensor:
        """`[n, F]` of length 1."""
        encoder = self._model(self.transductive, X).encoder.to(float_type(X)).eval()
        with torch.no_grad():
            parts = [
                clamp_magnitude(
                    encoder(torch.tensor(_validation.dense(X[i : i + self.batch_size])))
                )
                for i in range(0, X.shape[0], self.batch_size)
            ]
        return F.normalize(torch.cat(parts).flatten(1), dim=1)

    def _similarity(self, queries: Any) -> Array:
        means = torch.from_numpy(self.class_means_).to(float_type(queries))
        out: Array = (self._encoded(queries) @ means.T + (1 - means.square().sum(1)) / 2).numpy()
        return out

    def _answers(self, queries: Any) -> Array:
        step = queries.shape[0] if self.transductive else self.batch_size
        model, known = self._model(self.transductive, queries), self._y
        if self.head is not None:
            model = unlearned(self.head, self.head_arguments, False, queries)
            known = self.label_distributions_.argmax(1)
        context = _validation.dense(self._X.astype(queries.dtype, copy=False))
        return np.concatenate(
            [
                class_probabilities(
                    model,
                    context,
                    known,
                    _validation.dense(queries[i : i + step]),
                    len(self.classes_),
                )
                for i in range(0, queries.shape[0], step)
            ]
        )
