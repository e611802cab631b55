"""Splits with common classes, by the names that data sets give them."""

import pytest

import graphfew as gf
from graphfew.data.class_overlap import share_classes
from graphfew.data.datasets.cifar import load_class_lists


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("omniglot/train", "omniglot/test", False),
        ("omniglot/train", "omniglot/train-mirrored", True),
        ("omniglot/trainval", "omniglot/val", True),
        ("omniglot/background", "omniglot/evaluation", False),
        ("omniglot/train", "omniglot/evaluation", True),
        ("omniglot/test", "omniglot/all", True),
        ("glyphs/test", "omniglot/test", False),
        ("glyphs/train", "glyphs/test", False),
        ("glyphs/train", "glyphs/train", True),
        ("digits/all", "digits/all", True),
        ("clinc150-minilm/train", "clinc150-minilm/test", True),
        ("fewrel-val_wiki/train", "fewrel-val_wiki/val", True),
        ("fewrel-val_wiki/train", "fewrel-val_wiki/test", False),
        ("fewrel-val_wiki/train", "fewrel-train_wiki/train", False),
        ("cifar-fs/train", "cifar-fs/test", False),
        ("cifar-fs/test", "cifar-fs-features/test", True),
        ("cifar-fs/train", "fc100/test", True),
        ("mini-imagenet/train", "tiered-imagenet/test", True),
        ("mini-imagenet/train", "mini-imagenet/test", False),
        ("my_images/all", "my_images/holdout", True),
    ],
)
def test_common_classes(first, second, expected):
    assert share_classes(first, second) is expected
    assert share_classes(second, first) is expected


def test_splits_of_cifar_100_are_compared_by_class():
    lists = load_class_lists()
    for split in ("train", "val", "test"):
        for other in ("train", "val", "test"):
            common = set(lists["cifar_fs"][split]) & set(lists["fc100"][other])
            assert share_classes(f"cifar-fs/{split}", f"fc100/{other}") == bool(common)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_names_are_those_of_the_data_sets(split):
    data = gf.data.glyphs(split)
    assert share_classes(f"{data.name}/{data.split}", f"glyphs/{split}")
