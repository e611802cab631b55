"""What a logger receives, and what it has to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from graphfew._utils.model_spec import JSON

# Takes numbers by name and the number of completed steps.
LogFunction = Callable[[Mapping[str, float], int], None]


@dataclasses.dataclass(frozen=True)
class RunRequest:
    """The run that a logger opens.

    Attributes:
        folder: folder of the run; its name is the name of the run.
        config: configuration of the run, recorded once.
        run_id: identifier of the run to continue; None for a new run.
        start: number of completed steps; later numbers of a continued run are replaced.

    Example:
        >>> from graphfew.loggers import RunRequest
        >>> RunRequest(Path("runs/egnn")).name
        'egnn'
    """

    folder: Path
    config: Mapping[str, JSON] = dataclasses.field(default_factory=dict)
    run_id: str | None = None
    start: int = 0

    @property
    def name(self) -> str:
        """Name of the run."""
        # Resolved, because the name of Path(".") is empty.
        return self.folder.resolve().name


@runtime_checkable
class RunLogger(Protocol):
    """Records the numbers of one run.

    Example:
        >>> from graphfew.loggers import RunLogger
        >>> isinstance(print, RunLogger)
        False
    """

    @property
    def run_id(self) -> str:
        """Identifier of the run, by which it is continued."""
        ...

    def log(self, values: Mapping[str, float], step: int, /) -> None:
        """Record numbers by name, after a number of completed steps."""
        ...

    def close(self, *, succeeded: bool) -> None:
        """End the session, and record whether it ended without an error."""
        ...
