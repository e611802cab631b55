import inspect

import pytest

from graphfew.data import DATASETS, SPLITS, Splits, load
from graphfew.data.catalog import TEST_SPLITS
from graphfew.errors import DatasetNotFoundError, InvalidInputError

WITH_FILES = [name for name in DATASETS if "root" in inspect.signature(DATASETS[name]).parameters]
DOWNLOADED = ("omniglot", "omniglot_runs", "cifar_fs", "fc100")


def test_load_passes_options_on():
    assert load("digits", size=16).x.shape == (1797, 1, 16, 16)


def test_load_lists_the_known_names():
    with pytest.raises(
        ValueError,
        match="unknown data set 'mnist'; known: omniglot, omniglot_runs, glyphs, digits, fewrel",
    ):
        load("mnist")
    assert list(DATASETS) == [
        "omniglot",
        "omniglot_runs",
        "glyphs",
        "digits",
        "fewrel",
        "cifar_fs",
        "fc100",
        "cifar_fs_features",
        "clinc150",
        "mini_imagenet",
        "tiered_imagenet",
        "cub",
        "class_folders",
    ]


@pytest.mark.parametrize("name", WITH_FILES)
def test_a_missing_folder_is_a_missing_data_set(name, tmp_path, monkeypatch):
    with pytest.raises(DatasetNotFoundError):
        load(name, root=tmp_path / "missing")
    if name in DOWNLOADED:
        return
    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    with pytest.raises(DatasetNotFoundError, match="no root was given; pass"):
        load(name)
    monkeypatch.setenv("GRAPHFEW_DATA", str(tmp_path))
    with pytest.raises(DatasetNotFoundError, match=f"there is no {tmp_path}.* no root was given"):
        load(name)


@pytest.mark.parametrize("name", [name for name in WITH_FILES if name != "class_folders"])
def test_an_unknown_split_is_rejected_with_the_known_ones(name, tmp_path):
    with pytest.raises(
        InvalidInputError, match=f"{name} has no split 'dev'; known: {SPLITS[name]}"
    ):
        load(name, root=tmp_path, split="dev")


def test_every_data_set_declares_its_splits():
    assert list(SPLITS) == list(DATASETS)
    for name, splits in SPLITS.items():
        parameter = inspect.signature(DATASETS[name]).parameters.get("split")
        assert splits.names == ("all",) if parameter is None else parameter.default in splits
    assert set(TEST_SPLITS) == {"test", "evaluation"}


def test_splits():
    splits = Splits(("all",), subfolders=True)
    assert (str(splits), list(splits), "anything" in splits) == (
        "all, and its folders",
        ["all"],
        True,
    )
