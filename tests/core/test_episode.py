"""Episodes: validation and transformations."""

import pytest
import torch
from episodes import task

import graphfew as gf

GOOD = {
    "x": torch.zeros(5, 2),
    "y": torch.tensor([0, 1, 1, -1, -1]),
    "query": torch.tensor([False, False, False, True, False]),
    "sizes": (5,),
    "way": (2,),
}
NAN, INF = float("nan"), float("inf")


def with_value(value, node=2):
    x = torch.zeros(5, 2)
    x[node, 1] = value
    return x


BAD = {
    "labeled query": ({"y": torch.tensor([0, 1, 1, 1, -1])}, "query node 3 carries label 1"),
    "class without a shot": (
        {"y": torch.tensor([0, 0, 0, -1, -1])},
        "class 1 of task 0 has no labeled support",
    ),
    "no support": ({"y": torch.full((5,), -1)}, "class 0 of task 0 has no labeled support"),
    "no query": ({"query": torch.zeros(5, dtype=torch.bool)}, "task 0 has no query"),
    "lengths": ({"x": torch.zeros(4, 2)}, "x has 4 items, y 5 and query 5"),
    "nan": ({"x": with_value(NAN)}, r"NaN or infinite values \(first in item 2\)"),
    "infinite": ({"x": with_value(-INF)}, "NaN or infinite"),
    "label above way": (
        {"y": torch.tensor([0, 1, 2, -1, -1])},
        "node 2 has label 2 in task 0, a 2-way task",
    ),
    "label below -1": ({"y": torch.tensor([0, 1, -2, -1, -1])}, "node 2 has label -2"),
    "sizes": ({"sizes": (4,)}, "sum to 4 but x has 5"),
    "no tasks": ({"sizes": (), "way": ()}, "no tasks"),
    "ways": ({"way": (2, 2)}, "sizes lists 1 tasks and way 2"),
    "nan item of no shape": ({"x": torch.tensor([0, 0, NAN, 0, 0])}, "NaN or infinite"),
    "length of query": ({"query": torch.tensor([False, True])}, "x has 5 items, y 5 and query 2"),
    "shape of y": ({"y": GOOD["y"][:, None]}, r"y has shape \(5, 1\)"),
    "empty task": ({"sizes": (5, 0), "way": (2, 2)}, "every task needs its own items"),
    "one way": ({"way": (1,), "y": torch.tensor([0, 0, 0, -1, -1])}, "at least 2 classes"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_invalid_episode_raises(change, message):
    with pytest.raises(ValueError, match=message):
        gf.Episode(**{**GOOD, **change})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "change",
    [{"y": GOOD["y"].float()}, {"query": GOOD["query"].long()}, {"x": GOOD["x"].to(torch.uint8)}],
)
def test_wrong_types_raise(change):
    with pytest.raises(TypeError, match=r"must be|convert"):
        gf.Episode(**{**GOOD, **change})


def test_canceling_infinities_raise_and_large_values_do_not():
    both = with_value(INF)
    both[0, 0] = -INF
    with pytest.raises(ValueError, match="NaN or infinite"):
        gf.Episode(**{**GOOD, "x": both})
    huge = torch.full((5, 2), 3e38)
    assert torch.equal(gf.Episode(**{**GOOD, "x": huge}).x, huge)


def test_derived_counts():
    e = gf.collate(
        [
            gf.Episode(**GOOD),
            gf.Episode(**{**GOOD, "query": torch.tensor([False] * 3 + [True] * 2)}),
        ]
    )
    assert (e.n_tasks, e.n_queries, e.n_unlabeled, e.sizes, e.way) == (
        2,
        (1, 2),
        (1, 0),
        (5, 5),
        (2, 2),
    )
    assert e.task.tolist() == [0] * 5 + [1] * 5
    assert e.labeled.tolist() == [True, True, True, False, False] * 2


def batch():
    return gf.collate(
        [task(1, 3, (1, 2), 3, unlabeled=2), task(2, 2, (1,), 1), task(3, 4, (2,), 2, unlabeled=1)]
    )


def test_inductive_repeats_the_context_for_each_query():
    e = batch()
    expected, start = [], 0
    for size in e.sizes:
        nodes = range(start, start + size)
        expected += [[*(i for i in nodes if not e.query[i]), q] for q in nodes if e.query[q]]
        start += size
    each = e.inductive()
    flat = [i for graph in expected for i in graph]
    assert each.sizes == tuple(len(graph) for graph in expected)
    assert torch.equal(each.x, e.x[flat])
    assert torch.equal(each.y, e.y[flat])
    assert torch.equal(each.query, e.query[flat])
    assert (each.n_queries, each.way, each.n_unlabeled) == (
        (1,) * 6,
        (3, 3, 3, 2, 4, 4),
        (2, 2, 2, 0, 1, 1),
    )
    assert torch.equal(each.x[each.query], e.x[e.query])


def test_take_reverses_collate():
    parts = [task(1, 3, (1, 2), 3), task(2, 2, (1,), 1), task(3, 4, (2,), 2)]
    e = gf.collate(parts)
    again = e.take([2, 0])
    assert torch.equal(again.x, torch.cat([parts[2].x, parts[0].x]))
    assert torch.equal(again.y, torch.cat([parts[2].y, parts[0].y]))
    assert (again.sizes, again.way, again.n_queries) == ((10, 7), (4, 3), (2, 3))


def test_collate_of_several_devices_raises():
    e = task(0, 2, (1,), 2)
    with pytest.raises(
        ValueError, match="collate got episodes on cpu and meta; move all to one device"
    ):
        gf.collate([e, e.to("meta")])


def test_collate_of_several_shapes_raises():
    with pytest.raises(ValueError, match="no episodes"):
        gf.collate([])
    with pytest.raises(ValueError, match=r"\(3,\).*\(5,\)"):
        gf.collate([task(1), task(2, dim=3)])


def test_encode_and_to_change_only_x():
    e = batch()
    half = e.encode(lambda x: x[:, :2]).to(torch.float32)
    assert half.x.dtype == torch.float32
    assert torch.equal(half.x.double(), e.x[:, :2].float().double())
    assert half.y is e.y or torch.equal(half.y, e.y)
    assert half.y.dtype == torch.int64


def test_episode_is_frozen():
    with pytest.raises(AttributeError):
        batch().way = (2,)


def test_error_names_the_first_non_finite_item():
    with pytest.raises(ValueError, match="first in item 2"):
        gf.Episode(**{**GOOD, "x": torch.tensor([0, 0, NAN, 0, 0])})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({7: 2}, "node 7 has label 2 in task 1, a 2-way task"),
        ({6: 0, 7: 0}, "class 1 of task 1 has no labeled support"),
        ({1: 0}, "class 1 of task 0 has no labeled support"),
    ],
)
def test_labels_are_checked_against_the_way_of_their_task(change, message):
    """Task 0 has 3 classes, task 1 has 2: nodes 0 to 4 and 5 to 8."""
    y = torch.tensor([0, 1, 2, -1, -1, 0, 1, 1, -1])
    query = torch.tensor([False, False, False, True, True, False, False, False, True])
    parts = {"x": torch.zeros(9, 2), "query": query, "sizes": (5, 4), "way": (3, 2)}
    assert gf.Episode(y=y, **parts).n_queries == (2, 1)
    for node, label in change.items():
        y[node] = label
    with pytest.raises(ValueError, match=message):
        gf.Episode(y=y, **parts)


@pytest.mark.usefixtures("unchecked")
def test_every_task_needs_a_query():
    with pytest.raises(ValueError, match="task 1 has no query"):
        gf.Episode(
            torch.zeros(6, 2),
            torch.tensor([0, 1, -1, 0, 1, -1]),
            torch.tensor([False, False, True, False, False, False]),
            (3, 3),
            (2, 2),
        )


def test_tokens_and_half_precision():
    tokens = gf.Episode(**{**GOOD, "x": torch.arange(10).view(5, 2)})
    assert tokens.encode(torch.nn.Embedding(10, 3)).x.shape == (5, 2, 3)
    assert gf.Episode(**{**GOOD, "x": torch.full((5, 2), 6e4, dtype=torch.float16)}).n_tasks == 1


def test_derived_copies_have_valid_counts():
    """Copies are not validated again; their counts are derived from those of the original."""
    e = batch()
    for copy in (
        e.inductive(),
        e.take([2, 0]),
        e.encode(lambda x: x * 2),
        e.to(torch.float32),
        gf.collate([e, e.take([1])]),
        e.inductive().take([4, 1]),
        e.inductive().inductive(),
    ):
        checked = gf.Episode(copy.x, copy.y, copy.query, copy.sizes, copy.way)
        assert (copy.n_queries, copy.n_unlabeled) == (checked.n_queries, checked.n_unlabeled)
        assert copy.n_tasks == len(copy.sizes) == len(copy.way)
