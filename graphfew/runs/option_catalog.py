"""The options of a training run as a whole: their list, and options of run folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphfew.runs.config import RECORDS, TrainConfig
from graphfew.runs.options import Option, declared_options

# Options about where a run takes place, not about its results: they may change on resuming.
LOCATION_OPTIONS = ("root", "device")
# Earlier names of options, for run folders written before they were renamed.
RENAMED_OPTIONS = {"unlabelled": "unlabeled", "labelled_ratio": "labeled_ratio"}
RENAMED_METHODS = {"nearest_neighbour": "nearest_neighbor"}


def training_options() -> dict[str, Option]:
    """List the options of a training run.

    Returns:
        The declarations by name: those of `TrainConfig`, then those of its records.

    Example:
        >>> from graphfew.runs import training_options
        >>> training_options()["batch"].default
        32
    """
    options = declared_options(TrainConfig)
    for record in RECORDS.values():
        options.update(declared_options(record))
    return options


def read_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of a run folder, and give renamed ones their present name.

    Args:
        options: values by name, as saved in `config.json`.

    Returns:
        The options for `TrainConfig.from_options`.

    Raises:
        ConfigurationError: if a value has the wrong type.
    """
    known = training_options()
    renamed = {}
    for name, value in options.items():
        name = RENAMED_OPTIONS.get(name, name)
        if name == "method" and isinstance(value, str):
            value = RENAMED_METHODS.get(value, value)
        # Earlier versions wrote `colour:0.4`.
        if name == "augment" and isinstance(value, str):
            value = value.replace("colour", "color")
        # Unknown names pass here; `from_options` rejects them with the list of known ones.
        if name in known:
            known[name].check(value)
        renamed[name] = value
    return renamed


def contradictions(config: TrainConfig, options: Mapping[str, Any]) -> list[str]:
    """Describe the options that differ from a configuration, with both values.

    Args:
        config: the configuration of a run.
        options: options by name; those of `LOCATION_OPTIONS` may differ.
    """
    current = config.to_options()
    differences = []
    for name, value in options.items():
        if name not in LOCATION_OPTIONS and current[name] != value:
            differences.append(f"{name} is {current[name]!r} there and {value!r} here")
    return differences
