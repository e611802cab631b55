"""`Recipe`: what a checkpoint needs in order to build an object again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

# Not recursive: run-time type checkers cannot follow an alias into itself.
JSON: TypeAlias = bool | int | float | str | Sequence[Any] | Mapping[str, Any] | None


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """The name of a factory and the arguments that it was called with.

    Shapes:
        name: the factory's name in its catalog.
        arguments: its keyword arguments; JSON values only, so that a checkpoint can store them.
    """

    name: str
    arguments: Mapping[str, JSON]
