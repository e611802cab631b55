"""`suggest`: the items to label next."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from scipy import sparse
from torch import Tensor

from graphfew._utils.data_warning import warn_data
from graphfew.data.draws import check_seed
from graphfew.data.label_marks import is_default_mark, label_key
from graphfew.data.label_values import label_values
from graphfew.data.labels import class_indices, resolve_labels
from graphfew.errors import InvalidInputError
from graphfew.estimators import _validation
from graphfew.labeling.active.item_graph import ItemGraph, build_item_graph
from graphfew.labeling.active.labeling_state import (
    Index,
    PredictClasses,
    Strategy,
    make_state,
    predict_by_ensemble,
)
from graphfew.labeling.active.recommended import recommended_items
from graphfew.propagation.neighbors import Search
from graphfew.propagation.search_choice import auto_search


def suggest(
    X: Any,
    y: Any,
    n: int,
    *,
    strategy: Strategy = recommended_items,
    seed: int = 0,
    unlabeled_marks: Any = None,
    search: Search = auto_search,
) -> Index:
    """Suggest the items to label next.

    Without any label, the suggestions are for the start. A batch has no near-duplicates, unless
    nothing else is left.

    Args:
        X: `[N, F]` features, as for `FewShotClassifier`.
        y: `[N]` labels, as for `FewShotClassifier`: -1, None, "unlabeled" and other usual marks if
            unlabeled. All items may be unlabeled. Next to a single class, -1 is no second class.
        n: number of items.
        strategy: a function such as those in `STRATEGIES`.
        seed: of the strategy's random choices.
        unlabeled_marks: see `FewShotClassifier`; None takes all default marks.
        search: finds nearest neighbors; the default is approximate for more than
            30,000 items.

    Returns:
        Item indices `[n]`, best first; all unlabeled items if there are fewer.

    Raises:
        InvalidInputError: shapes that do not match, values that are not finite, fewer than two
            items, or an `n` or `seed` that is out of range.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> first = suggest(X, [None] * len(X), 10)
        >>> len(set(y[first])) >= 7
        True
    """
    class_index = _class_index(y, unlabeled_marks)
    x = _features(X)
    if len(x) != len(class_index):
        raise InvalidInputError(
            f"X has {len(x)} items and y {len(class_index)} labels; pass one label per item"
        )
    _check_number(n)
    check_seed(seed)
    graph = build_item_graph(x, search=search)
    return suggest_from_graph(graph, class_index, n, strategy=strategy, seed=seed)


def suggest_from_graph(
    graph: ItemGraph,
    class_index: Int[Tensor, " N"],
    n: int,
    *,
    strategy: Strategy = recommended_items,
    seed: int = 0,
    is_excluded: Bool[Tensor, " N"] | None = None,
    predict: PredictClasses = predict_by_ensemble,
) -> Index:
    """Suggest items of a graph that is built once and used for every round.

    Args:
        graph: the items.
        class_index: `[N]` class of each item; -1 if unlabeled. Classes may have no label.
        n: number of items.
        strategy: a function such as those in `STRATEGIES`.
        seed: of the strategy's random choices.
        is_excluded: `[N]` items that must not be suggested, such as skipped ones.
        predict: returns class probabilities, if the strategy needs them.

    Returns:
        Item indices `[n]`, best first; fewer if fewer items are unlabeled and not excluded.

    Raises:
        InvalidInputError: `n` or `seed` is out of range, shapes do not match, or the strategy
            returns items that are no candidates.

    Example:
        >>> import torch
        >>> graph = build_item_graph(torch.tensor([[0.0], [0.1], [0.5], [0.9], [1.0]]))
        >>> len(suggest_from_graph(graph, torch.tensor([0, -1, -1, -1, 1]), 2))
        2
    """
    _check_number(n)
    check_seed(seed)
    if len(class_index) != graph.n_items:
        raise InvalidInputError(
            f"the graph has {graph.n_items} items and class_index {len(class_index)}; pass one "
            "class index per item"
        )
    state = make_state(graph, _without_gaps(class_index), is_excluded=is_excluded, predict=predict)
    n_candidates = int(state.is_candidate.sum())
    rng = np.random.default_rng(seed)
    chosen = np.zeros(0, dtype=np.int64)
    if n_candidates:
        chosen = np.asarray(strategy(state, min(n, n_candidates), rng), dtype=np.int64)
        _check_chosen(chosen, state.is_candidate.numpy(), min(n, n_candidates))
    # Near-duplicates of labeled or suggested items are last.
    is_left = class_index < 0
    if is_excluded is not None:
        is_left = is_left & ~is_excluded
    is_left[chosen] = False
    others = rng.permutation(torch.nonzero(is_left).flatten().numpy())
    return np.concatenate([chosen, others[: max(n - len(chosen), 0)]])


def _class_index(y: Any, unlabeled_marks: Any) -> Tensor:
    labels = label_values(y)
    if unlabeled_marks is None:
        # A classifier needs two classes and would take -1 next to a single class as the second. Here
        # one class is a usual start.
        known = labels.values[~labels.is_missing].ravel().tolist()
        keys = {label_key(label) for label in known}
        unlabeled_marks = sorted(key for key in keys if is_default_mark(key))
    resolved = resolve_labels(labels, unlabeled_marks)
    warn_data(resolved.notes)
    _, class_index = class_indices(resolved)
    return torch.from_numpy(class_index)


def _features(X: Any) -> Tensor:
    converted = _validation.as_items(X)
    items = converted.toarray() if sparse.issparse(converted) else np.asarray(converted)
    if items.dtype.kind not in "biuf" or items.ndim != 2:
        raise InvalidInputError(
            f"X has shape {items.shape} and type {items.dtype}; suggestions need numeric features "
            "[n, F]; encode texts and images first"
        )
    return torch.from_numpy(items).to(_validation.float_dtype(items))


def _without_gaps(class_index: Tensor) -> Tensor:
    """Number the classes that have a label from 0."""
    is_labeled = class_index >= 0
    numbered = torch.full_like(class_index, -1)
    _, numbered[is_labeled] = torch.unique(class_index[is_labeled], return_inverse=True)
    return numbered


def _check_number(n: int) -> None:
    if operator.index(n) < 1:
        raise InvalidInputError(f"n is {n}; suggest at least 1 item")


def _check_chosen(chosen: Index, is_candidate: Any, n: int) -> None:
    """Raise InvalidInputError if a strategy does not return `n` different candidates."""
    is_valid = len(chosen) == n == len(set(chosen.tolist()))
    is_valid = is_valid and bool(((chosen >= 0) & (chosen < len(is_candidate))).all())
    if not is_valid or not is_candidate[chosen].all():
        raise InvalidInputError(
            f"the strategy returned {chosen.tolist()[:10]}; it must return {n} different items of "
            "state.candidates"
        )
