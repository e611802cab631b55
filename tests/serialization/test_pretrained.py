"""Pretrained checkpoints: names, model cards, and precedence of files."""

import pytest
import torch

import graphfew as gf


def model(seed):
    return gf.create("prototypical", encoder=gf.backbones.conv4(width=4, seed=seed))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with one pretrained checkpoint."""
    folder = tmp_path / "pretrained"
    gf.save(model(1), folder / "some-model")
    (folder / "some-model.md").write_text("# some-model", encoding="utf-8")
    monkeypatch.setattr(gf.pretrained, "files", lambda name: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_checkpoints_are_loaded_by_name(package):
    assert gf.pretrained.names() == ("some-model",)
    assert same(gf.load("some-model"), model(1))
    assert gf.pretrained.model_card("some-model") == "# some-model"


def test_files_take_precedence(package):
    gf.save(model(2), "some-model")
    assert same(gf.load("some-model"), model(2))
    assert not same(gf.load(package / "some-model"), model(2))


def test_unknown_names_list_the_known_ones(package):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint other-model.*\(some-model\)"):
        gf.load("other-model")
    for function in (gf.pretrained.path, gf.pretrained.model_card):
        with pytest.raises(ValueError, match="'other-model'; expected one of: some-model"):
            function("other-model")
