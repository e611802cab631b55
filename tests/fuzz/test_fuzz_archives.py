"""Archives and folders of images: zips, the binary archive, class folders."""

import functools
import gzip
import io
import random
import struct
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tally import Tally, mutated, written

from graphfew.data import cifar_fs, class_folders, omniglot

FUZZ = settings.get_profile("fuzz")
CIFAR, OMNIGLOT = (
    sys.modules["graphfew.data.datasets.cifar_files"],
    sys.modules["graphfew.data.datasets.omniglot"],
)
NAMES = ("apple", "pear")
LISTS = {
    "superclasses": {"fruit": list(NAMES)},
    "cifar_fs": {"train": ["apple"], "val": ["pear"], "test": ["pear"]},
    "fc100": {"train": ["apple"], "val": ["pear"], "test": ["pear"]},
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two characters, and two classes of two images."""
    monkeypatch.setitem(OMNIGLOT.ARCHIVES, "images_background_small1", (2, "md5:none"))
    monkeypatch.setattr("graphfew.data.datasets.cifar.load_class_lists", lambda: LISTS)
    monkeypatch.setattr(CIFAR, "IMAGES_PER_CLASS", 2)


def picture(side: int, seed: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@functools.cache
def omniglot_zip(how: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for number in (1, 2):
            for drawer in range(1, 21):
                archive.writestr(
                    f"images_background_small1/Latin/character{number:02d}/{number:04d}_{drawer:02d}.png",
                    picture(8, drawer),
                )
    return file.getvalue()


@functools.cache
def cifar_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in NAMES:
            for i in range(2):
                archive.writestr(f"cifar100/{name}/{i}.png", picture(32, i))
    return file.getvalue()


@functools.cache
def cifar_tar() -> bytes:
    """Not compressed yet."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in (
            ("train.bin", bytes([9, 0]) + bytes(3072) + bytes([9, 1]) + bytes(3072)),
            ("test.bin", bytes([9, 1]) + bytes(3072) + bytes([9, 0]) + bytes(3072)),
            ("fine_label_names.txt", b"apple\npear\n"),
        ):
            info = tarfile.TarInfo(f"cifar-100-binary/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def members() -> st.SearchStrategy[bytes]:
    """Archives whose entries go outside, come twice, are links, are called oddly or hold something else."""
    name = st.sampled_from(
        [
            "images_background_small1/Latin/character01/0001_01.png",
            "../../../came/0001_01.png",
            "/came/0001_02.png",
            "images_background_small1/../character01/0001_01.png",
            "a" * 60_000,
            "images_background_small1\\Latin\\x.png",
            "cifar100/apple/0.png",
            "cifar100/../../apple/1.png",
            "cifar100/pear/0.png",
            "\x00",
            "é/\ud83d",
            "apple/1.png",
            "C:\\came.png",
            "cifar100/apple/",
        ]
    )
    content = st.sampled_from(
        [
            b"",
            b"no image",
            picture(32, 0),
            picture(8, 0),
            picture(32, 0, "GIF"),
            picture(32, 1)[:60],
            picture(32, 1, "TIFF"),
            b"\x89PNG\r\n\x1a\n" + b"\0" * 30,
        ]
    )
    entry = st.tuples(
        name,
        content,
        st.sampled_from([0, 0, 8, 12, 14]),
        st.sampled_from([0o100644, 0o120777, 0o10644]),
    )
    return st.lists(entry, max_size=8).map(_zipped)


def _zipped(entries: list[tuple[str, bytes, int, int]]) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # names that come twice are meant
        for name, content, how, mode in entries:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode())
            info.compress_type, info.external_attr = how, mode << 16
            archive.writestr(info, content)
    return file.getvalue()


def with_lies(raw: bytes) -> st.SearchStrategy[bytes]:
    """A zip whose central directory states other sizes, kinds of compression and flags than its entries have."""
    return st.integers(0, 2**32 - 1).map(lambda seed: _lying(bytearray(raw), random.Random(seed)))


def _lying(raw: bytearray, rng: random.Random) -> bytes:
    spots = [at for at in range(len(raw) - 46) if raw[at : at + 4] == b"PK\x01\x02"]
    for at in rng.sample(spots, min(len(spots), rng.choice([1, 3, 40]))):
        where, form = rng.choice(
            [(8, "<H"), (10, "<H"), (20, "<L"), (24, "<L"), (28, "<H"), (30, "<H"), (42, "<L")]
        )
        small = [0, 1, 8, 9, 12, 14, 93, 0xFFFF]
        value = rng.choice(small if form == "<H" else [*small, 2**31, 2**32 - 1, 400_000_000])
        raw[at + where : at + where + struct.calcsize(form)] = struct.pack(form, value)
    return bytes(raw)


@given(
    content=st.one_of(
        mutated(omniglot_zip()),
        mutated(omniglot_zip(zipfile.ZIP_STORED)),
        with_lies(omniglot_zip()),
        members(),
        st.binary(max_size=200),
    )
)
@settings(FUZZ)
def test_omniglot_archive(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "data", "images_background_small1.zip", content)
    tally.judge(
        lambda: omniglot(tmp_path / "data", split="small1", progress=False),
        (ValueError,),
        path,
        tmp_path,
    )


@given(
    content=st.one_of(
        mutated(cifar_zip()), with_lies(cifar_zip()), members(), st.binary(max_size=200)
    )
)
@settings(FUZZ)
def test_cifar_zip(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "data", "cifar100.zip", content)
    tally.judge(
        lambda: cifar_fs(tmp_path / "data", "train", progress=False), (ValueError,), path, tmp_path
    )


def odd_tars() -> st.SearchStrategy[bytes]:
    """Members that are links, devices, go outside, come twice, or state sizes that are not theirs."""
    name = st.sampled_from(["train.bin", "test.bin", "fine_label_names.txt", "../../came", "sub/x"])
    kind = st.sampled_from(
        [
            tarfile.REGTYPE,
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.DIRTYPE,
            tarfile.FIFOTYPE,
            tarfile.CHRTYPE,
            tarfile.XHDTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_SPARSE,
        ]
    )
    size = st.sampled_from([0, 10, 3074, 6148, 10**9, 8 * 10**9])
    return st.lists(st.tuples(name, kind, size), min_size=1, max_size=5).map(_tarred)


def _tarred(entries: list[tuple[str, bytes, int]]) -> bytes:
    out = b""
    for name, kind, size in entries:
        info = tarfile.TarInfo(f"cifar-100-binary/{name}")
        info.type, info.size, info.linkname = kind, size, f"cifar-100-binary/{name}"
        held = b"\x01" * min(size, 10_000)
        out += info.tobuf(tarfile.GNU_FORMAT) + held + bytes(-len(held) % 512)
    return out + cifar_tar()


@given(
    content=st.one_of(
        mutated(cifar_tar()).map(gzip.compress),
        mutated(gzip.compress(cifar_tar())),
        odd_tars().map(gzip.compress),
        st.binary(max_size=100),
    )
)
@settings(FUZZ)
def test_cifar_binary(tally: Tally, tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "data", "cifar-100-binary.tar.gz", content)
    tally.judge(
        lambda: cifar_fs(tmp_path / "data", "train", progress=False), (ValueError,), path, tmp_path
    )


@given(
    content=st.one_of(
        *(mutated(picture(12, 0, kind)) for kind in ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")),
        st.binary(max_size=100),
    ),
    suffix=st.sampled_from([".png", ".jpg", ".bmp", ".webp"]),
)
@settings(FUZZ)
def test_class_folders(tally: Tally, tmp_path: Path, content: bytes, suffix: str) -> None:
    for old in tmp_path.rglob("odd.*"):
        old.unlink()
    written(tmp_path / "data", "beside.txt", b"no image")
    written(tmp_path / "data" / "a", "even.png", picture(8, 0))
    path = written(tmp_path / "data" / "b", f"odd{suffix}", content)
    tally.judge(
        lambda: class_folders(tmp_path / "data", size=8, progress=False),
        (ValueError,),
        path,
        tmp_path,
    )
