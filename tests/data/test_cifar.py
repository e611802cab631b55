"""CIFAR-FS and FC100: the same made images as folders, as a zip and as the binary archive; and the real ones."""

import io
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graphfew.data import cifar_fs, fc100
from graphfew.data.datasets.cifar import load_class_lists
from graphfew.data.io import cache

FILES = sys.modules["graphfew.data.datasets.cifar_files"]
LISTS = {
    "superclasses": {"fish": ["ray", "trout"], "fruit": ["apple", "pear"]},
    "cifar_fs": {"train": ["apple", "ray"], "val": ["pear"], "test": ["trout"]},
    "fc100": {"train": ["apple", "pear"], "val": ["ray"], "test": ["trout"]},
}
NAMES = ["apple", "pear", "ray", "trout"]
TRAINING = 4
# per class four images for training and two for test, [class, image, 3, 32, 32]
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3, 32, 32), np.uint8)


def picture(c, i, suffix="PNG"):
    file = io.BytesIO()
    Image.fromarray(PIXELS[c, i].transpose(1, 2, 0)).save(file, suffix, lossless=True)
    return file.getvalue()


def write_folders(folder, suffix="PNG"):
    for c, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            (folder / name / f"{i:03d}.{suffix.lower()}").write_bytes(picture(c, i, suffix))
        (folder / name / ".hidden.png").write_text("no image")


def write_zip(folder):
    with zipfile.ZipFile(folder / "cifar100.zip", "w") as archive:
        archive.writestr("cifar100/apple/", b"")
        archive.writestr("__MACOSX/cifar100/apple/000.webp", b"no image")
        for c, i in (
            np.random.default_rng(1)
            .permutation([(c, i) for c in range(4) for i in range(6)])
            .tolist()
        ):
            archive.writestr(f"cifar100/{NAMES[c]}/{i:03d}.webp", picture(c, i, "WEBP"))


def write_binary(folder, names=NAMES, cut=0):
    """Classes are mixed up, and each keeps the order of its images."""
    with tarfile.open(folder / "cifar-100-binary.tar.gz", "w:gz") as archive:
        for part, own in (("train", range(TRAINING)), ("test", range(TRAINING, 6))):
            records = b"".join(
                bytes([9, names.index(NAMES[c])]) + PIXELS[c, i].tobytes()
                for i in own
                for c in (2, 0, 3, 1)
            )
            add(archive, f"{part}.bin", records[: len(records) - cut])
        add(archive, "fine_label_names.txt", "\n".join(names).encode() + b"\n")


def add(archive, name, content):
    info = tarfile.TarInfo(f"cifar-100-binary/{name}")
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


FORMS = {
    "folders": write_folders,
    "webp": lambda folder: write_folders(folder, "WEBP"),
    "zip": write_zip,
    "below": lambda folder: write_folders(folder / "cifar100"),
    "binary": write_binary,
    "binary, other order": lambda folder: write_binary(folder, NAMES[::-1]),
}


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Four classes of six images; and a cache of its own, for a changed image changes no length."""
    monkeypatch.setattr("graphfew.data.datasets.cifar.load_class_lists", lambda: LISTS)
    monkeypatch.setattr(FILES, "IMAGES_PER_CLASS", 6)
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def read(loader, root, split="train", **options):
    return loader(root, split, progress=False, **options)


@pytest.mark.parametrize("form", FORMS)
def test_every_format_returns_the_same_images_in_the_same_order(root, form):
    FORMS[form](root)
    data = read(cifar_fs, root)
    assert (data.name, data.split) == ("cifar-fs", "train")
    assert (data.classes, data.groups) == (("apple", "ray"), ("fruit", "fish"))
    assert torch.equal(data.x, torch.from_numpy(PIXELS[[0, 2]].reshape(12, 3, 32, 32)))
    assert data.y.tolist() == [0] * 6 + [1] * 6
    assert torch.equal(read(fc100, root, "val").x, torch.from_numpy(PIXELS[2]))


def test_decodes_once_for_all_splits_and_both_data_sets(root, monkeypatch):
    write_zip(root)
    read(cifar_fs, root)
    monkeypatch.setattr(FILES, "_read_zip", None)
    assert read(fc100, root, "test").classes == ("trout",)


def test_changed_folders_are_decoded_again(root):
    write_folders(root)
    read(cifar_fs, root)
    file = root / "apple" / "000.png"
    file.write_bytes(picture(1, 0))
    os.utime(file, ns=(1, 1))
    assert torch.equal(read(cifar_fs, root).x[0], torch.from_numpy(PIXELS[1, 0]))


def test_rotations_make_four_classes_of_one(root):
    write_zip(root)
    plain, turned = read(cifar_fs, root), read(cifar_fs, root, rotations=True)
    assert turned.classes[:4] == tuple(f"apple/rot{d:03d}" for d in (0, 90, 180, 270))
    assert turned.groups == ("fruit",) * 4 + ("fish",) * 4
    for turn in range(4):
        assert torch.equal(
            turned.x[turned.members[4 + turn]], plain.x[plain.members[1]].rot90(turn, (2, 3))
        )


def test_the_environment_folder_is_used_before_a_download(root, tmp_path, monkeypatch):
    write_zip(root)
    root.rename(tmp_path / "cifar100")
    monkeypatch.setenv("GRAPHFEW_DATA", str(tmp_path))
    assert len(read(cifar_fs, None)) == 12
    monkeypatch.setenv("GRAPHFEW_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(
        OSError, match=r"could not download https://www\.cs\.toronto.*pass its folder as root"
    ):
        read(cifar_fs, None)
    write_binary(tmp_path)
    asked = {}

    def retrieve(url, **options):
        asked.update(options, url=url)
        return str(tmp_path / "cifar-100-binary.tar.gz")

    monkeypatch.setattr("pooch.retrieve", retrieve)
    assert torch.equal(read(cifar_fs, None, "val").x, torch.from_numpy(PIXELS[1]))
    assert (asked["known_hash"], asked["path"]) == (
        "md5:03b5dce01913d631647c71ecec9e9cb8",
        cache.cache_folder(),
    )


def test_invalid_arguments_are_rejected(root, tmp_path):
    with pytest.raises(ValueError, match="cifar_fs has no split 'dev'; known: train, val, test"):
        cifar_fs(root, "dev")
    with pytest.raises(
        FileNotFoundError, match=r"neither class folders such as apple .* nor cifar100\.zip nor c"
    ):
        read(cifar_fs, root)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        read(cifar_fs, tmp_path / "nowhere")


def test_an_incomplete_or_damaged_source_is_reported_and_not_cached(root, tmp_path):
    write_folders(root)
    (root / "ray" / "003.png").unlink()
    with pytest.raises(
        ValueError,
        match=r"is incomplete: 5 images of 'ray', expected 6; get CIFAR-100 again: https",
    ):
        read(cifar_fs, root)
    (root / "ray" / "003.png").write_text("no image")
    with pytest.raises(ValueError, match=r"is damaged .*get CIFAR-100 again"):
        read(cifar_fs, root)
    Image.new("RGB", (31, 32)).save(root / "ray" / "003.png")
    with pytest.raises(ValueError, match="31x32 pixels, expected 32x32"):
        read(cifar_fs, root)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("write", "name"), [(write_zip, "cifar100.zip"), (write_binary, "cifar-100-binary.tar.gz")]
)
@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"<html>not found</html>"]
)
def test_a_damaged_archive_is_reported(root, write, name, damage):
    write(root)
    (root / name).write_bytes(damage((root / name).read_bytes()))
    with pytest.raises(
        ValueError, match=rf"{name} is damaged .*delete it and get CIFAR-100 again: https"
    ):
        read(cifar_fs, root)


def test_a_binary_archive_with_other_classes_or_lengths_is_rejected(root):
    write_binary(root, cut=3)
    with pytest.raises(ValueError, match="is damaged"):
        read(cifar_fs, root)
    write_binary(root, [*NAMES, "zebra"])
    with pytest.raises(ValueError, match="has other classes"):
        read(cifar_fs, root)
    write_binary(root, cut=2 + 3072)
    with pytest.raises(ValueError, match="is incomplete: 4 images of 'pear'"):
        read(cifar_fs, root)


@pytest.mark.parametrize(("name", "sizes"), [("cifar_fs", (64, 16, 20)), ("fc100", (60, 20, 20))])
def test_the_splits_partition_all_classes(name, sizes):
    known = load_class_lists()
    parts = [set(known[name][split]) for split in ("train", "val", "test")]
    assert tuple(map(len, parts)) == sizes
    assert set().union(*parts) == {
        own for classes in known["superclasses"].values() for own in classes
    }
    assert [len(classes) for classes in known["superclasses"].values()] == [5] * 20
    if name == "fc100":
        groups = [
            {g for g, own in known["superclasses"].items() if part & set(own)} for part in parts
        ]
        assert tuple(map(len, groups)) == (12, 4, 4)


@pytest.mark.skipif(
    not (Path(os.environ.get("GRAPHFEW_DATA", "")) / "cifar100" / "cifar100.zip").is_file(),
    reason="CIFAR-100 is not here: set GRAPHFEW_DATA to a folder with cifar100/cifar100.zip",
)
def test_the_real_images(monkeypatch):
    monkeypatch.setattr("graphfew.data.datasets.cifar.load_class_lists", load_class_lists)
    monkeypatch.setattr(FILES, "IMAGES_PER_CLASS", 600)
    known: set[str] = set()
    for split, classes in (("train", 64), ("val", 16), ("test", 20)):
        data = read(cifar_fs, None, split)
        assert len(data.classes) == classes
        assert {len(members) for members in data.members} == {600}
        assert not known & set(data.classes)
        known |= set(data.classes)
        assert 100 < data.x[::100].double().mean() < 150
    assert len(set(read(fc100, None, "test").groups)) == 4
