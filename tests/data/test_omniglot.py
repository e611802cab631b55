import io
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from graphfew.data import omniglot

SMALL = "images_background_small1.zip"


def png(number, drawer):
    """White paper and one black square whose place tells the character and the drawer."""
    pixels = np.ones((28, 28), dtype=bool)
    pixels[number // 12 : number // 12 + 2, drawer : drawer + 2] = False
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(path, characters=136, drawers=20, start=108):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images_background_small1/Latin/", b"")
        archive.writestr("__MACOSX/._0108_01.png", b"not an image")
        for number in reversed(range(start, start + characters)):
            alphabet = "Latin" if number % 2 else "Greek"
            for drawer in range(1, drawers + 1):
                folder = f"images_background_small1/{alphabet}/character{number - start + 1:02d}"
                archive.writestr(f"{folder}/{number:04d}_{drawer:02d}.png", png(number, drawer))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archives")
    write(folder / SMALL)
    return folder


def load(root, **options):
    return omniglot(root, **({"split": "small1", "rotations": False, "progress": False} | options))


def test_reads_an_archive_in_order_of_character_and_drawer(root):
    data = load(root)
    assert len(data.classes) == 136
    assert data.classes[0] == "Greek/character01"
    assert set(data.groups) == {"Greek", "Latin"}
    assert data.metadata["drawer"][:21].tolist() == [*range(1, 21), 1]
    for item in (0, 25, 2719):
        number, drawer = 108 + item // 20, item % 20 + 1
        expected = torch.zeros(28, 28, dtype=torch.uint8)
        expected[number // 12 : number // 12 + 2, drawer : drawer + 2] = 255
        assert torch.equal(data.x[item, 0], expected)
        assert data.y[item] == item // 20


def test_rotations_make_four_classes_of_one(root):
    plain, turned = load(root), load(root, rotations=True)
    assert len(turned.classes) == 4 * 136
    assert turned.classes[:4] == tuple(f"Greek/character01/rot{d:03d}" for d in (0, 90, 180, 270))
    for turn in range(4):
        images = turned.x[turned.members[8 + turn]]
        assert torch.equal(images, plain.x[plain.members[2]].rot90(turn, (2, 3)))


def test_other_sizes_are_reduced_smoothly(root):
    data = load(root, size=14)
    assert data.x.shape == (2720, 1, 14, 14)
    assert len(data.x.unique()) > 10


def test_the_environment_folder_is_used(root, tmp_path, monkeypatch):
    (tmp_path / "omniglot").symlink_to(root)
    monkeypatch.setenv("GRAPHFEW_DATA", str(tmp_path))
    assert torch.equal(load(None).x, load(root).x)


def test_decodes_once(root, monkeypatch):
    load(root)
    monkeypatch.setattr(sys.modules["graphfew.data.datasets.omniglot"], "_decode_archive", None)
    load(root)


def test_a_failed_download_is_reported(monkeypatch):
    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    with pytest.raises(
        OSError, match=r"could not download https.*small1.zip.*pass its folder as root"
    ):
        load(None)


def test_a_download_is_checked_and_used(root, monkeypatch):
    asked = {}

    def retrieve(url, **options):
        asked.update(options, url=url)
        return str(root / SMALL)

    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    monkeypatch.setattr("pooch.retrieve", retrieve)
    assert len(load(None).classes) == 136
    assert asked["url"].endswith("brendenlake/omniglot/master/python/images_background_small1.zip")
    assert asked["known_hash"].startswith("sha256:f38eb80f")


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b"",
        lambda b: b"<html>not found</html>",
        lambda b: b[:5000] + bytes(500) + b[5500:],
    ],
)
def test_a_damaged_archive_is_reported_and_not_cached(root, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path / "cache"))
    (tmp_path / SMALL).write_bytes(damage((root / SMALL).read_bytes()))
    with pytest.raises(
        ValueError, match=rf"{SMALL} is damaged .*delete it and get it again: https"
    ):
        load(tmp_path)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("size", [{"characters": 135}, {"drawers": 19}])
def test_an_incomplete_archive_is_rejected(tmp_path, size):
    write(tmp_path / SMALL, **size)
    with pytest.raises(ValueError, match=r"is incomplete: .*expected 2720 of 136"):
        load(tmp_path)


def test_unknown_arguments_are_rejected(tmp_path):
    with pytest.raises(
        ValueError, match="split 'dev'; known: train, train-mirrored, train-doubled, val"
    ):
        omniglot(split="dev")
    with pytest.raises(FileNotFoundError, match=f"has no {SMALL}; put the archive there"):
        load(tmp_path)
    with pytest.raises(ValueError, match="size is 0"):
        load(tmp_path, size=0)


@pytest.mark.parametrize(
    ("split", "classes"), [("train", 4112), ("val", 688), ("trainval", 4800), ("test", 1692)]
)
def test_the_splits_are_those_of_vinyals(real_omniglot, split, classes):
    data = omniglot(real_omniglot, split=split, progress=False)
    assert len(data.classes) == classes
    assert set(data.classes) == set(
        (real_omniglot / "splits" / "vinyals" / f"{split}.txt").read_text().split()
    )
    assert {len(m) for m in data.members} == {20}


@pytest.mark.parametrize(
    ("split", "alphabets", "characters"),
    [("background", 30, 964), ("evaluation", 20, 659), ("small1", 5, 136), ("small2", 5, 156)],
)
def test_the_published_sets_are_complete(real_omniglot, split, alphabets, characters):
    data = omniglot(real_omniglot, split=split, rotations=False, progress=False)
    assert (len(set(data.groups)), len(data.classes)) == (alphabets, characters)


def test_the_small_sets_have_the_images_of_the_background_set(real_omniglot):
    small, large = (
        omniglot(real_omniglot, split=s, rotations=False, progress=False)
        for s in ("small1", "background")
    )
    number = {name: c for c, name in enumerate(large.classes)}
    for c in range(0, 136, 15):
        same = large.x[large.members[number[small.classes[c]]]]
        assert torch.equal(small.x[small.members[c]], same)


def test_strokes_are_bright_and_few(real_omniglot):
    x = omniglot(real_omniglot, split="small1", progress=False).gather(torch.arange(500))
    assert x.max() == 1
    assert 0.02 < x.mean() < 0.2


def test_mirrored_characters_are_mirror_images_of_training_characters(real_omniglot):
    plain, mirrored = (
        omniglot(real_omniglot, split=s, progress=False) for s in ("train", "train-mirrored")
    )
    assert mirrored.split == "train-mirrored"
    assert mirrored.groups == plain.groups
    assert mirrored.classes[:2] == tuple(
        c.replace("/rot", "/mirrored/rot") for c in plain.classes[:2]
    )
    upright, turned = (mirrored.x[mirrored.members[c]] for c in (0, 1))
    assert torch.equal(upright, plain.x[plain.members[0]].flip(3))
    assert torch.equal(turned, upright.rot90(1, (2, 3)))


def test_doubled_training_characters_are_both(real_omniglot):
    plain, mirrored, both = (
        omniglot(real_omniglot, split=s, progress=False)
        for s in ("train", "train-mirrored", "train-doubled")
    )
    assert both.classes == plain.classes + mirrored.classes
    assert both.groups == plain.groups + mirrored.groups
    assert torch.equal(both.x, torch.cat([plain.x, mirrored.x]))
