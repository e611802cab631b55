"""Images of CIFAR-100 from class folders, a zip archive of them, or the binary archive."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graphfew.data.io import archives, cache
from graphfew.data.io.download import download
from graphfew.data.io.image_pixels import READ_ERRORS, SUFFIXES
from graphfew.data.io.paths import Root, find_folder
from graphfew.data.io.progress import with_progress
from graphfew.errors import DatasetError, DatasetNotFoundError

URL = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
CHECKSUM = "md5:03b5dce01913d631647c71ecec9e9cb8"
ZIP_NAME = "cifar100.zip"
BINARY_NAME = "cifar-100-binary.tar.gz"
IMAGES_PER_CLASS = 600
SIDE = 32
# Limits that no image of a zip (3 kB) and not even the whole binary archive (185 MB) come near.
MAX_IMAGE_BYTES = 100_000
MAX_UNPACKED_BYTES = 250_000_000

_IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_BINARY_PARTS = ("train", "test")
# A record of the binary files has the superclass in byte 0, the class in byte 1, then the pixels.
_LABEL_BYTE, _FIRST_PIXEL_BYTE = 1, 2
_RECORD_BYTES = _FIRST_PIXEL_BYTE + 3 * SIDE * SIDE

File = TypeVar("File", str, Path)
Images = NDArray[np.uint8]


class LimitedReader(io.RawIOBase):
    """A file that raises instead of reading or seeking beyond a limit.

    `tarfile` reads as far as an archive's headers claim, and gzip inflates without end.

    Args:
        file: the file.
        max_bytes: the limit.
    """

    def __init__(self, file: gzip.GzipFile, max_bytes: int) -> None:
        self.file = file
        self.max_bytes = max_bytes

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes; raise DatasetError beyond the limit."""
        # A negative size would read everything.
        if size < 0 or self.file.tell() + size > self.max_bytes:
            raise DatasetError(f"it unpacks to more than {self.max_bytes} bytes")
        return self.file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position counted from the start; raise DatasetError beyond the limit."""
        # tarfile only seeks from the start.
        if whence != io.SEEK_SET or not 0 <= offset <= self.max_bytes:
            raise DatasetError(f"it unpacks to more than {self.max_bytes} bytes")
        return self.file.seek(offset)

    def tell(self) -> int:
        """Return the position in the file."""
        return self.file.tell()


def load_images(
    root: Root, all_classes: Sequence[str], classes: Sequence[str], progress: bool
) -> Images:
    """Load the images of some classes, from the cache if they are there.

    Args:
        root: the folder of CIFAR-100, or None.
        all_classes: names of the 100 classes.
        classes: names of the classes to load.
        progress: show bars.

    Returns:
        `[len(classes), IMAGES_PER_CLASS, 3, 32, 32]` uint8.

    Raises:
        DatasetError: files are damaged or incomplete.
        DatasetNotFoundError: `root` contains none of the formats.
        DownloadError: the download failed.
    """
    # All classes are decoded and cached together: both data sets and all their splits use them.
    source = _find_source(root, all_classes[0], progress)

    def decode() -> Mapping[str, Images]:
        if source.name == BINARY_NAME:
            images = _read_binary(source, all_classes, progress)
        elif source.name == ZIP_NAME:
            images = _read_zip(source, all_classes, progress)
        else:
            images = _read_folders(source, all_classes, progress)
        _check_complete(source, images)
        return images

    key = f"cifar100-{_source_key(source, all_classes)}"
    images = cache.load_or_build(key, classes, decode)
    return np.stack([images[name] for name in classes])


def _find_source(root: Root, first_class: str, progress: bool) -> Path:
    """Return the folder of the class folders, the zip archive or the binary archive."""
    folder = find_folder(root, "cifar100")
    if folder is None:
        return download(URL, CHECKSUM, progress)
    for candidate in (folder, folder / "cifar100"):
        if (candidate / first_class).is_dir():
            return candidate
    for name in (ZIP_NAME, BINARY_NAME):
        if (folder / name).is_file():
            return folder / name
    if root is None:
        return download(URL, CHECKSUM, progress)
    raise DatasetNotFoundError(
        f"{folder} has neither class folders such as {first_class} (also looked for in cifar100) "
        f"nor {ZIP_NAME} nor {BINARY_NAME}; put the archive there ({URL}), or omit root to "
        "download it"
    )


def _source_key(source: Path, all_classes: Sequence[str]) -> str:
    """Return a cache key: the content of an archive, or names, sizes and times in folders."""
    if source.is_file():
        return cache.content_key(source)
    paths: list[Path] = []
    for class_paths in _list_folders(source, all_classes).values():
        paths += class_paths
    return cache.fingerprint(paths)


def _check_complete(source: Path, images: Mapping[str, Images]) -> None:
    for name, class_images in images.items():
        if len(class_images) != IMAGES_PER_CLASS:
            raise DatasetError(
                f"{source} is incomplete: {len(class_images)} images of {name!r}, expected "
                f"{IMAGES_PER_CLASS}; get CIFAR-100 again: {URL}"
            )


def _list_folders(folder: Path, all_classes: Sequence[str]) -> dict[str, list[Path]]:
    listing = {}
    for name in all_classes:
        paths = (folder / name).glob("*")
        listing[name] = sorted(
            path
            for path in paths
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
    return listing


def _read_folders(folder: Path, all_classes: Sequence[str], progress: bool) -> dict[str, Images]:
    return _decode(folder, _list_folders(folder, all_classes), Path.read_bytes, progress)


def _read_zip(path: Path, all_classes: Sequence[str], progress: bool) -> dict[str, Images]:
    suffixes = "|".join(re.escape(suffix) for suffix in SUFFIXES)
    # A class folder at any depth, and a file in it that is not hidden.
    pattern = re.compile(rf"(?:.*/)?([^/]+)/[^/.][^/]*({suffixes})", re.IGNORECASE)
    entries: dict[str, list[str]] = {name: [] for name in all_classes}
    try:
        with archives.open_zip(path) as archive:
            for entry in sorted(archive.namelist()):
                match = pattern.fullmatch(entry)
                # macOS adds a second folder of metadata files with the names of the images.
                if match is None or entry.startswith("__MACOSX"):
                    continue
                class_name = match[1]
                if class_name in entries:
                    entries[class_name].append(entry)
            return _decode(
                path,
                entries,
                lambda entry: archives.read_entry(archive, entry, MAX_IMAGE_BYTES),
                progress,
            )
    except archives.READ_ERRORS as error:
        raise _damage_error(path, error) from error


def _decode(
    source: Path,
    files: Mapping[str, Sequence[File]],
    read: Callable[[File], bytes],
    progress: bool,
) -> dict[str, Images]:
    """Decode the image files of each class."""
    images = {}
    try:
        for name, class_files in with_progress(
            files.items(), f"decoding {source.name}", len(files), progress
        ):
            decoded = [_decode_image(read(file)) for file in class_files]
            empty = np.empty((0, 3, SIDE, SIDE), np.uint8)
            images[name] = np.stack(decoded) if decoded else empty
    except READ_ERRORS as error:
        raise _damage_error(source, error) from error
    return images


def _decode_image(data: bytes) -> Images:
    # Pillow would try all of its decoders on an untrusted file. Opening reads the header only, so
    # the size is checked before any pixel is decoded.
    with Image.open(io.BytesIO(data), formats=_IMAGE_FORMATS) as image:
        if image.size != (SIDE, SIDE):
            width, height = image.size
            raise DatasetError(f"an image has {width}x{height} pixels, expected {SIDE}x{SIDE}")
        pixels: Images = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        return pixels


def _read_binary(path: Path, all_classes: Sequence[str], progress: bool) -> dict[str, Images]:
    try:
        with (
            # Not tarfile.open with "r:gz", which would inflate without a limit.
            gzip.open(path) as file,
            tarfile.TarFile(fileobj=LimitedReader(file, MAX_UNPACKED_BYTES)) as archive,
        ):
            records = []
            for part in with_progress(
                _BINARY_PARTS, f"reading {path.name}", len(_BINARY_PARTS), progress
            ):
                content = _read_member(archive, f"{part}.bin")
                # A truncated file is not a multiple of the record size, so `reshape` raises.
                records.append(np.frombuffer(content, np.uint8).reshape(-1, _RECORD_BYTES))
            names = _read_member(archive, "fine_label_names.txt").decode("ascii").split()
    except (tarfile.TarError, *archives.READ_ERRORS) as error:
        raise _damage_error(path, error) from error
    if sorted(names) != sorted(all_classes):
        raise DatasetError(f"{path} has other classes than CIFAR-100; get it again: {URL}")
    images = {}
    for label, name in enumerate(names):
        # Labels count in the order of the archive's names, which need not be that of `all_classes`.
        pixels = [part[part[:, _LABEL_BYTE] == label, _FIRST_PIXEL_BYTE:] for part in records]
        images[name] = np.concatenate(pixels).reshape(-1, 3, SIDE, SIDE)
    return images


def _read_member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.getmember(f"cifar-100-binary/{name}")
    # Links, pipes and folders have no content of their own.
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        raise DatasetError(f"{name} is not a regular file")
    return file.read()


def _damage_error(source: Path, error: Exception) -> DatasetError:
    reason = archives.one_line(error)
    return DatasetError(f"{source} is damaged ({reason}); delete it and get CIFAR-100 again: {URL}")
