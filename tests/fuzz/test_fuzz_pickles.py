"""Pickles: changed bytes, and values of other kinds and shapes in every form in which data sets are handed on."""

import pickle
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tally import Tally, mutated, written

from graphfew.data import mini_imagenet, tiered_imagenet
from graphfew.data.io.safe_pickle import read_pickle

FUZZ = settings.get_profile("fuzz")
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3), np.uint8)
FORMS = (
    {"image_data": IMAGES, "class_dict": {"a": [0, 1], "b": [2, 3]}},
    {"data": IMAGES, "labels": [7, 7, 9, 9], "catname2label": {"a": 7, "b": 9}},
    {"a": list(IMAGES[:2]), "b": list(IMAGES[2:])},
    {0: IMAGES[:2].astype("f4"), 1: IMAGES[2:].astype("f4")},
)
PICKLES = [pickle.dumps(form, protocol) for form in FORMS for protocol in (0, 2, 4, 5)]


def laughs(depth: int) -> list[object]:
    """A list that holds itself's part twice, and so on: short to write, endless to go through."""
    inner: list[object] = [0]
    for _ in range(depth):
        inner = [inner, inner]
    return inner


ODD = st.one_of(
    st.none(),
    st.integers(),
    st.sampled_from(
        [
            10**30,
            10**4000,
            -1,
            float("nan"),
            float("inf"),
            "é",
            "x" * 9000,
            b"\xff",
            True,
            {},
            [],
            (),
            laughs(3),
            laughs(60),
            [[1], [2, 3]],
            {"a": {}},
            np.array(["a", "b"]),
            np.zeros((0, 3, 3, 3)),
            np.zeros((4, 3, 3, 1)),
            np.array(5),
            np.array([None, 1]),
            np.zeros((1, 3, 3, 3), "f8") + np.nan,
            np.float64("nan"),
            np.zeros((4, 10_000, 1, 3), np.uint8),
        ]
    ),
    st.lists(
        st.one_of(st.integers(-9, 9), st.floats(), st.text(max_size=2), st.none()), max_size=5
    ),
)
KEYS = st.one_of(
    st.sampled_from(
        ["image_data", "class_dict", "data", "labels", "catname2label", b"labels", "a", 0]
    ),
    st.integers(),
    st.text(max_size=2),
    st.floats(),
)


def changed() -> st.SearchStrategy[bytes]:
    """A form with one of its values, or a value of its table of names, replaced or added."""
    top = st.tuples(st.sampled_from(FORMS), KEYS, ODD).map(lambda t: {**t[0], t[1]: t[2]})
    below = st.tuples(st.sampled_from(["class_dict", "catname2label"]), KEYS, ODD).map(
        lambda t: {**FORMS[0 if t[0] == "class_dict" else 1], t[0]: {"a": [0, 1], t[1]: t[2]}}
    )
    return st.tuples(st.one_of(top, below, ODD), st.sampled_from([0, 2, 4, 5])).map(
        lambda t: pickle.dumps(*t)
    )


# Steps of a pickle in any order.
STEPS = st.lists(
    st.sampled_from(
        [
            b"(",
            b"0",
            b"1",
            b"2",
            b"N",
            b"]",
            b"}",
            b")",
            b"\x85",
            b"\x86",
            b"\x87",
            b"t",
            b"l",
            b"d",
            b"a",
            b"e",
            b"s",
            b"u",
            b"R",
            b"b",
            b"\x8f",
            b"\x90",
            b"\x91",
            b"\x94",
            b"q\x00",
            b"h\x00",
            b"K\x05",
            b"K\x00",
            b"C\x02ab",
            b"I9\n",
            b"X\x02\x00\x00\x00f8",
            b"cnumpy\ndtype\n",
            b"cnumpy\nndarray\n",
            b"cnumpy.core.multiarray\n_reconstruct\n",
            b"cnumpy.core.multiarray\nscalar\n",
            b"cnumpy.core.numeric\n_frombuffer\n",
            b"c_codecs\nencode\n",
            b"cos\nsystem\n",
            b"c__builtin__\nset\n",
            b"c__builtin__\nbytearray\n",
            b"\x8a\x09" + b"\xff" * 8 + b"\x7f",
            b"G\x7f\xf8" + bytes(6),
            b"\x8b\xff\xff\xff\x7f",
            b"\x8e" + b"\xff" * 8,
            b"I" + b"9" * 5000 + b"\n",
        ]
    ),
    max_size=40,
).map(lambda parts: b"\x80\x02" + b"".join(parts) + b".")


@given(
    content=st.one_of(
        st.sampled_from(PICKLES).flatmap(mutated), STEPS, st.binary(max_size=60), changed()
    )
)
@settings(FUZZ)
def test_pickle(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, "values.pkl", content)
    tally.judge(lambda: read_pickle(path), (ValueError,), path, tmp_path)


@given(content=st.one_of(changed(), st.sampled_from(PICKLES).flatmap(mutated)))
@settings(FUZZ)
def test_mini_imagenet_pickle(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "data", "mini_imagenet_train.pickle", content)
    tally.judge(
        lambda: mini_imagenet(tmp_path / "data", size=4, progress=False),
        (ValueError,),
        path,
        tmp_path,
    )


LABELS = {
    "label_specific": [0, 0, 1, 1],
    "label_general": [0, 0, 0, 0],
    "label_specific_str": ["a", "b"],
    "label_general_str": ["g"],
}


@given(key=st.sampled_from(sorted(LABELS)), value=ODD)
@settings(FUZZ)
def test_tiered_imagenet_labels(tally: Tally, tmp_path: Path, key: str, value: object) -> None:
    folder = tmp_path / "data"
    written(folder, "train_labels.pkl", pickle.dumps({**LABELS, key: value}))
    np.savez(folder / "train_images.npz", images=IMAGES)
    tally.judge(
        lambda: tiered_imagenet(folder, size=4, progress=False), (ValueError,), None, tmp_path
    )
