"""CLINC150 and CIFAR-FS as features: made files, refusals, and the real ones where they are."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from graphfew.data import cifar_fs_features, clinc150, clinc150_out_of_scope

HERE = Path(os.environ.get("GRAPHFEW_DATA", ""))
FILES = [HERE / "clinc150" / "minilm_embeddings.npz", HERE / "cifar100" / "cifarfs_features.npz"]
real = pytest.mark.skipif(
    not all(file.is_file() for file in FILES),
    reason="the features are not here: set GRAPHFEW_DATA to a folder with clinc150 and cifar100",
)
X = np.arange(12, dtype=np.float16).reshape(6, 2)


def write_clinc(folder, **changes):
    content = {
        "x": X,
        "y": np.array(["b", "a", "b", "c", "a", "c"]),
        "domain": np.array(list("pqprqr")),
        "split": np.array(["train"] * 4 + ["val", "test"]),
        "oos": X[:3] + 100,
        **changes,
    }
    np.savez(
        folder / "minilm_embeddings.npz", **{k: v for k, v in content.items() if v is not None}
    )


def write_images(folder, label_name=("otter", "fox", "bed")):
    np.savez(
        folder / "cifarfs_features.npz",
        features=X,
        label=np.array([0, 2, 1, 0, 2, 2], np.int16),
        label_name=np.array(label_name),
        split=np.array([0, 1, 1, 0, 1, 1], np.uint8),
        split_name=np.array(["val", "test"]),
    )


def test_intents_have_names_domains_and_splits(tmp_path):
    write_clinc(tmp_path)
    data = clinc150(tmp_path)
    assert (data.name, data.classes, data.groups) == (
        "clinc150-minilm",
        ("a", "b", "c"),
        ("q", "p", "r"),
    )
    assert torch.equal(data.x, torch.from_numpy(X).float())
    assert data.y.tolist() == [1, 0, 1, 2, 0, 2]
    train, test = clinc150(tmp_path, "train"), clinc150(tmp_path, "test")
    assert (train.x[:, 0].tolist(), train.y.tolist(), train.groups) == (
        [0, 2, 4, 6],
        [1, 0, 1, 2],
        ("q", "p", "r"),
    )
    assert (test.x.tolist(), test.classes, test.groups) == ([[10, 11]], ("c",), ("r",))
    assert torch.equal(clinc150_out_of_scope(tmp_path), torch.from_numpy(X[:3]).float() + 100)


def test_features_of_images_are_square_roots_of_one_split(tmp_path):
    write_images(tmp_path)
    test = cifar_fs_features(tmp_path, "test")
    assert (test.name, test.classes, test.y.tolist()) == (
        "cifar-fs-features",
        ("fox", "bed"),
        [1, 0, 1, 1],
    )
    assert torch.allclose(test.x**2, torch.from_numpy(X[[1, 2, 4, 5]]).float())
    assert cifar_fs_features(tmp_path, "val").classes == ("otter",)


@pytest.mark.parametrize(
    ("loader", "file"),
    [
        (clinc150, "minilm_embeddings"),
        (clinc150_out_of_scope, "minilm_embeddings"),
        (cifar_fs_features, "cifarfs_features"),
    ],
)
def test_missing_and_damaged_files_are_reported(loader, file, tmp_path, monkeypatch):
    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    with pytest.raises(
        FileNotFoundError,
        match=rf"GRAPHFEW_DATA is not set and no root.* pass the folder of {file}",
    ):
        loader()
    with pytest.raises(FileNotFoundError, match=rf"has no {file}.npz; pass the folder"):
        loader(tmp_path)
    for content in (b"", b"PK", b"text"):
        (tmp_path / f"{file}.npz").write_bytes(content)
        with pytest.raises(ValueError, match=rf"{file}.npz cannot be read .*pass the folder"):
            loader(tmp_path)
    np.savez(tmp_path / f"{file}.npz", other=X)
    with pytest.raises(ValueError, match="cannot be read"):
        loader(tmp_path)


def test_labels_without_a_name_are_rejected(tmp_path):
    write_images(tmp_path, label_name=("otter", "fox"))
    with pytest.raises(
        ValueError, match=r"there are 2 names of a label and numbers up to 2\); pass the folder"
    ):
        cifar_fs_features(tmp_path)


def test_objects_are_not_unpickled(tmp_path):
    write_clinc(tmp_path, x=np.array([print] * 6, dtype=object))
    with pytest.raises(ValueError, match=r"cannot be read .*allow_pickle"):
        clinc150(tmp_path)


def test_unknown_splits(tmp_path):
    with pytest.raises(
        ValueError, match="clinc150 has no split 'dev'; known: all, train, val, test"
    ):
        clinc150(tmp_path, "dev")
    with pytest.raises(
        ValueError, match="cifar_fs_features has no split 'train'; known: val, test"
    ):
        cifar_fs_features(tmp_path, "train")


@real
def test_the_real_intents():
    data = clinc150()
    domains = json.loads((HERE / "clinc150" / "domains.json").read_text())
    of = {intent: name for name, intents in domains.items() for intent in intents}
    assert dict(zip(data.classes, data.groups, strict=True)) == of
    assert data.x.shape == (22500, 384)
    assert {len(members) for members in data.members} == {150}
    assert torch.allclose(data.x.norm(dim=1), torch.ones(()), atol=2e-3)
    for split, each in (("train", 100), ("val", 20), ("test", 30)):
        part = clinc150(split=split)
        assert part.classes == data.classes
        assert {len(members) for members in part.members} == {each}
    assert clinc150_out_of_scope().shape == (1200, 384)


@real
def test_intents_match_the_published_texts():
    texts = json.loads((HERE / "clinc150" / "data_full.json").read_text())
    named = [intent for split in ("train", "val", "test") for _, intent in texts[split]]
    data = clinc150()
    assert [data.classes[c] for c in data.y.tolist()] == named


@real
def test_the_real_features_of_images():
    for split, classes in (("val", 16), ("test", 20)):
        data = cifar_fs_features(split=split)
        assert (len(data.classes), data.x.shape) == (classes, (600 * classes, 256))
        assert {len(members) for members in data.members} == {600}
        assert data.x.min() >= 0
