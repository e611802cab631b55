"""Features on disk, by the content of the item and the encoder: bounded, and safe for several processes.

An encoder has a folder of files, each with the features that were computed at a time. Files are
written atomically and never changed, so that readers need no locks; a file that another process
removes in the meantime is computed again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphfew.data.io import cache
from graphfew.data.io.npz import read_arrays
from graphfew.encoders.digests import DIGEST_BYTES
from graphfew.errors import ConfigurationError

Features = NDArray[np.float32]
FOLDER = "embeddings"
LIMIT_VARIABLE = "GRAPHFEW_EMBEDDINGS_MB"
DEFAULT_LIMIT_MB = 2000
# More files than that are merged into one, because each has to be opened to search it.
_MAX_FILES = 50
_SMALL_BYTES = 4_000_000
_DIGESTS, _FEATURES = "digests", "features"


@dataclasses.dataclass(frozen=True)
class CachedEncoder:
    """The features of one encoder in the cache.

    Attributes:
        key: of the encoder: its name and a digest of its weights.
        n_bytes: size on disk.
        last_used: time in seconds since the epoch.

    Example:
        >>> CachedEncoder("hog-0123456789abcdef", 4096, 0.0).n_bytes
        4096
    """

    key: str
    n_bytes: int
    last_used: float


def cache_key(name: str, *facts: object) -> str:
    """Return the key of an encoder: a file name that shows its name, and a digest of all facts."""
    digest = hashlib.sha256("\0".join(map(str, (name, *facts))).encode()).hexdigest()[:16]
    readable = re.sub(r"[^\w.-]+", "-", name).strip("-.")[-60:]
    return f"{readable}-{digest}"


def lookup(key: str, digests: Iterable[bytes]) -> dict[bytes, Features]:
    """Find the features of items.

    Args:
        key: of the encoder.
        digests: of the items.

    Returns:
        Features `[F]` by digest, of the items that are in the cache.
    """
    found: dict[bytes, Features] = {}
    wanted = set(digests)
    if not limit_bytes():
        return found
    for path in _files(_folder() / key):
        if not wanted:
            break
        content = _read(path, wanted)
        if content:
            # The time of modification is that of the last use: the oldest files go first.
            with suppress(OSError):
                os.utime(path)
        found.update(content)
        wanted.difference_update(content)
    return found


def store(key: str, digests: Sequence[bytes], features: Features) -> None:
    """Add features, and remove the least recently used ones if the cache exceeds its limit.

    Args:
        key: of the encoder.
        digests: of the items.
        features: `[n, F]`.
    """
    limit = limit_bytes()
    if not limit:
        return
    folder = _folder() / key
    _write(folder, list(digests), features)
    files = list(_files(folder))
    if len(files) > _MAX_FILES:
        _merge(folder, [path for path in files if _size(path) < _SMALL_BYTES])
    _prune(limit)


def list_cached() -> list[CachedEncoder]:
    """List the encoders whose features are in the cache, the last used one first.

    Returns:
        One record for each encoder.

    Example:
        >>> isinstance(list_cached(), list)
        True
    """
    folder = _folder()
    encoders = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        files = list(_files(path))
        if files:
            last_used = max(map(_time, files))
            encoders.append(CachedEncoder(path.name, sum(map(_size, files)), last_used))
    return sorted(encoders, key=lambda encoder: -encoder.last_used)


def clear_cache() -> int:
    """Remove all features from the cache.

    Returns:
        The number of bytes that were freed.

    Example:
        >>> clear_cache() >= 0
        True
    """
    freed = 0
    for path in _all_files():
        freed += _remove(path)
    return freed


def limit_bytes() -> int:
    """Return the limit of the cache: `$GRAPHFEW_EMBEDDINGS_MB` if set, in bytes; 0 for no cache.

    Raises:
        ConfigurationError: it is not a number, or negative.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip() or str(DEFAULT_LIMIT_MB)
    try:
        megabytes = float(text)
    except ValueError:
        megabytes = -1.0
    if not 0 <= megabytes < float("inf"):
        raise ConfigurationError(
            f"{LIMIT_VARIABLE} is {text!r}; it must be the size of the cache in megabytes, such as "
            f"{DEFAULT_LIMIT_MB}, or 0 for no cache"
        )
    return int(megabytes * 1e6)


def _folder() -> Path:
    return cache.cache_folder() / FOLDER


def _write(folder: Path, digests: Sequence[bytes], features: Features) -> None:
    rows = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
    # Named by its items: two processes that compute the same items write the same file.
    name = hashlib.sha256(rows.tobytes()).hexdigest()[:16]
    arrays: dict[str, NDArray[Any]] = {_DIGESTS: rows, _FEATURES: features}
    path = folder / f"{name}-v{cache.FORMAT_VERSION}.npz"
    # Features are noise to a compressor.
    cache.write_arrays(path, arrays, compressed=False)


def _read(path: Path, wanted: set[bytes]) -> dict[bytes, Features]:
    """Features of the wanted digests in a file; none if it is damaged or gone."""
    try:
        digests = read_arrays(path, [_DIGESTS])[_DIGESTS]
        keys = [row.tobytes() for row in digests]
        rows = {key: row for row, key in enumerate(keys) if key in wanted}
        if not rows:
            return {}
        features = read_arrays(path, [_FEATURES])[_FEATURES]
        if features.ndim != 2 or len(features) != len(keys) or features.dtype != np.float32:
            return {}
        # Copies: a view would keep the features of the whole file in memory.
        return {key: features[row].copy() for key, row in rows.items()}
    except (OSError, ValueError):
        return {}


def _merge(folder: Path, paths: Sequence[Path]) -> None:
    """Replace small files by one."""
    content: dict[bytes, Features] = {}
    for path in paths:
        with suppress(OSError, ValueError):
            arrays = read_arrays(path, [_DIGESTS, _FEATURES])
            keys = [row.tobytes() for row in arrays[_DIGESTS]]
            content.update(zip(keys, arrays[_FEATURES], strict=True))
    if content:
        _write(folder, list(content), np.stack(list(content.values())))
    for path in paths:
        _remove(path)


def _prune(limit: int) -> None:
    """Remove the least recently used files until the rest is below the limit."""
    files = sorted(_all_files(), key=_time)
    total = sum(map(_size, files))
    for path in files:
        if total <= limit:
            return
        total -= _remove(path)


def _files(folder: Path) -> Iterator[Path]:
    # Another format version, and partial files of other processes, which start with a dot.
    pattern = f"[!.]*-v{cache.FORMAT_VERSION}.npz"
    yield from sorted(folder.glob(pattern), key=_time, reverse=True)


def _all_files() -> Iterator[Path]:
    yield from _folder().glob("*/[!.]*.npz")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # removed by another process


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _remove(path: Path) -> int:
    n_bytes = _size(path)
    try:
        path.unlink()
    except OSError:
        return 0
    with suppress(OSError):
        path.parent.rmdir()  # if it was the last file
    return n_bytes
