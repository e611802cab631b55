"""Downloads into the cache, once, with a progress bar."""

from __future__ import annotations

from pathlib import Path

from graphfew.data.io.cache import cache_folder
from graphfew.errors import DownloadError


def download(url: str, checksum: str, progress: bool) -> Path:
    """Return a file of the cache, downloaded if it is not there.

    Args:
        url: address of the file.
        checksum: `md5:...` or `sha256:...`.
        progress: show a bar.

    Raises:
        DownloadError: the download failed.
        ValueError: the file has another checksum.
    """
    import pooch

    name = url.rsplit("/", 1)[-1]
    # pooch accepts any object with `total`, `update`, `reset` and `close` as a progress bar.
    downloader = pooch.HTTPDownloader(progressbar=DownloadBar(name, progress))
    try:
        # Compares the checksum of a file in the cache, too, and downloads it again if it differs.
        path = pooch.retrieve(
            url, known_hash=checksum, fname=name, path=cache_folder(), downloader=downloader
        )
    except OSError as error:
        raise DownloadError(
            f"could not download {url} ({error}); download it yourself and pass its folder as root"
        ) from error
    return Path(path)


class DownloadBar:
    """A progress bar with the interface of pooch's downloaders, drawn by rich on standard error."""

    def __init__(self, label: str, show: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TransferSpeedColumn,
        )

        self.total: int = 0  # set by pooch
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn(label),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
            transient=True,
            # In a log, a bar would leave nothing but an empty line.
            disable=not (show and console.is_terminal),
        )
        self._task = self._progress.add_task(label, total=None)

    def update(self, amount: int) -> None:
        """Advance by a number of bytes."""
        # Started by the first bytes, so that a file in the cache shows no bar.
        self._progress.start()
        self._progress.update(self._task, total=self.total or None, advance=amount)

    def reset(self) -> None:
        """Go back to zero: pooch completes the bar with a last update afterwards."""
        self._progress.reset(self._task)

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()
