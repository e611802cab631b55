import pytest

from graphfew.data import DATASETS, load


def test_load_passes_options_on():
    assert load("digits", size=16).x.shape == (1797, 1, 16, 16)


def test_load_lists_the_known_names():
    with pytest.raises(
        ValueError, match="unknown data set 'mnist'; known: omniglot, glyphs, digits, fewrel"
    ):
        load("mnist")
    assert list(DATASETS) == [
        "omniglot",
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
