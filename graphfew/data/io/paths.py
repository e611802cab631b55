"""What every loader is asked: where its files lie (the folder given, else one in `$GRAPHFEW_DATA`), split and size."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

Root = str | os.PathLike[str] | None


def check_split(name: str, split: str, known: Iterable[str]) -> None:
    """Raises ValueError, which lists the known splits, for another one."""
    if split not in known:
        raise ValueError(f"{name} has no split {split!r}; known: {', '.join(known)}")


def check_size(size: int) -> None:
    """Raises ValueError where the side of an image would be no pixel long."""
    if size < 1:
        raise ValueError(f"size is {size}; it must be at least 1 pixel")


def folder_of(root: Root, name: str) -> Path | None:
    """`root`, else `$GRAPHFEW_DATA/name` where that is a folder, else None.

    Raises:
        FileNotFoundError: `root` is no folder.
    """
    if root is not None:
        if not Path(root).is_dir():
            raise FileNotFoundError(
                f"there is no folder {Path(root)}; give the one that the data set lies in"
            )
        return Path(root)
    shared = os.environ.get("GRAPHFEW_DATA")
    own = Path(shared) / name if shared else None
    return own if own is not None and own.is_dir() else None


def require_folder(root: Root, name: str, hint: str) -> Path:
    """As `folder_of`, where there must be one.

    Raises:
        FileNotFoundError: there is none; the message ends with the hint.
    """
    found = folder_of(root, name)
    if found is None:
        shared = os.environ.get("GRAPHFEW_DATA")
        looked = f"there is no {Path(shared) / name}" if shared else "GRAPHFEW_DATA is not set"
        raise FileNotFoundError(f"{looked} and no root was given; {hint}")
    return found
