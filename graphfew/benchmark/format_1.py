"""Names in records of format 1 and in the keys of experiments.

A record is matched to its experiment by a hash that covers these names. They stay as they were in
format 1, so that results remain valid when an option is renamed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Options, task settings and factories: current name, name in format 1.
NAMES = {
    "unlabeled": "unlabelled",
    "labeled_ratio": "labelled_ratio",
    "unlabeled_classes": "pile_classes",
    "drop_unlabeled": "drop_unlabelled",
    "nearest_neighbor": "nearest_neighbour",
    "affine_tta": "jittered",
    "flip_tta": "mirrored",
    "pca": "principal",
    "concat": "together",
}
# Arguments of methods; an old name may have several new ones.
# Only the hash needs these names: the mapping cannot be inverted, because several arguments
# had one name. Records therefore keep the names of arguments under which they were measured.
ARGUMENTS = {
    "conditional_weight": "conditional",
    "feature_attention": "feature",
    "instance_attention": "instance",
    "inv_regularization": "strength",
    "inv_temperature": "sharpness",
    "marginal_weight": "marginal",
    "n_components": "components",
    "num_base_classes": "base",
    "num_iterations": "rounds",
    "num_metrics": "metrics",
    "num_slices": "slices",
    "outlier_threshold": "limit",
    "prior_strength": "strength",
    "prior_weight": "balance",
    "support_weight": "support",
}
# Phrases in the names of rows, and names of benchmarks.
ROW_PHRASES = ((", balanced prior", ", told the pile is even"), (", balanced", ", even"))
BENCHMARKS = {"clinc150-semi-supervised": "clinc150-pile"}
# Parts of values, such as the augmentation "crop+color:0.2".
SPELLINGS = (
    ("unlabeled", "unlabelled"),
    ("neighbor", "neighbour"),
    ("color", "colour"),
    ("center", "centre"),
)


def to_format_1(value: Any) -> Any:
    """Return JSON values with the names and spellings of format 1."""
    return _rename(value, {**NAMES, **ARGUMENTS}, SPELLINGS)


def row_to_format_1(name: str) -> str:
    """Return the name of a row in format 1."""
    for new, old in ROW_PHRASES:
        name = name.replace(new, old)
    return str(to_format_1(name))


def row_from_format_1(name: str) -> str:
    """Return the current name of a row of format 1."""
    for new, old in ROW_PHRASES:
        name = name.replace(old, new)
    return str(from_format_1(name))


def from_format_1(value: Any) -> Any:
    """Return JSON values of format 1 with the current names and spellings."""
    names = {old: new for new, old in (*NAMES.items(), *BENCHMARKS.items())}
    return _rename(value, names, tuple((old, new) for new, old in SPELLINGS))


def _rename(value: Any, names: Mapping[str, str], spellings: Any) -> Any:
    if isinstance(value, str):
        if value in names:
            return names[value]
        for before, after in spellings:
            # Only the start is a word boundary, so that compounds such as "neighbors" are covered.
            value = re.sub(rf"\b{before}", after, value)
        return value
    if isinstance(value, Mapping):
        return {
            # Keys are identifiers and are renamed as a whole; spellings are for text.
            _rename(str(key), names, ()): _rename(part, names, spellings)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        # Lists of thousands of accuracies are most of a record.
        if set(map(type, value)) <= {float, int}:
            return list(value)
        return [_rename(part, names, spellings) for part in value]
    return value
