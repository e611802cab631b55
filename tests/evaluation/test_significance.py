"""Comparisons of many rows against numbers made by hand and by scipy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bench_records import accuracies, result
from scipy import stats

from graphfew.evaluation.significance import (
    average_over_seeds,
    compare_pairwise,
    holm_correction,
    not_significantly_below_best,
    rank_methods,
)

# Accuracies of 4 methods over 14 data sets with the mean ranks of Demšar 2006, table 6.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.0, 1.0, 1.0, 1.0],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_holm_by_hand() -> None:
    assert holm_correction([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm_correction([0.9, 0.8]) == (1.0, 1.0)
    assert holm_correction([]) == ()


def test_ranks_are_those_of_demsars_example() -> None:
    ranking = rank_methods(DEMSAR)
    assert ranking.ranks == pytest.approx((3.143, 2.0, 2.893, 1.964), abs=0.001)
    assert ranking.critical_difference == pytest.approx(1.25, abs=0.01)
    assert ranking.n_benchmarks == 14
    scipy = stats.friedmanchisquare(*DEMSAR.T)
    assert (ranking.statistic, ranking.p_value) == pytest.approx((scipy.statistic, scipy.pvalue))
    assert ranking.groups == ((3, 1, 2, 0),)


def test_groups_are_the_longest_runs() -> None:
    ranking = dataclasses.replace(rank_methods(DEMSAR), critical_difference=1.0)
    assert ranking.groups == ((3, 1, 2), (2, 0))
    assert dataclasses.replace(ranking, critical_difference=0.01).groups == ()


def test_rows_that_are_all_alike_are_not_told_apart() -> None:
    ranking = rank_methods(np.full((3, 4), 0.5))
    assert (ranking.statistic, ranking.p_value, ranking.ranks) == (0.0, 1.0, (2.5,) * 4)


@pytest.mark.parametrize(
    "accuracies", [np.ones((1, 3)), np.ones((3, 1)), np.full((2, 2), np.nan), np.ones(3)]
)
def test_too_little_to_rank_is_refused(accuracies: np.ndarray, unchecked: None) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        rank_methods(accuracies)


def test_seeds_are_averaged_task_by_task() -> None:
    one = average_over_seeds([result((0.2, 0.4)), result((0.4, 0.8)), result((0.6, 0.0))])
    assert one.result.per_task == pytest.approx((0.4, 0.4))
    assert (one.result.mean, one.n_seeds) == (pytest.approx(0.4), 3)
    assert one.seed_std == pytest.approx(np.std([0.3, 0.6, 0.3], ddof=1))
    assert average_over_seeds([result((0.2, 0.4))]).seed_std is None


def test_seeds_of_other_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="different tasks"):
        average_over_seeds([result((0.2, 0.4)), result((0.2, 0.4, 0.6))])
    with pytest.raises(ValueError, match="at least one"):
        average_over_seeds([])


def test_pairs_are_paired_and_corrected_over_all_of_them() -> None:
    rows = [result(accuracies(mean, seed=seed)) for mean, seed in ((0.80, 0), (0.80, 1), (0.70, 2))]
    pairs = compare_pairwise(rows)
    raw = [
        stats.ttest_rel(rows[a].per_task, rows[b].per_task).pvalue
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert [(pair.a, pair.b) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    assert [pair.comparison.p_value for pair in pairs] == pytest.approx(raw)
    assert [pair.corrected_p for pair in pairs] == pytest.approx(holm_correction(raw))
    assert [pair.significant for pair in pairs] == [False, True, True]


def test_the_best_are_all_that_are_not_significantly_below() -> None:
    rows = [
        result(accuracies(mean, seed=seed)) for mean, seed in ((0.70, 2), (0.80, 0), (0.795, 1))
    ]
    assert not_significantly_below_best(rows) == (False, True, True)
    assert not_significantly_below_best(rows[:1]) == (True,)
    assert not_significantly_below_best([]) == ()
    with pytest.raises(ValueError, match="different tasks"):
        not_significantly_below_best([rows[0], result(rows[1].per_task, tasks={"seed": 3})])


def test_the_correction_counts_the_comparisons_with_the_best() -> None:
    best, other = np.full(30, 0.8), 0.8 - np.random.default_rng(0).normal(0.0045, 0.0095, 30)
    p_value = stats.ttest_rel(best, other).pvalue
    assert 0.01 < p_value < 0.05
    assert not_significantly_below_best([result(best), result(other)]) == (True, False)
    assert not_significantly_below_best([result(best), *[result(other)] * 5]) == (True,) * 6
