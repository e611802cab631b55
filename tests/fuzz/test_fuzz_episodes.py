"""Episodes, data sets and tasks made of anything."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tally import Tally

import graphfew as gf

FUZZ = settings.get_profile("fuzz")
DTYPES = st.sampled_from(
    [
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.uint8,
        torch.bool,
        torch.complex64,
        torch.float8_e4m3fn,
    ]
)
SHAPES = st.one_of(
    st.just((6, 2)), st.just((6,)), st.lists(st.integers(0, 6), max_size=4).map(tuple)
)
FLOATS = st.sampled_from([0.0, 1.0, float("nan"), float("inf"), -float("inf"), 3e38, 1e-44])


def tensors() -> st.SearchStrategy[object]:
    """Of any dtype and shape, on the meta device, sparse, with gradients, or no tensor at all."""
    plain = st.tuples(SHAPES, DTYPES, FLOATS).map(lambda t: _filled(*t))
    return st.one_of(
        plain,
        st.just(torch.zeros(6, 2)),
        st.just(torch.zeros(6, 2, device="meta")),
        st.just(torch.eye(6).to_sparse()),
        st.just(torch.zeros(6, 2, requires_grad=True)),
        st.just(torch.zeros(6, 12)[:, ::6]),
        st.just(np.zeros((6, 2))),
        st.none(),
        st.just([[0.0]] * 6),
        st.integers(),
        st.text(max_size=3),
    )


def _filled(shape: tuple[int, ...], dtype: torch.dtype, value: float) -> torch.Tensor:
    return (
        torch.full(shape, value, dtype=torch.float64)
        .nan_to_num(0 if dtype == torch.int64 else value)
        .to(dtype)
    )


LABELS = st.one_of(
    st.lists(st.sampled_from([-1, -1, 0, 1, 2, -2, 2**40]), min_size=6, max_size=6).map(
        torch.tensor
    ),
    st.just(torch.tensor([0, 1, 0, 1, -1, -1])),
    tensors(),
)
QUERY = st.one_of(
    st.lists(st.booleans(), min_size=6, max_size=6).map(torch.tensor),
    tensors(),
    st.just(torch.tensor([False] * 4 + [True] * 2)),
)
SIZES = st.one_of(
    st.just((6,)),
    st.just((3, 3)),
    st.lists(st.integers(-2, 7), max_size=4).map(tuple),
    st.sampled_from(
        [
            6,
            None,
            "6",
            (6.0,),
            (2.5, 3.5),
            ("a",),
            (2**63,),
            (10**30, 6 - 10**30),
            (-1, 7),
            (float("nan"),),
            (6, 0),
            ((6,),),
            (True, 5),
            torch.tensor([6]),
            [6],
            (float("inf"),),
        ]
    ),
)
WAYS = st.one_of(
    st.just((2,)),
    st.just((2, 2)),
    st.lists(st.integers(-2, 7), max_size=4).map(tuple),
    st.sampled_from(
        [
            2,
            None,
            "2",
            (2.0,),
            (2.5,),
            ("a",),
            (10**9,),
            (10**12,),
            (2**63,),
            (10**30,),
            (-1,),
            (float("nan"),),
            ((2,),),
            (True,),
            torch.tensor([2]),
            [2],
        ]
    ),
)


Arguments = dict[str, object]


def mostly(
    good: Arguments, odd: dict[str, st.SearchStrategy[object]]
) -> st.SearchStrategy[Arguments]:
    """Arguments of which none to all are odd ones."""
    return st.lists(st.sampled_from(sorted(odd)), max_size=len(odd), unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: odd[name] for name in names}).map(
            lambda new: {**good, **new}
        )
    )


EPISODE = {
    "x": torch.ones(6, 2),
    "y": torch.tensor([0, 1, 0, 1, -1, -1]),
    "query": torch.tensor([False] * 4 + [True] * 2),
    "sizes": (6,),
    "way": (2,),
}


@given(
    arguments=mostly(
        EPISODE, {"x": tensors(), "y": LABELS, "query": QUERY, "sizes": SIZES, "way": WAYS}
    )
)
@settings(FUZZ)
def test_episode(tally: Tally, arguments: dict[str, object]) -> None:
    def made() -> None:
        episode = gf.Episode(**arguments)
        assert sum(episode.sizes) == len(episode.x)
        assert len(episode.inductive().sizes) == sum(episode.n_queries)

    tally.judge(made, (ValueError, TypeError))


NAMES = st.one_of(
    st.just(("a", "b", "c")),
    st.lists(st.text(max_size=2), max_size=3).map(tuple),
    st.none(),
    st.text(max_size=2),
    st.lists(st.integers(0, 2), max_size=3).map(tuple),
)
SET = {
    "x": torch.ones(6, 2),
    "y": torch.tensor([0, 1, 2] * 2),
    "classes": ("a", "b", "c"),
    "groups": (),
}


@given(arguments=mostly(SET, {"x": tensors(), "y": LABELS, "classes": NAMES, "groups": NAMES}))
@settings(FUZZ)
def test_data_set(tally: Tally, arguments: dict[str, object]) -> None:
    tally.judge(lambda: gf.Dataset("any", "all", **arguments).members, (ValueError, TypeError))


@given(
    x=st.one_of(tensors(), st.lists(st.lists(FLOATS, max_size=3), max_size=3)),
    y=st.one_of(
        tensors(),
        st.lists(st.one_of(st.integers(), st.text(max_size=2), st.none(), FLOATS), max_size=6),
    ),
)
@settings(FUZZ)
def test_arrays(tally: Tally, x: object, y: object) -> None:
    tally.judge(lambda: gf.data.arrays(x, y), (ValueError, TypeError))


NUMBERS = st.one_of(
    st.integers(-2, 30),
    st.tuples(st.integers(-1, 8), st.integers(-1, 8)),
    st.sampled_from(
        [
            None,
            "5",
            2.5,
            True,
            float("nan"),
            10**12,
            2**63,
            10**30,
            (1, 2, 3),
            (),
            [1, 2],
            (1.0, 2.0),
            ("1", "2"),
        ]
    ),
)
QUERIES = st.one_of(
    NUMBERS,
    st.builds(gf.data.single),
    st.integers(-1, 40).map(lambda n: _or_none(gf.data.multinomial, n)),
    st.floats().map(lambda a: _or_none(gf.data.dirichlet, 5, a)),
)


def _or_none(make: object, *arguments: object) -> object:
    try:
        return make(*arguments)
    except (ValueError, TypeError):
        return None


@pytest.fixture(scope="module")
def forty() -> gf.Dataset:
    return gf.Dataset(
        "forty",
        "all",
        torch.arange(80.0).view(40, 2),
        torch.arange(40) % 5,
        tuple("abcde"),
        ("g",) * 5,
    )


TASKS = {
    "way": 3,
    "shot": 1,
    "query": 2,
    "unlabeled": 0,
    "seed": 0,
    "label_noise": 0.0,
    "labeled_ratio": 1.0,
    "distractors": 0,
}
SHARES = st.one_of(
    st.floats(), st.floats(0, 1), st.none(), st.text(max_size=1), st.just((0.5, 1.0)), st.just(())
)


@given(
    arguments=mostly(
        TASKS,
        {
            name: SHARES
            if name in ("label_noise", "labeled_ratio")
            else QUERIES
            if name == "query"
            else NUMBERS
            for name in TASKS
        },
    ),
    index=st.one_of(st.integers(-1, 9), st.just(2**70)),
)
@settings(FUZZ)
def test_tasks(tally: Tally, forty: gf.Dataset, arguments: dict[str, object], index: int) -> None:
    def drawn() -> None:
        tasks = gf.Tasks(forty, **arguments)
        try:
            episode, target = tasks[index]
        except IndexError:
            assert index < 0
        else:
            assert len(target) == sum(episode.n_queries)

    tally.judge(drawn, (ValueError, TypeError))


@given(
    text=st.one_of(
        st.text(max_size=12),
        st.lists(
            st.sampled_from(
                [
                    "multinomial",
                    "dirichlet",
                    "single",
                    "single-class",
                    "one-per-class",
                    "varied",
                    ":",
                    "+",
                    "-",
                    "5",
                    "1-5",
                    "0",
                    "1e9",
                    "nan",
                    "inf",
                    "-1",
                    "9" * 400,
                    "é",
                    "٣",
                    " ",
                ]
            ),
            max_size=6,
        ).map("".join),
    )
)
@settings(FUZZ)
def test_queries(tally: Tally, text: str) -> None:
    tally.judge(lambda: gf.data.parse_queries(text), (ValueError,))
