import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphfew.core.episode import Episode, collate
from graphfew.data import (
    Dataset,
    QuerySampler,
    Tasks,
    balanced,
    dirichlet,
    effective_classes,
    mixture,
    multinomial,
    single,
    single_class,
    varied,
)
from graphfew.data.draws import QUERY, SUPPORT, UNLABELED
from graphfew.errors import InvalidInputError


def toy(sizes=(20,) * 12, groups=()):
    """A data set with `sizes[c]` items of class `c`; item `i` holds its own number, so it can be recognized."""
    y = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    return Dataset(
        name="toy",
        split="all",
        x=torch.arange(len(y))[:, None].float(),
        y=y,
        classes=tuple(f"class{c}" for c in range(len(sizes))),
        groups=groups,
    )


DATA = toy()
QUERIES = [1, 5, (1, 6), multinomial(10), dirichlet(40, 0.3), single(), varied((1, 30))]
QUERIES += [effective_classes((1, 3), 12)]

task_options = st.fixed_dictionaries(
    {
        "way": st.sampled_from([2, 5, 12, (2, 9)]),
        "shot": st.sampled_from([1, 5, (1, 4)]),
        "query": st.sampled_from(QUERIES),
        "unlabeled": st.sampled_from([0, 3, (0, 2)]),
        "seed": st.integers(0, 2**70),
        "shuffle": st.booleans(),
    }
)
numbers = st.integers(0, 2**70)


def equal_batches(a, b):
    (left, left_target), (right, right_target) = a, b
    return (
        torch.equal(left.x, right.x)
        and torch.equal(left.y, right.y)
        and torch.equal(left.query, right.query)
        and left.sizes == right.sizes
        and left.way == right.way
        and torch.equal(left_target, right_target)
    )


def in_range(value, span):
    lo, hi = span if isinstance(span, tuple) else (span, span)
    return lo <= value <= hi


def has_enough_items(options):
    """Wide draws of many queries need many items; two-way tasks of the toy data have too few."""
    total = getattr(options["query"], "max_total", None) or 0
    return total <= 10 or options["way"] in (5, 12)


@given(task_options.filter(has_enough_items), numbers)
def test_a_task_has_the_configured_sizes(options, number):
    tasks = Tasks(DATA, **options)
    draw, (episode, target) = tasks.draw(number), tasks[number]
    way = len(draw.classes)
    count = {
        role: np.bincount(draw.label[draw.role == role], minlength=way)
        for role in (SUPPORT, UNLABELED, QUERY)
    }
    assert in_range(way, options["way"])
    for role, span in ((SUPPORT, options["shot"]), (UNLABELED, options["unlabeled"])):
        assert len(set(count[role].tolist())) == 1
        assert in_range(count[role][0], span)
    if not isinstance(options["query"], QuerySampler):
        assert len(set(count[QUERY].tolist())) == 1
        assert in_range(count[QUERY][0], options["query"])
    assert len(set(draw.classes.tolist())) == way
    assert episode.way == (way,)
    assert len(target) == count[QUERY].sum() == episode.n_queries[0]


@given(
    task_options.filter(has_enough_items),
    st.sampled_from([1.0, 0.4]),
    st.lists(numbers, min_size=1, max_size=3),
)
def test_every_task_is_a_valid_episode(options, ratio, indices):
    """Tasks skip the constructor's checks, so they are made here."""
    episode, target = Tasks(DATA, labeled_ratio=ratio, **options).batch(indices)
    checked = Episode(episode.x, episode.y, episode.query, episode.sizes, episode.way)
    assert (checked.n_queries, checked.n_unlabeled, checked.origin) == (
        episode.n_queries,
        episode.n_unlabeled,
        None,
    )
    assert len(target) == sum(episode.n_queries)


@given(task_options.filter(has_enough_items), numbers)
def test_no_item_appears_twice_and_labels_are_correct(options, number):
    tasks = Tasks(DATA, **options)
    draw, (episode, target) = tasks.draw(number), tasks[number]
    items = episode.x.flatten().long()
    assert items.tolist() == draw.items.tolist()
    assert len(items.unique()) == len(items)
    assert DATA.y[items].tolist() == draw.classes[draw.label].tolist()
    assert DATA.y[items[episode.query]].tolist() == draw.classes[target.numpy()].tolist()
    support = episode.y >= 0
    assert DATA.y[items[support]].tolist() == draw.classes[episode.y[support].numpy()].tolist()
    assert not (support & episode.query).any()


@given(
    task_options.filter(has_enough_items), st.lists(st.integers(0, 1000), min_size=1, max_size=5)
)
def test_a_batch_equals_its_tasks_collated(options, indices):
    tasks = Tasks(DATA, **options)
    episodes, targets = zip(*(tasks[i] for i in indices), strict=True)
    assert equal_batches(tasks.batch(indices), (collate(episodes), torch.cat(targets)))


@given(task_options.filter(has_enough_items), numbers)
def test_a_task_depends_on_seed_and_index_alone(options, number):
    tasks = Tasks(DATA, **options)
    first = tasks[number]
    np.random.seed(number % 2**32)
    torch.manual_seed(number % 2**32)
    tasks.batch(range(3))
    assert equal_batches(first, tasks[number])
    assert equal_batches(first, Tasks(DATA, **options)[number])
    assert equal_batches(first, pickle.loads(pickle.dumps(tasks))[number])


def test_indices_and_seeds_give_different_tasks():
    draws = {
        tuple(Tasks(DATA, seed=s).draw(i).items.tolist()) for s in range(10) for i in range(50)
    }
    assert len(draws) == 500


def test_recorded_tasks_do_not_change():
    """Results are compared on tasks by number: a change here makes old results incomparable."""
    draw = Tasks(toy((6,) * 4), way=2, shot=1, query=1, seed=3).draw(7)
    assert (
        draw.items.tolist(),
        draw.label.tolist(),
        draw.role.tolist(),
        draw.classes.tolist(),
    ) == KNOWN


KNOWN = ([12, 13, 14, 10], [0, 1, 0, 1], [2, 0, 0, 2], [1, 3])


def test_class_indices_are_a_random_permutation():
    tasks = Tasks(toy((4,) * 5), way=5, shot=1, query=1)
    table = np.zeros((5, 5))
    for i in range(2000):
        table[tasks.draw(i).classes, np.arange(5)] += 1
    assert np.abs(table / 2000 - 0.2).max() < 0.04


def test_every_item_serves_in_every_role():
    data = toy((5,) * 3)
    tasks = Tasks(data, way=2, shot=1, query=1, unlabeled=1)
    table = np.zeros((15, 3))
    for i in range(3000):
        draw = tasks.draw(i)
        table[draw.items, draw.role] += 1
    assert np.abs(table / 3000 - 2 / 15).max() < 0.03


def test_node_order_carries_no_information():
    tasks = Tasks(DATA, way=3, shot=2, query=2, unlabeled=2)
    draws = [tasks.draw(i) for i in range(2000)]
    role = np.stack([d.role for d in draws])
    label = np.stack([d.label for d in draws])
    for values in (role, label):
        share = np.stack([(values == v).mean(0) for v in range(3)])
        assert np.abs(share - 1 / 3).max() < 0.05


def test_unshuffled_nodes_are_the_same_in_order():
    shuffled, ordered = (
        Tasks(DATA, way=3, shot=2, query=2, unlabeled=1, shuffle=s).draw(4) for s in (True, False)
    )
    assert ordered.role.tolist() == [SUPPORT] * 6 + [UNLABELED] * 3 + [QUERY] * 6
    assert ordered.label.tolist() == [0, 0, 1, 1, 2, 2, 0, 1, 2, 0, 0, 1, 1, 2, 2]
    facts = [
        sorted(zip(d.items.tolist(), d.label.tolist(), d.role.tolist(), strict=True))
        for d in (shuffled, ordered)
    ]
    assert facts[0] == facts[1]


def test_ranges_reach_both_ends():
    tasks = Tasks(DATA, way=(2, 4), shot=(1, 3), query=(1, 3), unlabeled=(0, 2))
    draws = [tasks.draw(i) for i in range(200)]
    assert {len(d.classes) for d in draws} == {2, 3, 4}
    for role, expected in ((SUPPORT, {1, 2, 3}), (QUERY, {1, 2, 3}), (UNLABELED, {0, 1, 2})):
        assert {int(((d.role == role) & (d.label == 0)).sum()) for d in draws} == expected


def test_within_groups_every_task_keeps_to_one_group_and_reaches_all_large_enough():
    data = toy((6,) * 9, groups=("a", "b", "b", "c", "c", "c", "b", "c", "c"))
    tasks = Tasks(data, way=(2, 4), shot=1, query=1, within_groups=True)
    seen = {2: [], 3: [], 4: []}
    for i in range(600):
        classes = tasks.draw(i).classes
        groups = {data.groups[c] for c in classes}
        assert len(groups) == 1
        seen[len(classes)].append(groups.pop())
    assert set(seen[2]) == set(seen[3]) == {"b", "c"}
    assert set(seen[4]) == {"c"}
    assert 0.35 < np.mean([g == "b" for g in seen[2]]) < 0.65


@given(st.integers(0, 10**6))
def test_queries_that_a_class_lacks_are_drawn_from_the_others(number):
    class FirstClassQueries:
        max_per_class, max_total = None, 12

        def draw(self, rng, way):
            return np.eye(way, dtype=np.int64)[0] * 12

    draw = Tasks(toy((5,) * 5), way=5, shot=1, query=FirstClassQueries()).draw(number)
    counts = np.bincount(draw.label[draw.role == QUERY], minlength=5)
    assert counts.sum() == 12
    assert counts[0] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"way": 1}, "way is 1"),
        ({"way": 13}, "way is 13 but .* has 12 classes"),
        ({"way": (2, 13)}, "way is 13"),
        ({"shot": 0}, "shot is 0"),
        ({"shot": (3, 2)}, "shot is"),
        ({"query": 0}, "query is 0"),
        ({"unlabeled": -1}, "unlabeled is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"within_groups": True}, "has no groups"),
        (
            {"shot": 5, "query": (1, 10), "unlabeled": 6},
            r"class 'class0' has 20 items but a task needs up to 21 of a class \(5 support, 10 query, 6 unlabeled\)",
        ),
        ({"query": balanced(20)}, "needs up to 21"),
        ({"shot": 21, "query": single()}, "needs up to 21"),
        (
            {"query": dirichlet(96)},
            r"dirichlet\(2.0, 96\) draws up to 96 queries, but a 5-way task may have only 95",
        ),
        ({"way": (2, 5), "query": multinomial((1, 39))}, "2-way task may have only 38"),
        (
            {"query": effective_classes((2, 4), 39)},
            "up to 39 queries, but 2 of the classes of a 5-way task may have only 38 items",
        ),
        ({"query": mixture(single(), effective_classes(1, 20))}, "1 of the classes of .* only 19"),
    ],
)
def test_too_large_tasks_are_rejected_at_construction(options, message):
    with pytest.raises(ValueError, match=message):
        Tasks(DATA, **options)


def test_errors_name_the_smallest_class_and_the_largest_group():
    with pytest.raises(ValueError, match="class 'class1' has 4 items but a task needs up to 6"):
        Tasks(toy((9, 4, 8)), way=2, shot=1, query=5)
    grouped = toy((9, 4, 9, 9, 9), groups=("a", "a", "b", "b", "b"))
    with pytest.raises(ValueError, match="largest group, 'b', has 3 classes"):
        Tasks(grouped, way=4, within_groups=True)
    Tasks(
        grouped, way=3, within_groups=True
    )  # the small class stands in a group too small to be drawn


def test_exactly_enough_items_suffice():
    Tasks(toy((6,) * 3), way=3, shot=1, query=4, unlabeled=1)[0]
    episode, _ = Tasks(toy((6,) * 3), way=3, shot=1, query=multinomial(15))[0]
    assert episode.sizes == (18,)


def test_large_classes_are_drawn_from_without_replacement():
    tasks = Tasks(toy((1500,) * 3), way=2, shot=100, query=900)
    items = tasks.draw(0).items
    assert len(np.unique(items)) == len(items) == 2000


def test_tasks_have_no_end_and_no_negative_index():
    tasks = Tasks(DATA)
    assert equal_batches(tasks[np.int64(10**12)], tasks[10**12])
    with pytest.raises(IndexError, match="0 or more"):
        tasks[-1]
    with pytest.raises(TypeError):
        tasks[0:3]
    with pytest.raises(ValueError, match="no indices"):
        tasks.batch([])


def test_describe_is_plain_json():
    described = Tasks(DATA, way=(2, 5), query=dirichlet(20), seed=4, unlabeled=1).describe()
    assert (
        json.loads(json.dumps(described))
        == described
        == {
            "data": "toy",
            "split": "all",
            "way": [2, 5],
            "shot": 1,
            "query": "dirichlet(2.0, 20)",
            "unlabeled": 1,
            "seed": 4,
            "within_groups": False,
        }
    )


def test_label_noise_replaces_supports_by_items_of_other_classes():
    data = toy()
    clean, noisy = (Tasks(data, way=4, shot=5, query=2, label_noise=noise) for noise in (0.0, 0.3))
    wrong = total = 0
    for i in range(50):
        a, b = clean.draw(i), noisy.draw(i)
        assert all(
            (getattr(a, name) == getattr(b, name)).all() for name in ("label", "role", "classes")
        )
        changed = a.items != b.items
        assert (b.role[changed] == 0).all()
        assert not set(data.y[b.items[changed]].tolist()) & set(b.classes.tolist())
        assert len(set(b.items.tolist())) == len(b.items)
        wrong, total = wrong + changed.sum(), total + 20
    assert wrong / total == pytest.approx(0.3, abs=0.05)
    assert noisy.describe()["label_noise"] == 0.3
    assert "label_noise" not in clean.describe()


def test_label_noise_needs_classes_outside_the_task():
    data = toy()
    with pytest.raises(ValueError, match="a task may have all 12 classes"):
        Tasks(data, way=12, label_noise=0.1)
    with pytest.raises(ValueError, match=r"label_noise is 1\.0"):
        Tasks(data, way=2, label_noise=1.0)


def test_describe_includes_shuffle_if_it_is_off():
    assert Tasks(DATA, shuffle=False).describe()["shuffle"] is False
    few = Tasks(DATA, query=effective_classes((2, 4), 9))
    assert few.describe()["query"] == "effective(2-4, 9)"
    assert "shuffle" not in Tasks(DATA).describe()


@given(
    st.fixed_dictionaries(
        {
            "way": st.sampled_from([2, 3, (2, 4)]),
            "shot": st.sampled_from([1, 4, (1, 4)]),
            "query": st.sampled_from(
                [
                    2,
                    (1, 3),
                    multinomial(6),
                    dirichlet(6, 0.1),
                    single_class(6),
                    effective_classes(2, 6),
                ]
            ),
            "unlabeled": st.sampled_from([3, (1, 3)]),
            "distractors": st.sampled_from([0, 2, (1, 3)]),
            "label_noise": st.sampled_from([0.0, 0.4, 0.99]),
            "labeled_ratio": st.sampled_from([1.0, 0.5, (0.2, 1.0)]),
            "seed": st.integers(0, 2**32),
        }
    ),
    st.integers(0, 2**32),
)
def test_no_item_appears_twice_with_noise_distractors_unlabeled_items_and_queries(options, number):
    """The toy data set is barely large enough, so noisy items and distractors compete for the same items."""
    data = toy((12,) * 8)
    draw = Tasks(data, **options).draw(number)
    assert len(np.unique(draw.items)) == len(draw.items)
    assert set(draw.items.tolist()) <= set(range(len(data)))


def test_too_few_items_for_label_noise_are_reported_at_construction():
    data = toy((20,) * 6)
    with pytest.raises(
        InvalidInputError,
        match="may replace all 75 support items of a 5-way task, but only 20 items are left",
    ):
        Tasks(data, way=5, shot=15, query=5, label_noise=0.5)
    with pytest.raises(InvalidInputError, match="but only 14 items are left"):
        Tasks(data, way=5, shot=4, query=5, unlabeled=6, distractors=1, label_noise=0.1)
    # Exactly enough: 5 x 2 noisy items and 10 distractor items of the 20 outside the task.
    tasks = Tasks(data, way=5, shot=2, query=5, unlabeled=10, distractors=1, label_noise=0.99)
    for number in range(20):
        assert len(np.unique(tasks.draw(number).items)) == 5 * (2 + 5 + 10) + 10
