"""Tables of features: CSV, NPZ and Parquet, and the NPZ files that data sets come in."""

import functools
import io
import sys
import warnings
import zipfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tally import Tally, mutated, written

from graphfew.data import cifar_fs_features, clinc150, fewrel
from graphfew.labeling.label_sources import read_source

FUZZ = settings.get_profile("fuzz")
CELLS = st.one_of(
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1e400",
            "nan",
            "inf",
            "-0",
            "1_0",
            "٣",
            "a",
            '"',
            '""',
            "\0",
            "1,2",
            "\n",
            "é",
            "0x10",
            "9" * 400,
            " 1 ",
            "=1+1",
        ]
    ),
    st.text(max_size=4),
    st.floats().map(str),
)
CSV = b"a,b,label\n1,2,x\n3,4,y\n5,6,\n7,8,-1\n"


@given(
    content=st.one_of(
        mutated(CSV),
        st.binary(max_size=100),
        st.lists(st.lists(CELLS, max_size=5).map(",".join), max_size=8).map(
            lambda rows: "\n".join(rows).encode("utf-8")
        ),
        st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=8).map(
            lambda rows: ("a,label\n" + "\n".join(map(",".join, rows))).encode("utf-8")
        ),
    )
)
@settings(FUZZ)
def test_csv(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, "table.csv", content)
    tally.judge(lambda: read_source(path), (ValueError,), path, tmp_path)


def saved(**held: np.ndarray) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy's newest format, which some dtypes need
        np.savez_compressed(file, **held)
    return file.getvalue()


KINDS = st.one_of(
    arrays.scalar_dtypes(),
    arrays.unicode_string_dtypes(),
    arrays.byte_string_dtypes(),
    arrays.array_dtypes(max_size=2),
    st.just(np.dtype(np.longdouble)),
)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
ANY = arrays.arrays(KINDS, SHAPES)
# Headers of arrays that promise more than there is, or are no header.
HEADERS = st.sampled_from(
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 30 + ",), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<U999999999', 'fortran_order': False, 'shape': (2,), }",
        "(" * 3000,
        "{" + "'a':" * 50,
        "",
        "[1, 2]",
        "{'descr': [('a', '<f4')], 'fortran_order': 1, 'shape': (2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 2), }",
    ]
)


def promised(header: str) -> bytes:
    text = header.encode() + b"\n"
    array = b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + bytes(64)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (
            "x",
            "y",
            "label",
            "features",
            "split",
            "oos",
            "domain",
            "label_name",
            "split_name",
        ):
            archive.writestr(f"{name}.npy", array)
    return file.getvalue()


GOOD_NPZ = saved(x=np.arange(8.0).reshape(4, 2), y=np.array(["a", "b", "", "a"]))


@given(
    content=st.one_of(
        mutated(GOOD_NPZ),
        st.tuples(ANY, ANY).map(lambda two: saved(x=two[0], y=two[1])),
        HEADERS.map(promised),
        ANY.map(lambda one: saved(x=np.ones((4, 2)), y=one)),
        st.binary(max_size=100),
    )
)
@settings(FUZZ)
def test_npz(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, "table.npz", content)
    tally.judge(lambda: read_source(path), (ValueError,), path, tmp_path)


CLINC = {
    "x": np.ones((6, 3), np.float32),
    "y": np.array(["a", "b"] * 3),
    "split": np.array(["train", "val", "test"] * 2),
    "domain": np.array(["d"] * 6),
    "oos": np.ones((2, 3), np.float32),
}
IMAGES = {
    "features": np.ones((4, 3), np.float32),
    "label": np.array([0, 1, 0, 1]),
    "split": np.array([0, 0, 1, 1]),
    "label_name": np.array(["a", "b"]),
    "split_name": np.array(["val", "test"]),
}


@given(
    content=st.one_of(
        mutated(saved(**CLINC)),
        HEADERS.map(promised),
        st.binary(max_size=50),
        st.tuples(st.sampled_from(sorted(CLINC)), ANY).map(
            lambda pair: saved(**{**CLINC, pair[0]: pair[1]})
        ),
    )
)
@settings(FUZZ)
def test_clinc_features(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "data", "minilm_embeddings.npz", content)
    tally.judge(lambda: clinc150(tmp_path / "data", "train"), (ValueError,), path, tmp_path)


@given(
    content=st.one_of(
        mutated(saved(**IMAGES)),
        HEADERS.map(promised),
        st.tuples(st.sampled_from(sorted(IMAGES)), ANY).map(
            lambda pair: saved(**{**IMAGES, pair[0]: pair[1]})
        ),
        st.lists(st.integers(-3, 3), min_size=4, max_size=4).map(
            lambda y: saved(**{**IMAGES, "label": np.array(y)})
        ),
    )
)
@settings(FUZZ)
def test_cifar_features(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "data", "cifarfs_features.npz", content)
    tally.judge(lambda: cifar_fs_features(tmp_path / "data"), (ValueError,), path, tmp_path)


@functools.cache
def parquet(**columns: tuple[object, ...]) -> bytes:
    arrow = pytest.importorskip("pyarrow")
    file = io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(
        arrow.table({k: list(v) for k, v in columns.items()}), file
    )
    return file.getvalue()


COLUMN = st.one_of(
    *(
        st.lists(values, min_size=3, max_size=3).map(tuple)
        for values in (
            st.none(),
            st.one_of(st.none(), st.booleans()),
            st.one_of(st.none(), st.integers(-(2**40), 2**40)),
            st.one_of(st.none(), st.floats()),
            st.one_of(st.none(), st.text(max_size=3)),
            st.binary(max_size=3),
            st.dates(),
            st.tuples(st.integers(0, 3)),
            st.decimals(-100, 100, places=2),
            st.timedeltas(timedelta(0), timedelta(9)),
        )
    )
)


@functools.cache
def parquets() -> st.SearchStrategy[bytes]:
    good = parquet(a=(1.0, 2.0, 3.0), b=(1, 2, 3), label=("x", "y", None))
    return st.one_of(
        mutated(good),
        st.binary(max_size=50),
        COLUMN.map(lambda one: parquet(a=(1.0, 2.0, 3.0), label=one)),
        COLUMN.map(lambda one: parquet(a=one, label=("x", "y", None))),
    )


@given(data=st.data())
@settings(FUZZ)
def test_parquet(tally: Tally, tmp_path: Path, data: st.DataObject) -> None:
    pytest.importorskip("pyarrow")
    path = written(tmp_path, "table.parquet", data.draw(parquets()))
    tally.judge(lambda: read_source(path), (ValueError,), path, tmp_path)


SENTENCE = '{"tokens": ["a", "b", "c"], "h": ["a", "Q1", [[0]]], "t": ["c", "Q2", [[2]]]}'
FEWREL = "{" + ", ".join(f'"P{i}": [{", ".join([SENTENCE] * 4)}]' for i in range(3)) + "}"


@given(
    content=st.one_of(
        mutated(FEWREL.encode()),
        st.binary(max_size=50),
        st.sampled_from(
            [
                "[[0]]",
                "[[2]]",
                '"a"',
                "[[-5]]",
                "[[1e400]]",
                "[[NaN]]",
                "null",
                "[" * 90_000,
                "[[99999999999]]",
                '[["1"]]',
                "[]",
                "9" * 5000,
            ]
        ).flatmap(
            lambda value: st.sampled_from(
                ["[[0]]", '"tokens"', '["a", "b", "c"]', '"Q1"', SENTENCE]
            ).map(lambda old: FEWREL.replace(old, value, 1).encode())
        ),
    )
)
@settings(FUZZ)
def test_fewrel(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "data", "train_wiki.json", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["graphfew.data.datasets.fewrel"], "N_VALIDATION_SENTENCES", 1)
        tally.judge(
            lambda: fewrel(path, split="all", words=10, length=5), (ValueError,), path, tmp_path
        )
