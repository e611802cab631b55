"""`suggest`: its checks, and what it guarantees whatever the strategy."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris

from graphfew.errors import InvalidInputError
from graphfew.labeling import (
    STRATEGIES,
    build_item_graph,
    find_strategy,
    suggest,
    suggest_from_graph,
)

X, TRUTH = load_iris(return_X_y=True)
FEW = np.where(np.arange(len(X)) % 25 == 0, TRUTH, -1)


@pytest.fixture(scope="module")
def graph():
    return build_item_graph(torch.from_numpy(X))


def check_suggested(chosen, y, n):
    unlabeled = np.flatnonzero(np.asarray(y) < 0)
    assert len(chosen) == len(set(chosen.tolist())) == min(n, len(unlabeled))
    assert np.isin(chosen, unlabeled).all()


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("n", [5, 1000])
@pytest.mark.parametrize(
    "y",
    [
        pytest.param(np.full(len(X), -1), id="cold start"),
        pytest.param(np.where(np.arange(len(X)) < 2, 0, -1), id="one class"),
        pytest.param(FEW, id="few labels"),
        pytest.param(TRUTH, id="all labeled"),
    ],
)
def test_strategies_return_distinct_unlabeled_items(graph, name, n, y):
    chosen = suggest_from_graph(graph, torch.from_numpy(y), n, strategy=STRATEGIES[name])
    check_suggested(chosen, y, n)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "x",
    [
        pytest.param(np.ones((30, 3)), id="constant"),
        pytest.param(np.repeat(np.eye(3), 10, axis=0), id="duplicates"),
        pytest.param(np.eye(2), id="two items"),
    ],
)
def test_strategies_accept_degenerate_features(name, dtype, x):
    y = np.full(len(x), -1)
    for labels in (y, np.where(np.arange(len(x)) == 0, 0, y)):
        chosen = suggest(x.astype(dtype), labels, 12, strategy=STRATEGIES[name])
        check_suggested(chosen, labels, 12)
    if len(x) > 2:
        labels = np.where(np.arange(len(x)) % 11 == 0, np.arange(len(x)) // 11, -1)
        check_suggested(suggest(x.astype(dtype), labels, 4, strategy=STRATEGIES[name]), labels, 4)


@pytest.mark.parametrize("name", STRATEGIES)
def test_same_seed_gives_the_same_items(graph, name):
    y = torch.from_numpy(FEW)
    first, again = (
        suggest_from_graph(graph, y, 6, strategy=STRATEGIES[name], seed=3) for _ in range(2)
    )
    assert first.tolist() == again.tolist()


def test_marks_of_unlabeled_items_are_those_of_the_classifier():
    names = np.array(["setosa", "versicolor", "virginica"])
    as_text = [names[label] if label >= 0 else "unlabeled" for label in FEW]
    assert suggest(X, as_text, 5).tolist() == suggest(X, FEW, 5).tolist()
    marked = [names[label] if label >= 0 else "todo" for label in FEW]
    assert suggest(X, marked, 5, unlabeled_marks="todo").tolist() == suggest(X, FEW, 5).tolist()
    assert suggest(X, [None] * len(X), 5).tolist() == suggest(X, np.full(len(X), -1), 5).tolist()


def test_class_names_do_not_change_the_suggestions():
    renamed = np.where(FEW >= 0, 10 * FEW + 7, -1)
    assert suggest(X, renamed, 5).tolist() == suggest(X, FEW, 5).tolist()


def test_a_batch_has_no_near_duplicates():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(40, 5))] * 3)
    x[40:] += 1e-4 * rng.normal(size=(80, 5))
    y = np.full(120, -1)
    y[0] = 0
    for strategy in STRATEGIES.values():
        chosen = suggest(x, y, 39, strategy=strategy)
        assert sorted(chosen % 40) == list(range(1, 40))
        # Only copies are left.
        check_suggested(suggest(x, y, 60, strategy=strategy), y, 60)


def test_excluded_items_are_never_suggested(graph):
    excluded = torch.arange(len(X)) % 2 == 0
    for strategy in STRATEGIES.values():
        y = torch.from_numpy(FEW)
        chosen = suggest_from_graph(graph, y, 1000, strategy=strategy, is_excluded=excluded)
        assert len(chosen) == int((~excluded & (y < 0)).sum())
        assert not excluded[chosen].any()


def test_cold_start_finds_more_classes_than_random_choice():
    x, y = load_digits(return_X_y=True)
    graph, unlabeled = build_item_graph(torch.from_numpy(x[:800])), torch.full((800,), -1)
    found = {"typical": [], "random": []}
    for seed in range(3):
        for name, counts in found.items():
            strategy = STRATEGIES[name]
            chosen = suggest_from_graph(graph, unlabeled, 10, strategy=strategy, seed=seed)
            counts.append(len(set(y[chosen])))
    assert np.mean(found["typical"]) >= np.mean(found["random"]) + 1.5


@pytest.mark.parametrize(
    ("x", "y", "n", "message"),
    [
        (X, FEW, 0, "n is 0; suggest at least 1"),
        (X, FEW[:-1], 1, "X has 150 items and y 149 labels"),
        (X[:1], FEW[:1], 1, "at least 2 items"),
        (X[0], FEW, 1, r"shape \(4,\)"),
        (np.where(np.arange(600).reshape(150, 4) == 9, np.nan, X), FEW, 1, "first is item 2;"),
        (["a", "b"], [-1, -1], 1, "encode texts and images first"),
    ],
)
def test_wrong_input_is_rejected(x, y, n, message):
    with pytest.raises(InvalidInputError, match=message):
        suggest(x, y, n)


def test_wrong_seed_name_and_strategy_are_rejected(graph):
    y = torch.from_numpy(FEW)
    with pytest.raises(InvalidInputError, match="seed is -1"):
        suggest_from_graph(graph, y, 1, seed=-1)
    with pytest.raises(InvalidInputError, match="unknown strategy 'margins'; expected one of"):
        find_strategy("margins")
    with pytest.raises(InvalidInputError, match="must return 2 different items"):
        suggest_from_graph(graph, y, 2, strategy=lambda state, n, rng: state.candidates[[0, 0]])
    with pytest.raises(InvalidInputError, match="must return 1 different items"):
        suggest_from_graph(graph, y, 1, strategy=lambda state, n, rng: np.array([0]))
    with pytest.raises(InvalidInputError, match="class_index 3"):
        suggest_from_graph(graph, y[:3], 1)
