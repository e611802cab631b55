"""Splits that have classes in common, within one data set and between data sets."""

from __future__ import annotations

from collections.abc import Mapping

from graphfew.data.datasets.cifar import load_class_lists

# Splits of Omniglot overlap: here each is a set of disjoint parts.
OMNIGLOT_PARTS: Mapping[str, frozenset[str]] = {
    "train": frozenset({"background train", "evaluation train"}),
    "train-mirrored": frozenset({"background train", "evaluation train"}),
    "train-doubled": frozenset({"background train", "evaluation train"}),
    "val": frozenset({"val"}),
    "trainval": frozenset({"background train", "evaluation train", "val"}),
    "test": frozenset({"test"}),
    "background": frozenset({"background train", "val"}),
    "small1": frozenset({"background train", "val"}),
    "small2": frozenset({"background train", "val"}),
    "evaluation": frozenset({"evaluation train", "test"}),
}
# Both select classes of ImageNet, each by its own rules, so any two splits may have some in common.
IMAGENET_SUBSETS = ("mini-imagenet", "tiered-imagenet")
# The class lists of data sets that are made from CIFAR-100.
CIFAR_LISTS = {"cifar-fs": "cifar_fs", "cifar-fs-features": "cifar_fs", "fc100": "fc100"}


def share_classes(first: str, second: str) -> bool:
    """Check whether two splits have, or may have, classes in common.

    Splits that are not known are assumed to have their own classes, except that the split `all`
    contains every other one.

    Args:
        first: `data/split`, as in the provenance of a checkpoint.
        second: likewise.

    Returns:
        Whether a model that was trained on one has seen classes of the other.

    Example:
        >>> share_classes("omniglot/train", "omniglot/test")
        False
        >>> share_classes("cifar-fs/train", "fc100/test")
        True
    """
    first_data, _, first_split = first.partition("/")
    second_data, _, second_split = second.partition("/")
    # The published runs consist of characters of the evaluation alphabets.
    if first_data == "omniglot-runs":
        first_data, first_split = "omniglot", "evaluation"
    if second_data == "omniglot-runs":
        second_data, second_split = "omniglot", "evaluation"
    if first_data in CIFAR_LISTS and second_data in CIFAR_LISTS:
        first_classes = _cifar_classes(first_data, first_split)
        return bool(first_classes & _cifar_classes(second_data, second_split))
    if first_data != second_data:
        return first_data in IMAGENET_SUBSETS and second_data in IMAGENET_SUBSETS
    # CLINC150 splits the utterances of each intent, so all of its splits have all classes.
    if first_split == second_split or first_data.startswith("clinc150"):
        return True
    if "all" in (first_split, second_split):
        return True
    if first_data == "omniglot":
        return bool(_omniglot_parts(first_split) & _omniglot_parts(second_split))
    if first_data.startswith("fewrel"):
        # Validation sentences are held out of the training relations.
        return "test" not in (first_split, second_split)
    return False


def _omniglot_parts(split: str) -> frozenset[str]:
    # A split that is not in the table consists of itself.
    return OMNIGLOT_PARTS.get(split, frozenset({split}))


def _cifar_classes(data: str, split: str) -> frozenset[str]:
    splits = load_class_lists()[CIFAR_LISTS[data]]
    return frozenset(splits.get(split, ()))
