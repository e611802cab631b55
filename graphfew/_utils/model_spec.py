"""`ModelSpec`: what a checkpoint needs to build a model again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

# Not recursive, because the runtime type checker of the tests cannot resolve a recursive alias.
JSON: TypeAlias = bool | int | float | str | Sequence[Any] | Mapping[str, Any] | None


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """The name of a factory and the arguments it was called with.

    Attributes:
        name: name of the factory in its registry.
        arguments: keyword arguments of the factory; JSON values only, so that a checkpoint can
            store them.
    """

    name: str
    arguments: Mapping[str, JSON]
