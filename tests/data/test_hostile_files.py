"""Files made to harm: what would fill the memory is refused before it is inflated, and nothing is written outside."""

import gzip
import io
import json
import os
import pickle
import struct
import sys
import tarfile
import time
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from graphfew.data import (
    cifar_fs,
    class_folders,
    clinc150,
    fewrel,
    mini_imagenet,
    omniglot,
    tiered_imagenet,
)
from graphfew.data.io import archives, cache
from graphfew.data.io.npz import read_arrays
from graphfew.labeling.label_sources import read_source

OMNIGLOT, CIFAR = (
    sys.modules["graphfew.data.datasets.omniglot"],
    sys.modules["graphfew.data.datasets.cifar_files"],
)
MB = 1_000_000


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def little_memory():
    """The peak of what Python asks for stays below 100 MB."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * MB


def zipped(path, entries, how=zipfile.ZIP_DEFLATED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", how) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in entries:
            archive.writestr(name, content)
    return path


def stated(path, where, form, value):
    """Every entry of the central directory states another value at that place."""
    raw = bytearray(path.read_bytes())
    for at in range(len(raw) - 46):
        if raw[at : at + 4] == b"PK\x01\x02":
            raw[at + where : at + where + struct.calcsize(form)] = struct.pack(form, value)
    path.write_bytes(bytes(raw))


def inflated(path, name="a"):
    with archives.open_zip(path) as archive:
        return archives.read_entry(archive, name)


@pytest.mark.usefixtures("little_memory")
def test_an_entry_that_would_inflate_too_far_is_rejected_before_inflation(tmp_path):
    path = zipped(tmp_path / "bomb.zip", [("a", bytes(MB))])
    stated(path, 24, "<L", 3_000 * MB)
    with pytest.raises(
        ValueError, match=r"'a' would inflate from \d+ bytes to 3000000000; the limit is 500000000"
    ):
        inflated(path)


def test_an_entry_larger_than_stated_is_damaged(tmp_path):
    path = zipped(tmp_path / "bomb.zip", [("a", bytes(MB))])
    stated(path, 24, "<L", 10)
    with pytest.raises(zipfile.BadZipFile, match="CRC"):
        inflated(path)


def test_large_entries_with_little_compression_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE_BYTES", 1000)
    noise = os.urandom(50_000)
    assert inflated(zipped(tmp_path / "large.zip", [("a", noise)])) == noise
    with pytest.raises(ValueError, match="would inflate"):
        inflated(zipped(tmp_path / "bomb.zip", [("a", bytes(200_000))]))


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_methods_are_rejected(tmp_path, how):
    with pytest.raises(ValueError, match=r"compressed by method 1[24]; only stored and deflated"):
        inflated(zipped(tmp_path / "other.zip", [("a", bytes(MB))], how))


def test_encrypted_entries_are_rejected(tmp_path):
    path = zipped(tmp_path / "secret.zip", [("a", b"text")])
    stated(path, 8, "<H", 1)
    with pytest.raises(ValueError, match="'a' is encrypted"):
        inflated(path)


@pytest.mark.usefixtures("little_memory")
def test_a_million_entries_are_rejected_before_they_are_listed(tmp_path):
    entry = (
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0)
        + b"n" * 20
    )
    count = 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(entry) * count, 0, 0)
    with (tmp_path / "many.zip").open("wb") as file:
        for _ in range(count // 1000):
            file.write(entry * 1000)
        file.write(end)
    began = time.process_time()
    with pytest.raises(ValueError, match="list of entries takes 66000000 bytes"):
        inflated(tmp_path / "many.zip")
    assert time.process_time() - began < 2


def test_the_directory_size_of_zip64_archives_is_checked(tmp_path):
    large = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 10**9, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 46, 0, 0)
    (tmp_path / "many.zip").write_bytes(large + locator + end)
    with pytest.raises(ValueError, match="list of entries takes 1000000000 bytes"):
        inflated(tmp_path / "many.zip")


def test_large_omniglot_entries_are_rejected(tmp_path, monkeypatch):
    monkeypatch.setitem(OMNIGLOT.ARCHIVES, "images_background_small1", (1, "md5:none"))
    names = [
        f"images_background_small1/Latin/character01/0001_{drawer:02d}.png"
        for drawer in range(1, 21)
    ]
    zipped(tmp_path / "images_background_small1.zip", [(name, bytes(MB)) for name in names])
    with pytest.raises(
        ValueError, match=r"small1\.zip is damaged .*would inflate from .* to 1000000"
    ):
        omniglot(tmp_path, split="small1", progress=False)
    file = io.BytesIO()
    Image.new("1", (9000, 9000)).save(file, "PNG")
    zipped(tmp_path / "images_background_small1.zip", [(name, file.getvalue()) for name in names])
    with pytest.raises(ValueError, match="9000x9000 pixels"):
        omniglot(tmp_path, split="small1", progress=False)


LISTS = {
    "superclasses": {"fruit": ["apple"]},
    "cifar_fs": {"train": ["apple"], "val": ["apple"], "test": ["apple"]},
    "fc100": {},
}


@pytest.fixture
def one_class(monkeypatch):
    monkeypatch.setattr("graphfew.data.datasets.cifar.load_class_lists", lambda: LISTS)
    monkeypatch.setattr(CIFAR, "IMAGES_PER_CLASS", 2)


def picture():
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.usefixtures("one_class")
def test_entry_names_with_path_traversal_write_nothing(tmp_path):
    outside = [
        "../../came.png",
        "/tmp/came.png",
        "cifar100/../../../came.png",
        "cifar100/apple/../../../came.png",
    ]
    path = zipped(
        tmp_path / "data" / "cifar100.zip",
        [
            *((name, b"harm") for name in outside),
            ("cifar100/apple/0.png", picture()),
            ("cifar100/apple/1.png", picture()),
        ],
    )
    assert len(cifar_fs(path.parent, "train", progress=False)) == 2
    assert not list(tmp_path.rglob("came*"))
    assert not os.path.exists("/tmp/came.png")


@pytest.mark.usefixtures("one_class")
def test_repeated_entry_names_are_rejected(tmp_path):
    path = zipped(tmp_path / "cifar100.zip", [("apple/0.png", picture())] * 3)
    with pytest.raises(
        ValueError, match=r"cifar100\.zip is incomplete: 3 images of 'apple', expected 2"
    ):
        cifar_fs(path.parent, "train", progress=False)


def tarred(path, members):
    """Headers, each with so many bytes of zeros after it, whatever size it states."""
    with gzip.open(path, "wb", 1) as file:
        for name, kind, size, held in members:
            info = tarfile.TarInfo(f"cifar-100-binary/{name}")
            info.type, info.size, info.linkname = kind, size, f"cifar-100-binary/{name}"
            file.write(info.tobuf(tarfile.GNU_FORMAT))
            for _ in range(held // MB):
                file.write(bytes(MB))
        file.write(bytes(1024))


@pytest.mark.usefixtures("one_class", "little_memory")
@pytest.mark.parametrize(
    "members",
    [
        [("train.bin", tarfile.REGTYPE, 8_000 * MB, 0)],
        [("other", tarfile.REGTYPE, 400 * MB, 400 * MB)],
        [("train.bin", tarfile.XHDTYPE, 4_000 * MB, 0)],
        [("train.bin", tarfile.GNUTYPE_LONGNAME, 4_000 * MB, 0)],
        [("train.bin", tarfile.SYMTYPE, 0, 0)],
        [("train.bin", tarfile.LNKTYPE, 0, 0)],
        [("train.bin", tarfile.FIFOTYPE, 0, 0)],
        [("train.bin", tarfile.DIRTYPE, 0, 0)],
    ],
    ids=["size", "before", "extended", "name", "link", "hard link", "pipe", "folder"],
)
def test_invalid_members_of_the_binary_archive_are_rejected(tmp_path, members):
    tarred(tmp_path / "cifar-100-binary.tar.gz", members)
    with pytest.raises(ValueError, match=r"cifar-100-binary\.tar\.gz is damaged"):
        cifar_fs(tmp_path, "train", progress=False)


def test_pipes_and_dead_links_among_images_are_skipped(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(picture())
    os.mkfifo(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "2.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "c.png").symlink_to(tmp_path / "c.png")
    assert len(class_folders(tmp_path, size=8, progress=False)) == 2


def npz(path, header, name="x", more=64):
    text = header.encode() + b"\n"
    zipped(
        path,
        [(f"{name}.npy", b"\x93NUMPY\x02\x00" + struct.pack("<L", len(text)) + text + bytes(more))],
    )


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "shape", ["(100000000000, 4)", "(10000000,)", "(-16,)", "(" + "9" * 40 + ",)", "(0, -1)"]
)
def test_arrays_that_state_a_wrong_size_are_rejected(tmp_path, shape):
    npz(tmp_path / "a.npz", f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}")
    with pytest.raises(ValueError, match=r"a\.npz cannot be read as NPZ \(.*x"):
        read_arrays(tmp_path / "a.npz", ("x",))


def test_invalid_headers_objects_and_missing_arrays_are_rejected(tmp_path):
    for header, message in (
        ("(" * 3000, "a.npz"),
        ("{'a':" * 50, "a.npz"),
        ("", "a.npz"),
        (
            "{'descr': '|O', 'fortran_order': False, 'shape': (8,), }",
            "x cannot be read: it holds Python objects",
        ),
    ):
        npz(tmp_path / "a.npz", header)
        with pytest.raises(ValueError, match=message):
            read_arrays(tmp_path / "a.npz", ("x",))
    with pytest.raises(ValueError, match=r"has no array 'y'; its arrays are x"):
        read_arrays(tmp_path / "a.npz", ("y",))


def test_labels_of_other_types_are_reported_with_their_file(tmp_path):
    for labels in (np.array([0.5, 1, 1]), np.array([b"\xff", b"a", b"b"]), np.zeros(3, "M8[s]")):
        np.savez(tmp_path / "t.npz", x=np.ones((3, 2)), y=labels)
        if labels.dtype.kind == "S":
            assert read_source(tmp_path / "t.npz").classes == ("a", "b", "\ufffd")
            continue
        with pytest.raises(ValueError, match=r"t\.npz: a label is"):
            read_source(tmp_path / "t.npz")


def test_inconsistent_arrays_of_clinc150_are_reported(tmp_path):
    good = {
        "x": np.ones((4, 3)),
        "y": np.array(list("abab")),
        "split": np.array(["train"] * 4),
        "domain": np.array(["d"] * 4),
    }
    np.savez(tmp_path / "minilm_embeddings.npz", **{**good, "domain": np.array("d")})
    with pytest.raises(ValueError, match=r"the arrays of minilm_embeddings\.npz do not fit"):
        clinc150(tmp_path)


def test_booleans_with_nulls_are_reported(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        arrow.table({"a": [True, None, False], "label": ["x", "y", "x"]}), tmp_path / "t.parquet"
    )
    with pytest.raises(ValueError, match=r"t\.parquet, row 1, column 'a' is empty"):
        read_source(tmp_path / "t.parquet")


def test_a_parquet_file_with_an_implausible_number_of_rows_is_rejected(tmp_path, monkeypatch):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("graphfew.data.io.archives.FREE_BYTES", 1000)
    parquet.write_table(
        arrow.table({"a": np.zeros(2 * MB), "label": ["x"] * (2 * MB)}), tmp_path / "t.parquet"
    )
    with pytest.raises(
        ValueError, match=r"t\.parquet claims 2000000 rows of 2 columns in \d+ bytes"
    ):
        read_source(tmp_path / "t.parquet")


def test_exponentially_nested_lists_are_rejected(tmp_path):
    inner = [0]
    for _ in range(60):
        inner = [inner, inner]
    images = np.zeros((2, 4, 4, 3), np.uint8)
    for content in (
        {"data": images, "labels": inner},
        {"image_data": inner, "class_dict": {"a": [0]}},
        {"image_data": images, "class_dict": {"a": inner}},
        {"a": inner, "b": inner},
    ):
        (tmp_path / "mini_imagenet_train.pickle").write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match=r"mini_imagenet_train\.pickle"):
            mini_imagenet(tmp_path, size=4, progress=False)


def test_exponentially_nested_labels_are_rejected(tmp_path):
    inner = [0]
    for _ in range(60):
        inner = [inner, inner]
    np.savez(tmp_path / "train_images.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    good = {
        "label_specific": [0, 1],
        "label_general": [0, 0],
        "label_specific_str": ["a", "b"],
        "label_general_str": ["g"],
    }
    for name in good:
        (tmp_path / "train_labels.pkl").write_bytes(pickle.dumps({**good, name: [inner, inner]}))
        with pytest.raises(ValueError, match=r"train_labels\.pkl does not fit .*holds a list"):
            tiered_imagenet(tmp_path, size=4, progress=False)


SENTENCE = {"tokens": ["a", "b"], "h": ["a", "Q1", [[0]]], "t": ["b", "Q2", [[1]]]}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "9" * 5000,
        json.dumps({"P1": [{**SENTENCE, "h": ["a", "Q1", [[-3]]]}]}),
        '{"P1": [{"tokens": ["a"], "h": ["a", "Q", [[1e400]]], "t": ["a", "Q", [[0]]]}]}',
    ],
)
def test_other_json_is_rejected_by_fewrel(tmp_path, text):
    (tmp_path / "val_wiki.json").write_text(text)
    with pytest.raises(ValueError, match=r"val_wiki\.json is not FewRel's JSON"):
        fewrel(tmp_path)


def test_a_cache_file_with_a_false_header_is_rebuilt(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    npz(tmp_path / "cache" / f"key-v{cache.FORMAT_VERSION}.npz", header)
    assert cache.load_or_build("key", ("x",), lambda: {"x": np.ones(2)})["x"].tolist() == [1, 1]
