"""TensorBoard, through torch's writer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, final

from graphfew.loggers.logger_protocol import RunRequest

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
# A process that is killed loses what was not written yet.
FLUSH_SECONDS = 10


@final
class _TensorBoardLogger:
    """A `RunLogger` that writes event files."""

    run_id = FOLDER

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def log(self, values: Mapping[str, float], step: int, /) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, *, succeeded: bool) -> None:
        del succeeded  # event files have no state of the run
        self._writer.close()


def open_tensorboard(request: RunRequest) -> _TensorBoardLogger:
    """Write event files to `tensorboard` in the run folder."""
    # Slow to import, and of an optional package.
    from torch.utils.tensorboard import SummaryWriter

    is_new = request.run_id is None
    writer = SummaryWriter(
        request.folder / FOLDER,
        # TensorBoard hides values from this step on that earlier event files have.
        purge_step=None if is_new else request.start + 1,
        flush_secs=FLUSH_SECONDS,
    )
    if is_new and request.config:
        # Shown as Markdown, in which an indented block is code.
        lines = json.dumps(request.config, indent=1, default=str).splitlines()
        text = "\n".join("    " + line for line in lines)
        writer.add_text("config", text, 0)
    return _TensorBoardLogger(writer)
