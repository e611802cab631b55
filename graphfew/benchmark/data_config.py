"""`Source`: the data of a spec, and how its splits are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from graphfew.benchmark.toml import Table
from graphfew.data import DATASETS, Dataset
from graphfew.data.catalog import loader_arguments
from graphfew.runs import load_split

Roots = Mapping[str, str]


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """The `[data]` of a spec.

    Shapes:
        name: of the catalog.
        train, validate, test: splits; the first two are what trainings take by default.
        arguments: of the loader, where they are not its defaults.
        test_name, test_arguments: the data tested on, the same unless the spec says otherwise.
        table: where the spec says so.
    """

    name: str
    train: str
    validate: str
    test: str
    arguments: Mapping[str, Any]
    test_name: str
    test_arguments: Mapping[str, Any]
    table: Table

    def load_test(self, roots: Roots) -> Dataset:
        """The test split. Raises ValueError, with file and line, where it cannot be read."""
        key = "test_name" if "test_name" in self.table.content else "name"
        return load(self.test_name, self.test, self.test_arguments, roots, self.table, key)


def load(
    name: str, split: str, arguments: Mapping[str, Any], roots: Roots, table: Table, key: str
) -> Dataset:
    """A split; a fault says at which key of which table the spec asks for it.

    Raises:
        ValueError: an unknown split, data that is not there, or a loader that refuses it.
    """
    try:
        return load_split(name, split, roots.get(name), **arguments)
    except (ValueError, TypeError, OSError) as error:
        raise table.fault(
            f"{name}/{split} cannot be read: {' '.join(str(error).split())}", key
        ) from error


def read_source(table: Table) -> Source:
    """The `[data]` of a spec. Raises ValueError for what is none."""
    table.allow(("name", "train", "validate", "test", "arguments", "test_name", "test_arguments"))
    name = table.choice("name", tuple(DATASETS))
    tested = table.choice("test_name", tuple(DATASETS), name)
    arguments = _arguments(table, "arguments", name)
    other = _arguments(table, "test_arguments", tested)
    own = other if "test_arguments" in table.content or tested != name else arguments
    return Source(
        name,
        table.text("train", "train"),
        table.text("validate", "val"),
        table.text("test", "test"),
        arguments,
        tested,
        own,
        table,
    )


def _arguments(table: Table, key: str, name: str) -> dict[str, Any]:
    given = table.plain(key)
    known = loader_arguments(name)
    stray = sorted(set(given) - set(known))
    if stray:
        raise table.fault(
            f"{name} has no argument {stray[0]!r}; it takes: {', '.join(known) or 'none'}", key
        )
    return {name: value for name, value in given.items() if value != known[name]}
