"""Checkpoints that come with the library: by name, each with its card, and a file of one's own comes first."""

import pytest
import torch

import graphfew as gf


def model(seed):
    return gf.create("prototypical", encoder=gf.backbones.conv4(width=4, seed=seed))


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A library with one checkpoint."""
    folder = tmp_path / "shipped"
    gf.save(model(1), folder / "some-model")
    (folder / "some-model.md").write_text("# some-model", encoding="utf-8")
    monkeypatch.setattr(gf.pretrained, "files", lambda package: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_a_checkpoint_is_loaded_by_its_name_and_has_a_card(known):
    assert gf.pretrained.names() == ("some-model",)
    assert same(gf.load("some-model"), model(1))
    assert gf.pretrained.model_card("some-model") == "# some-model"


def test_a_file_of_that_name_comes_first(known):
    gf.save(model(2), "some-model")
    assert same(gf.load("some-model"), model(2))
    assert not same(gf.load(known / "some-model"), model(2))


def test_a_name_that_is_not_there_lists_those_that_are(known):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint other-model.*\(some-model\)"):
        gf.load("other-model")
    for ask in (gf.pretrained.path, gf.pretrained.model_card):
        with pytest.raises(
            ValueError, match="'other-model' comes with the library; known: some-model"
        ):
            ask("other-model")
