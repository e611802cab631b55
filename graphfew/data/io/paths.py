"""Folders of data sets: the one that the caller passes, else one in `$GRAPHFEW_DATA`."""

from __future__ import annotations

import os
from pathlib import Path

from graphfew.errors import DatasetNotFoundError, InvalidInputError

Root = str | os.PathLike[str] | None


def check_image_size(size: int) -> None:
    """Raise InvalidInputError if images would have no pixels."""
    if size < 1:
        raise InvalidInputError(f"size is {size}; it must be at least 1 pixel")


def find_folder(root: Root, name: str) -> Path | None:
    """Return the folder of a data set: `root`, else `$GRAPHFEW_DATA/name`, else None.

    Raises:
        DatasetNotFoundError: `root` is not a folder.
    """
    if root is not None:
        if not Path(root).is_dir():
            raise DatasetNotFoundError(
                f"there is no folder {Path(root)}; pass the folder of the data set"
            )
        return Path(root)
    data_folder = os.environ.get("GRAPHFEW_DATA")
    if not data_folder:
        return None
    folder = Path(data_folder) / name
    return folder if folder.is_dir() else None


def require_folder(root: Root, name: str, hint: str) -> Path:
    """Return the folder of a data set that is not downloaded.

    Args:
        root: the folder, or None.
        name: folder of the data set in `$GRAPHFEW_DATA`.
        hint: what to do if it is missing, the end of the error message.

    Raises:
        DatasetNotFoundError: neither folder exists.
    """
    folder = find_folder(root, name)
    if folder is not None:
        return folder
    data_folder = os.environ.get("GRAPHFEW_DATA")
    reason = "GRAPHFEW_DATA is not set"
    if data_folder:
        reason = f"there is no {Path(data_folder) / name}"
    raise DatasetNotFoundError(f"{reason} and no root was given; {hint}")
