import os

import numpy as np
import pytest
import torch

from graphfew.data import Tasks, glyphs
from graphfew.data.datasets import _glyph_rendering

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def data():
    return {split: glyphs(split, progress=False) for split in SPLITS}


def test_sizes(data):
    # another FreeType draws a little differently, and a pair near the limit of likeness may cross it
    for split, classes in (("train", 467), ("val", 117), ("test", 101)):
        assert abs(len(data[split].classes) - classes) <= 4
    for d in data.values():
        assert d.x.shape[1:] == (1, 28, 28)
        assert {len(m) for m in d.members} == {20}


def test_scripts_are_those_of_the_split_only(data):
    assert {split: set(d.groups) for split, d in data.items()} == {
        "train": {"Latin", "Greek", "Cyrillic", "Digit"},
        "val": {"Georgian"},
        "test": {"Armenian", "Lao"},
    }


def test_no_two_classes_of_any_splits_share_an_outline(data):
    """Independent of how look-alikes are found: the bare outline of each character in the reference face."""
    face = _glyph_rendering.load_face("DejaVuSans")
    seen = {}
    for split, d in data.items():
        for code in d.metadata["codepoint"].unique().tolist():
            mask = face.getmask(chr(code), mode="L")
            key = (mask.size, bytes(mask))
            assert key not in seen, f"{chr(code)} of {split} looks like {seen.get(key)}"
            seen[key] = (split, chr(code))
    assert len(seen) == sum(len(d.classes) for d in data.values())


@pytest.mark.parametrize(
    "pair", ["A\u0391", "A\u0410", "o\u043e", "o\u03bf", "sS", "X\u0425", "u\u057d"]
)
def test_look_alikes_are_found(pair):
    assert _glyph_rendering.remove_lookalikes(map(ord, pair)) == [ord(pair[0])]


def test_items_use_the_faces_of_a_character_in_turn(data):
    covered = _glyph_rendering.find_coverage()
    for d in data.values():
        for members in d.members[::17]:
            code = int(d.metadata["codepoint"][members[0]])
            turns = np.bincount(d.metadata["face"][members], minlength=12)
            assert len(covered[code]) >= 8
            assert set(np.flatnonzero(turns)) == set(covered[code])
            assert turns.max() <= 3


def test_images_are_bright_on_black_and_not_cropped(data):
    for d in data.values():
        x = d.gather(torch.arange(len(d)))
        border = torch.cat([x[..., 0, :], x[..., -1, :], x[..., 0], x[..., -1]], -1)
        assert border.mean() < 0.06
        assert x.amax((1, 2, 3)).min() > 0.5
        assert (x > 0.4).float().mean((1, 2, 3)).min() > 0.02


def test_an_item_depends_on_seed_character_and_number_alone(data):
    d = data["test"]
    item = 20 * 7 + 3
    rng = np.random.default_rng([0, int(d.metadata["codepoint"][item]), 3])
    face = _glyph_rendering.load_face(_glyph_rendering.FACES[int(d.metadata["face"][item])])
    drawn = _glyph_rendering.render_character(
        face, chr(int(d.metadata["codepoint"][item])), 28, rng
    )
    assert np.array_equal(drawn, d.x[item, 0].numpy())


def test_rendering_is_reproducible_and_depends_on_the_seed(data, tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path))
    assert torch.equal(glyphs("test", progress=False).x, data["test"].x)
    other = glyphs("test", seed=1, progress=False)
    assert other.classes == data["test"].classes
    assert (other.x != data["test"].x).flatten(1).any(1).all()
    assert len(os.listdir(tmp_path)) == 2


def test_tasks_are_neither_trivial_nor_impossible_for_nearest_pixels(data):
    tasks = Tasks(data["test"], way=5, shot=1, query=5, seed=1)
    correct = []
    for i in range(100):
        episode, target = tasks[i]
        x = episode.x.flatten(1)
        nearest = torch.cdist(x[episode.query], x[episode.labeled]).argmin(1)
        correct.append((episode.y[episode.labeled][nearest] == target).float().mean())
    assert 0.5 < torch.stack(correct).mean() < 0.8


def test_unknown_arguments_are_rejected():
    with pytest.raises(ValueError, match="glyphs has no split 'dev'; known: train, val, test"):
        glyphs("dev")
    with pytest.raises(ValueError, match="size is 4"):
        glyphs("test", size=4)
    with pytest.raises(ValueError, match="seed -1"):
        glyphs("test", seed=-1)
