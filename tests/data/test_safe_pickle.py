"""Pickles of arrays: what was written comes back, what names anything else is refused, and nothing is ever run."""

import builtins
import collections
import os
import pickle
import struct
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from graphfew.data.io.safe_pickle import read_pickle

PROTOCOLS = range(6)


class Executing:
    """Unpickled, it would call what it is given."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def read(tmp_path):
    def read(content):
        (tmp_path / "file.pkl").write_bytes(content)
        return read_pickle(tmp_path / "file.pkl")

    return read


def same(a, b):
    """Of one type and one value, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        equal = (
            all(map(same, a.ravel(), b.ravel()))
            if a.dtype == object
            else a.tobytes() == b.tobytes()
        )
        return a.dtype == b.dtype and a.shape == b.shape and equal
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


RANDOM = np.random.default_rng(0)
VALUES = {
    "plain": {
        "a": [1, -5, 2**40, 2**400, True, False, None, 1.5, float("inf")],
        "b": (),
        "c": ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        b"\xff\x00": "längst \U0001f600\n\\",
        3: {},
        "e": b"",
        "empty": "",
    },
    "sets": [set(), {1, 2}, frozenset({3}), bytearray(b"\x80x"), bytearray()],
    "long": [*range(3000)],
    "many": {i: str(i) for i in range(3000)},
    "big bytes": bytes(range(256)) * 500,
    "images": {
        "image_data": RANDOM.integers(0, 256, (6, 4, 4, 3), np.uint8),
        "class_dict": {"n01": [0, 1, 2]},
    },
    "lists of arrays": {
        label: [RANDOM.random((4, 4, 3), np.float32) for _ in range(3)] for label in range(2)
    },
    "orders": [
        np.asfortranarray(RANDOM.random((3, 4))),
        RANDOM.random((3, 4, 5)).transpose(1, 2, 0),
        RANDOM.random((6, 6))[::2, ::3],
        RANDOM.random((2, 3))[::-1],
    ],
    "types": [
        np.arange(5).astype(t)
        for t in ("?", "u1", "i2", ">i4", "<u8", "f2", ">f8", "c16", "S3", ">U4", "U7")
    ],
    "shapes": [
        np.float32(3) * np.ones(()),
        np.zeros(0, np.uint8),
        np.zeros((2, 0, 3), ">f4"),
        np.zeros((1,) * 9),
    ],
    "objects": np.array([np.arange(3), "x", None, [1]], dtype=object),
    "scalars": [
        np.float32(0.5),
        np.int64(-7),
        np.bool_(True),
        np.str_("ab"),
        np.uint8(255),
        np.bytes_(b"q"),
    ],
    "dtypes": [np.dtype("u1"), np.dtype(">f4"), np.dtype(">f4"), np.dtype("S9"), np.dtype("O")],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VALUES)
def test_arrays_and_plain_values_round_trip(read, protocol, name):
    value = VALUES[name]
    assert same(read(pickle.dumps(value, protocol)), value)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.binary()
    | arrays(
        st.sampled_from(["u1", ">f4", "<i8", "?"]),
        array_shapes(min_dims=0, min_side=0),
        elements={"allow_nan": False},
    ),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text("ab\n'\\") | st.integers(), inner)
    ),
    max_leaves=20,
)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(value=PLAIN, protocol=st.sampled_from(PROTOCOLS))
def test_any_plain_value_round_trips(read, value, protocol):
    assert same(read(pickle.dumps(value, protocol)), value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shared_values_stay_shared(read, protocol):
    array, order = np.arange(4, dtype=">u2"), np.dtype(">u4")
    a, b, c, d = read(pickle.dumps([array, array, order, [order]], protocol))
    assert a is b
    assert a.tolist() == [0, 1, 2, 3]
    assert (c, d) == (order, [order])


def python_2(text):
    """A `str` of Python 2 in protocol 2."""
    short = len(text) < 256
    return (b"U" + bytes([len(text)]) if short else b"T" + struct.pack("<i", len(text))) + text


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_python_2_pickles_are_read_as_text_and_arrays(read, core):
    raw = bytes(range(256)) * 3
    content = (
        b"\x80\x02}q\x00"
        + python_2(b"image_data")
        + b"q\x01c"
        + core
        + b".multiarray\n_reconstruct\nq\x02"
        b"cnumpy\nndarray\nq\x03K\x00\x85q\x04"
        + python_2(b"b")
        + b"\x87Rq\x05(K\x01M\x00\x01K\x03\x86"
        b"cnumpy\ndtype\n"
        + python_2(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + python_2(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + python_2(raw)
        + b"tbs"
        + python_2(b"name")
        + python_2(b"caf\xe9")
        + b"s."
    )
    value = read(content)
    assert list(value) == ["image_data", "name"]
    assert same(value["image_data"], np.frombuffer(raw, np.uint8).reshape(256, 3))
    assert value["name"] == "café"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda path: Executing(os.system, f"touch {path}"), "system"),
        (lambda path: Executing(os.mkdir, str(path)), "mkdir"),
        (lambda path: Executing(eval, f"open({str(path)!r}, 'w')"), "eval"),
        (lambda path: Executing(builtins.open, str(path), "w"), "open"),
        (lambda path: Executing(np.save, str(path), 1), "save"),
        (lambda path: {"data": [np.arange(3), Executing(os.mkdir, str(path))]}, "mkdir"),
        (lambda path: collections.OrderedDict(a=1), "OrderedDict"),
        (lambda path: os.system, "system"),
    ],
)
def test_other_names_are_rejected_and_not_run(read, tmp_path, protocol, harm, named):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            ValueError, match=rf"file\.pkl cannot be read .*refers to \S*{named}, which is refused"
        ):
            read(pickle.dumps(harm(tmp_path / "came"), protocol))
    assert [file.name for file in tmp_path.iterdir()] == ["file.pkl"]


class Plain:
    """An object of a class of one's own."""


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Plain(), 0),
        pickle.dumps(Plain(), 2),
        pickle.dumps(Plain(), 4),
        pickle.dumps(1j, 2),
        pickle.dumps(np.zeros(2, [("a", "i4")]), 2),
        pickle.dumps(np.array(["2020"], "M8[D]"), 2),
        b"P1\n.",
        b"(S'touch'\nios\nsystem\n.",
        b"(cos\nsystem\nS'true'\no.",
        b"\x80\x02K\x01Q.",
        b"\x80\x02\x82\x01.",
        b"\x80\x05\x97.",
        b"\x80\x02]K\x01\x85b.",
        b"\x80\x02cnumpy\nndarray\nK\x01\x85R.",
        b"\x80\x02K\x01)R.",
        b"\x80\x02cnumpy\ndtype\nX\x08\x00\x00\x00{'a':'O'\x85R.",
        b"\x80\x04K\x01K\x02\x93.",
        b"\x80\x02c__builtin__\nbytes\nM\xff\xff\x85R.",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.",
    ],
)
def test_other_opcodes_that_build_objects_are_rejected(read, content):
    with pytest.raises(ValueError, match="cannot be read as a pickle of arrays"):
        read(content)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"K\x02K\x03\x86", b"K\x02K\x04\x86"),
        (b"K\x02K\x03\x86", b"K\x02J\xff\xff\xff\xff\x86"),
        (b"K\x02K\x03\x86", b"M\xff\xffM\xff\xff\x86"),
        (b"C\x0c", b"C\x0b"),
        (b"\x8c\x02u2", b"\x8c\x02O8"),
        (b"\x8c\x02u2", b"\x8c\x02u3"),
        (b"\x8c\x02u2", b"\x8c\x02V2"),
        (b"\x8c\x01<", b"\x8c\x01?"),
    ],
)
def test_inconsistent_arrays_are_rejected(read, before, after):
    good = pickle.dumps(np.ones((2, 3), "<u2"), 4)
    assert good.count(before) == 1
    assert same(read(good), np.ones((2, 3), "<u2"))
    with pytest.raises(ValueError, match="cannot be read as a pickle of arrays"):
        read(good.replace(before, after))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_truncated_anywhere_is_rejected(read, protocol):
    value = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, "x", b"y", {2.5}]}
    content = pickle.dumps(value, protocol)
    for end in range(len(content)):
        with pytest.raises(ValueError, match=r"file\.pkl (cannot be read|has text)"):
            read(content[:end])


def test_changed_bytes_return_a_value_or_raise_a_clear_error(read):
    content = bytearray(
        pickle.dumps({"data": np.arange(6, dtype="<u2"), "labels": [1, "x", (2.5,)]}, 2)
    )
    refused = 0
    for place in range(len(content)):
        for value in (0, 40, 82, 98, 255):
            changed = bytes(content[:place]) + bytes([value]) + bytes(content[place + 1 :])
            try:
                read(changed)
            except ValueError as error:
                assert "file.pkl" in str(error)  # noqa: PT017  # not every change is a fault
                refused += 1
    assert refused > len(content)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02})%bK\x01s.",
        b"\x80\x02})%bK\x01K\x02K\x03(tu.",
        b"\x80\x04\x8f()%b\x90.",
        b"\x80\x04()%b\x91.",
        b"\x80\x02c__builtin__\nset\n])%ba\x85R.",
        b"(()%bK\x01d.",
        b"\x80\x02cnumpy\ndtype\n)%b\x85R.",
    ],
)
def test_values_nested_too_deeply_for_python_are_rejected(read, content):
    with pytest.raises(ValueError, match="cannot be read as a pickle of arrays"):
        read(content % (b"\x85" * 100_000))


def test_deeply_nested_lists_are_read(read):
    value = read(b"]" * 20_000 + b"a" * 19_999 + b".")
    assert len(value) == 1
    while value:
        (value,) = value


def test_python_2_text_in_protocol_0_is_reported(read):
    with pytest.raises(ValueError, match="write it again with protocol 2"):
        read(b"S'\\xff'\np0\n.")


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_pickle(tmp_path / "none.pkl")


def test_a_large_array_is_a_view_of_the_file(read):
    value = {"image_data": np.arange(3_000_000, dtype=np.uint8).reshape(-1, 100, 100, 3)}
    for protocol in (2, 4, 5):
        found = read(pickle.dumps(value, protocol))["image_data"]
        assert found.base is not None
        assert same(found, value["image_data"])
