"""Downloads that happen once, with a progress bar."""

from __future__ import annotations

from pathlib import Path

from graphfew.data.io import cache


def fetch(url: str, checksum: str, progress: bool) -> Path:
    """The file in the cache, downloaded where it is not there yet; `checksum` is `md5:...` or `sha256:...`.

    Raises:
        OSError: the download failed.
        ValueError: the file has another checksum.
    """
    import pooch

    name = url.rsplit("/", 1)[-1]
    try:
        return Path(
            pooch.retrieve(
                url,
                known_hash=checksum,
                fname=name,
                path=cache.folder(),
                downloader=pooch.HTTPDownloader(progressbar=Bar(name, progress)),
            )
        )
    except OSError as error:
        raise OSError(
            f"could not download {url} ({error}); download it by hand and pass its folder as root"
        ) from error


class Bar:
    """The progress bar that pooch's downloaders ask for, drawn by rich on standard error."""

    def __init__(self, label: str, show: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TransferSpeedColumn,
        )

        self.total: int = 0
        self._progress = Progress(
            TextColumn(label),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not show,
        )
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
