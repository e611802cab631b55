"""CIFAR-100's images from the forms in which people have them: class folders, a zip of those, the binary archive."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graphfew.data.io import archives, cache
from graphfew.data.io.download import fetch
from graphfew.data.io.image_folder import BROKEN, SUFFIXES
from graphfew.data.io.paths import Root, folder_of

URL = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
CHECKSUM = "md5:03b5dce01913d631647c71ecec9e9cb8"
ZIP, BINARY = "cifar100.zip", "cifar-100-binary.tar.gz"
# images per class, and the binary archive's files in the order in which they are taken
EACH = 600
PARTS = ("train", "test")
SIDE = 32
# in a record of the binary files the superclass stands first, then the class
LABEL, PIXELS = 1, 2
# Bytes that no image of a zip, and not all of the binary archive, come near (3 kB and 185 MB)
MOST, UNPACKED = 100_000, 250_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
File = TypeVar("File", str, Path)
Images = NDArray[np.uint8]


class Bounded(io.RawIOBase):
    """A file that is read no further than to `most` bytes, whatever it claims to hold."""

    def __init__(self, file: gzip.GzipFile, most: int) -> None:
        self.file = file
        self.most = most

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes. Raises ValueError where that would be beyond the bound."""
        if size < 0 or self.file.tell() + size > self.most:
            raise ValueError(f"it unpacks to more than {self.most} bytes")
        return self.file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """To a place counted from the start. Raises ValueError beyond the bound."""
        if whence != io.SEEK_SET or not 0 <= offset <= self.most:
            raise ValueError(f"it unpacks to more than {self.most} bytes")
        return self.file.seek(offset)

    def tell(self) -> int:
        """The place in the file."""
        return self.file.tell()


def images(root: Root, every: Sequence[str], wanted: Sequence[str], progress: bool) -> Images:
    """`[len(wanted), EACH, 3, 32, 32]`: the images of the wanted ones of all classes, from the cache where it has them.

    Raises:
        ValueError: files that are damaged or incomplete.
        FileNotFoundError: `root` holds none of the formats.
        OSError: the download failed.
    """
    place = _source(root, every[0], progress)
    read = {BINARY: _binary, ZIP: _zip}.get(place.name, _folders)
    parts = cache.cached(
        f"cifar100-{_key(place, every)}",
        wanted,
        lambda: _whole(place, read(place, every, progress)),
    )
    return np.stack([parts[name] for name in wanted])


def _source(root: Root, first: str, progress: bool) -> Path:
    """The folder of class folders, the zip or the binary archive."""
    folder = folder_of(root, "cifar100")
    if folder is None:
        return fetch(URL, CHECKSUM, progress)
    for place in (folder, folder / "cifar100"):
        if (place / first).is_dir():
            return place
    for name in (ZIP, BINARY):
        if (folder / name).is_file():
            return folder / name
    if root is None:
        return fetch(URL, CHECKSUM, progress)
    raise FileNotFoundError(
        f"{folder} has neither class folders such as {first} (also looked for in cifar100) nor "
        f"{ZIP} nor {BINARY}; put the archive there ({URL}), or leave root out to download it"
    )


def _key(place: Path, every: Sequence[str]) -> str:
    """What tells one source from another: an archive's content, or names, sizes and times of files in folders."""
    if place.is_file():
        return cache.content_key(place)
    return cache.fingerprint(path for paths in _listed(place, every).values() for path in paths)


def _whole(place: Path, found: Mapping[str, Images]) -> Mapping[str, Images]:
    """Raises ValueError where a class has not as many images as were published."""
    for name, own in found.items():
        if len(own) != EACH:
            raise ValueError(
                f"{place} is incomplete: {len(own)} images of {name!r}, expected {EACH}; get CIFAR-100 "
                f"again: {URL}"
            )
    return found


def _listed(place: Path, every: Sequence[str]) -> dict[str, list[Path]]:
    return {
        name: sorted(
            path
            for path in (place / name).glob("*")
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
        for name in every
    }


def _folders(place: Path, every: Sequence[str], progress: bool) -> dict[str, Images]:
    return _decoded(place, _listed(place, every), Path.read_bytes, progress)


def _zip(place: Path, every: Sequence[str], progress: bool) -> dict[str, Images]:
    member = re.compile(
        rf"(?:.*/)?([^/]+)/[^/.][^/]*({'|'.join(map(re.escape, SUFFIXES))})", re.IGNORECASE
    )
    found: dict[str, list[str]] = {name: [] for name in every}
    try:
        with archives.opened(place) as archive:
            for match in filter(None, map(member.fullmatch, sorted(archive.namelist()))):
                if not match[0].startswith("__MACOSX"):
                    found.get(match[1], []).append(match[0])
            return _decoded(place, found, lambda name: archives.read(archive, name, MOST), progress)
    except archives.BROKEN as error:
        raise _damaged(place, error) from error


def _decoded(
    place: Path, files: Mapping[str, Sequence[File]], read: Callable[[File], bytes], progress: bool
) -> dict[str, Images]:
    shown = cache.progressing(files.items(), f"decoding {place.name}", len(files), progress)
    try:
        return {name: _stacked(_pixels(read(file)) for file in own) for name, own in shown}
    except BROKEN as error:
        raise _damaged(place, error) from error


def _stacked(parts: Iterable[Images]) -> Images:
    own = list(parts)
    return np.stack(own) if own else np.empty((0, 3, SIDE, SIDE), np.uint8)


def _pixels(data: bytes) -> Images:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.size != (SIDE, SIDE):
            raise ValueError(
                f"an image has {image.size[0]}x{image.size[1]} pixels, expected {SIDE}x{SIDE}"
            )
        pixels: Images = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        return pixels


def _binary(place: Path, every: Sequence[str], progress: bool) -> dict[str, Images]:
    try:
        with gzip.open(place) as raw, tarfile.TarFile(fileobj=Bounded(raw, UNPACKED)) as archive:
            parts = cache.progressing(PARTS, f"reading {place.name}", len(PARTS), progress)
            records = [_records(_member(archive, f"{part}.bin")) for part in parts]
            names = _member(archive, "fine_label_names.txt").decode("ascii").split()
    except (tarfile.TarError, *archives.BROKEN) as error:
        raise _damaged(place, error) from error
    if sorted(names) != sorted(every):
        raise ValueError(f"{place} names other classes than CIFAR-100's; get it again: {URL}")
    return {
        name: np.concatenate([part[part[:, LABEL] == label, PIXELS:] for part in records]).reshape(
            -1, 3, SIDE, SIDE
        )
        for label, name in enumerate(names)
    }


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.getmember(f"cifar-100-binary/{name}")
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        raise ValueError(f"{name} is no file")
    return file.read()


def _records(content: bytes) -> NDArray[Any]:
    """`[n, 3074]`: superclass, class and pixels of each image."""
    return np.frombuffer(content, np.uint8).reshape(-1, PIXELS + 3 * SIDE * SIDE)


def _damaged(place: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{place} is damaged ({archives.reason(error)}); delete it and get CIFAR-100 again: {URL}"
    )
