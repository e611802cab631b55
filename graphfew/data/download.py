"""A progress bar for downloads."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn


class Bar:
    """The progress bar that pooch's downloaders ask for, drawn by rich on standard error."""

    def __init__(self, label: str, show: bool) -> None:
        self.total: int = 0
        self._progress = Progress(TextColumn(label), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                                  console=Console(stderr=True), transient=True, disable=not show)
        self._task = self._progress.add_task(label, total=None)

    def update(self, amount: int) -> None:
        """`amount` more bytes have come."""
        self._progress.start()
        self._progress.update(self._task, total=self.total or None, advance=amount)

    def reset(self) -> None:
        """Back to nothing: pooch sets the bar to its end with a last update."""
        self._progress.reset(self._task)

    def close(self) -> None:
        """The download is over."""
        self._progress.stop()
