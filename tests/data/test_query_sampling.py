import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphfew.data import (
    QuerySampler,
    balanced,
    dirichlet,
    effective_classes,
    mixture,
    multinomial,
    one_per_class,
    parse_queries,
    single,
    single_class,
    varied,
)
from graphfew.data.query_sampling import draw_queries, fit_queries

ways = st.integers(2, 20)
seeds = st.integers(0, 2**32)
TOTALS = {
    "multinomial(25)": (multinomial(25), 25, 25),
    "multinomial(1-9)": (multinomial((1, 9)), 1, 9),
    "dirichlet(2.0, 75)": (dirichlet(75), 75, 75),
    "dirichlet(0.1, 3-8)": (dirichlet((3, 8), 0.1), 3, 8),
    "single": (single(), 1, 1),
    "varied(1-75, 0.5-100)": (varied(), 1, 75),
    "single-class(75)": (single_class(75), 75, 75),
    "single-class(2-6)": (single_class((2, 6)), 2, 6),
    "varied(4-5, 2-2)": (varied((4, 5), (2.0, 2.0)), 4, 5),
    "effective(2-3, 75)": (effective_classes((2, 3)), 75, 75),
    "effective(30, 5-9)": (effective_classes(30, (5, 9)), 5, 9),
    "single+multinomial(3-9)": (mixture(single(), multinomial((3, 9))), 1, 9),
}


@given(seeds, ways, st.sampled_from(sorted(TOTALS)))
def test_totals_are_exact(seed, way, name):
    queries, lo, hi = TOTALS[name]
    counts = queries.draw(np.random.default_rng(seed), way)
    assert counts.shape == (way,)
    assert counts.dtype == np.int64
    assert counts.min() >= 0
    assert lo <= counts.sum() <= hi == queries.max_total


@given(seeds, ways)
def test_balanced_has_equal_counts(seed, way):
    rng = np.random.default_rng(seed)
    assert balanced(5).draw(rng, way).tolist() == [5] * way
    assert one_per_class().draw(rng, way).tolist() == [1] * way
    counts = balanced((2, 4)).draw(rng, way)
    assert len(set(counts.tolist())) == 1
    assert 2 <= counts[0] <= 4


@given(seeds, ways, st.sampled_from(sorted(TOTALS)))
def test_draws_depend_on_the_generator_alone(seed, way, name):
    draw = TOTALS[name][0].draw
    first, second = (draw(np.random.default_rng(seed), way) for _ in range(2))
    assert first.tolist() == second.tolist()


def proportions(queries, way=5, n=4000):
    rng = np.random.default_rng(1)
    return np.stack([queries.draw(rng, way) for _ in range(n)]).astype(float)


@pytest.mark.parametrize(
    "queries",
    [
        multinomial(20),
        dirichlet(20),
        single(),
        single_class(9),
        varied((1, 20)),
        effective_classes((2, 3), 20),
    ],
)
def test_no_class_is_favored(queries):
    mean = proportions(queries).mean(0)
    assert np.allclose(mean / mean.sum(), 0.2, atol=0.015)


def test_single_class_has_queries_of_one_class_only():
    drawn = proportions(single_class((3, 5)))
    assert ((drawn > 0).sum(1) == 1).all()
    assert set(drawn.max(1)) == {3, 4, 5}


def test_effective_classes_have_all_queries():
    present = (proportions(effective_classes((2, 3), 60)) > 0).sum(1)
    assert set(present) == {2, 3}
    assert (present == 2).mean() == pytest.approx(0.5, abs=0.05)


def test_effective_classes_supply_queries_in_proportion_to_their_items():
    capacity = np.array([30, 10, 0])
    rng = np.random.default_rng(0)
    counts = np.stack([draw_queries(effective_classes(3, 8), capacity, rng) for _ in range(2000)])
    assert (counts.sum(1) == 8).all()
    assert (counts <= capacity).all()
    assert np.allclose(counts.mean(0), [6, 2, 0], atol=0.1)
    # Draws without replacement have a smaller variance than independent draws.
    assert counts[:, 0].var() == pytest.approx(8 * 0.75 * 0.25 * 32 / 39, rel=0.15)


def test_effective_classes_are_never_supplemented_by_others():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="needs 9 queries of 2 classes, which have 8 items left"):
        draw_queries(effective_classes(2, 9), np.full(50, 4), rng)
    counts = draw_queries(effective_classes(2, 8), np.full(50, 4), rng)
    assert sorted(counts.tolist())[-3:] == [0, 4, 4]


def test_a_mixture_draws_effective_classes_from_their_pool():
    sampler = mixture(effective_classes(1, 4), balanced(2))
    for seed in range(40):
        counts = draw_queries(sampler, np.full(6, 4), np.random.default_rng(seed))
        assert counts.tolist() == [2] * 6 or sorted(counts.tolist())[-2:] == [0, 4]


def test_multinomial_has_the_variance_of_independent_draws():
    assert np.allclose(proportions(multinomial(25)).var(0), 25 * 0.2 * 0.8, rtol=0.1)


def test_dirichlet_has_the_variance_of_its_concentration():
    # of a symmetric Dirichlet(a) over k classes: (k - 1) / (k² (k a + 1)); rounding adds little at a large total
    assert np.allclose((proportions(dirichlet(1000)) / 1000).var(0), 4 / (25 * 11), rtol=0.1)


def test_varied_covers_single_queries_and_balanced_and_imbalanced_tasks():
    counts = proportions(varied((1, 75)))
    total = counts.sum(1)
    assert (total == 1).mean() > 0.08
    assert (total > 40).mean() > 0.08
    full = counts[total >= 20]
    spread = (full.max(1) - full.min(1)) / full.sum(1)
    assert (spread < 0.2).mean() > 0.1
    assert (spread > 0.4).mean() > 0.1


def test_varied_draws_the_classes_of_queries_independently():
    counts = proportions(varied(5))
    # Independent draws of 5 equally likely classes give one query of each in 5! / 5^5 = 3.8 % of tasks.
    assert (counts == 1).all(1).mean() < 0.045


@given(seeds, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=8))
def test_fit_preserves_the_sum_and_respects_the_capacity(seed, pairs):
    counts, capacity = np.array(pairs).T
    rng = np.random.default_rng(seed)
    if counts.sum() > capacity.sum():
        with pytest.raises(
            ValueError,
            match=f"needs {counts.sum()} queries but its classes have {capacity.sum()}",
        ):
            fit_queries(counts, capacity, rng)
        return
    fitted = fit_queries(counts, capacity, rng)
    assert fitted.sum() == counts.sum()
    assert (fitted <= capacity).all()
    assert (fitted >= np.minimum(counts, capacity)).all()


def test_fit_returns_counts_that_fit_without_using_the_generator():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    counts = np.array([3, 0])
    assert fit_queries(counts, np.array([3, 1]), rng) is counts
    assert rng.bit_generator.state == before


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("5", "balanced(5)"),
        (" 1-15 ", "balanced(1-15)"),
        ("balanced:5", "balanced(5)"),
        ("balanced:1-15", "balanced(1-15)"),
        ("one-per-class", "one-per-class"),
        ("single", "single"),
        ("multinomial:25", "multinomial(25)"),
        ("multinomial:1-75", "multinomial(1-75)"),
        ("dirichlet:75", "dirichlet(2.0, 75)"),
        ("dirichlet:75:0.5", "dirichlet(0.5, 75)"),
        ("varied", "varied(1-75, 0.5-100)"),
        ("varied:1-30", "varied(1-30, 0.5-100)"),
        ("varied:1-30:1-2", "varied(1-30, 1-2)"),
        ("single-class:75", "single-class(75)"),
        ("effective:5-10", "effective(5-10, 75)"),
        ("effective:5:1-64", "effective(5, 1-64)"),
        ("effective(5-10, 64)", "effective(5-10, 64)"),
        ("single+varied:1-30", "single+varied(1-30, 0.5-100)"),
        ("5 + multinomial:9", "balanced(5)+multinomial(9)"),
    ],
)
def test_parse(form, name):
    assert str(parse_queries(form)) == name


@pytest.mark.parametrize(
    "form",
    [
        "",
        "few",
        "multinomial",
        "dirichlet:75:x",
        "single:3",
        "5:6",
        "0",
        "9-3",
        "balanced:1:2",
        "dirichlet:75:-1",
        "multinomial:-5",
        "effective",
        "effective:0",
        "effective:5:64:2",
        "single+",
        "5+few",
    ],
)
def test_parse_rejects_other_text_and_lists_the_known_forms(form):
    with pytest.raises(
        ValueError, match=r"cannot read the queries .*known forms: .*dirichlet:75:2.0"
    ):
        parse_queries(form)


def test_a_mixture_draws_each_sampler_equally_often():
    queries = mixture(single(), balanced(3), multinomial(7))
    totals = [int(queries.draw(np.random.default_rng(seed), 4).sum()) for seed in range(900)]
    assert {n: totals.count(n) for n in set(totals)} == pytest.approx(
        {1: 300, 12: 300, 7: 300}, abs=60
    )
    assert (queries.max_per_class, queries.max_total) == (3, 7)


def test_a_mixture_needs_two_samplers():
    with pytest.raises(ValueError, match="got 1 samplers"):
        mixture(single())


def test_a_mixture_of_mixtures_is_rejected():
    with pytest.raises(ValueError, match="another mixture"):
        mixture(mixture(single(), balanced(2)), balanced(3))


positive = st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False)
spans = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)).map(lambda p: tuple(sorted(p)))
samplers = st.one_of(
    spans.map(balanced),
    spans.map(multinomial),
    spans.map(single_class),
    st.builds(effective_classes, spans, spans),
    st.builds(one_per_class),
    st.builds(single),
    st.builds(dirichlet, spans, positive),
    st.builds(varied, spans, st.tuples(positive, positive).map(lambda p: tuple(sorted(p)))),
)


@given(st.lists(samplers, min_size=1, max_size=4))
def test_parse_inverts_str_for_every_sampler(parts):
    sampler = parts[0] if len(parts) == 1 else mixture(*parts)
    assert parse_queries(str(sampler)) == sampler
    assert isinstance(sampler, QuerySampler)


@pytest.mark.parametrize(
    ("stored", "sampler"),
    [
        ("balanced(15)", balanced(15)),
        ("dirichlet(2.0, 75)", dirichlet(75, 2.0)),
        ("single-class(75)", single_class(75)),
        ("effective(5-10, 64)", effective_classes((5, 10), 64)),
        ("multinomial(5)", multinomial(5)),
        ("one-per-class", one_per_class()),
        ("single+varied(1-30, 0.5-100)", mixture(single(), varied((1, 30)))),
    ],
)
def test_the_text_of_stored_results_is_read_and_reproduced(stored, sampler):
    assert parse_queries(stored) == sampler
    assert str(sampler) == stored


@pytest.mark.parametrize("concentration", [0.0, -1.0, float("inf"), float("nan")])
def test_rejects_invalid_concentrations(concentration):
    with pytest.raises(ValueError, match="concentration is"):
        dirichlet(5, concentration)


def test_varied_rejects_a_reversed_range():
    with pytest.raises(ValueError, match="low to high"):
        varied(5, (2.0, 1.0))


@pytest.mark.parametrize("name", sorted(TOTALS))
def test_pickles_for_worker_processes(name):
    queries = TOTALS[name][0]
    copy = pickle.loads(pickle.dumps(queries))
    draws = [q.draw(np.random.default_rng(3), 5).tolist() for q in (queries, copy)]
    assert str(copy) == name
    assert draws[0] == draws[1]
