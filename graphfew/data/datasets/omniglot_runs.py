"""The twenty published one-shot runs of Omniglot, on which people were measured."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graphfew.data.dataset import Dataset
from graphfew.data.datasets.omniglot import (
    MAX_IMAGE_BYTES,
    decode_image,
    find_omniglot_file,
)
from graphfew.data.io import archives, cache
from graphfew.data.io.paths import Root, check_image_size
from graphfew.data.io.progress import with_progress
from graphfew.data.splits import Splits
from graphfew.errors import DatasetError

N_RUNS, RUN_WAY = 20, 20
RUNS_FILE = "all_runs.zip"
RUNS_URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/one-shot-classification/all_runs.zip"
RUNS_CHECKSUM = "sha256:437c1eeab0af8484112e1b4cc0f3d541ec727f7c47b9b202da738af9dfd6c325"
OMNIGLOT_RUNS_SPLITS = Splits(("test",), test=("test",))
# No list of labels comes near this limit (1 kB).
_MAX_LABEL_BYTES = 100_000
_LABELS = re.compile(r"(run\d+)/class_labels\.txt")
# Drawer of the references, and drawer of the queries.
_REFERENCE_DRAWER, _QUERY_DRAWER = 1, 2


def omniglot_runs(
    root: Root = None, split: str = "test", size: int = 28, progress: bool = True
) -> Dataset:
    """Load the published one-shot runs: 20 tasks of 20 characters of one alphabet.

    Each class has two images, a reference by drawer 1 and a query by drawer 2 of its run. Classes
    are named `run01/class08`, grouped by run; `graphfew.data.DrawerRuns(data, fixed_roles=True)`
    are the published tasks. Their characters belong to the evaluation alphabets, so that no model
    may be selected on them.

    Args:
        root: the folder of `all_runs.zip`; None takes `$GRAPHFEW_DATA/omniglot`, else the cache,
            where it is downloaded once and compared with its checksum.
        split: `test`, the only one.
        size: side of the images in pixels.
        progress: show bars.

    Returns:
        A data set of 800 items `[n, 1, size, size]` uint8, bright strokes on black.

    Raises:
        InvalidInputError: an unknown split, or a size below 1.
        DatasetError: the archive is damaged or incomplete.
        DatasetNotFoundError: `root` lacks the archive.
        DownloadError: the download failed.

    Example:
        >>> omniglot_runs("omniglot/")  # doctest: +SKIP
        Dataset('omniglot-runs', split='test', 400 classes, 800 items of shape [1, 28, 28] uint8)

    Source:
        Lake, Salakhutdinov and Tenenbaum, 2015, "Human-level concept learning through probabilistic
        program induction".

    Deviations:
        Reduced from 105x105 by Lanczos resampling.
    """
    OMNIGLOT_RUNS_SPLITS.check("omniglot_runs", split)
    check_image_size(size)
    path = find_omniglot_file(root, RUNS_FILE, RUNS_URL, RUNS_CHECKSUM, progress)
    arrays = cache.load_or_build(
        f"omniglot-runs-{cache.content_key(path)}-{size}",
        ("images", "classes"),
        lambda: _decode_runs(path, size, progress),
    )
    classes = arrays["classes"].tolist()
    return Dataset(
        name="omniglot-runs",
        split=split,
        x=torch.from_numpy(arrays["images"].reshape(-1, 1, size, size)),
        y=torch.arange(len(classes)).repeat_interleave(2),
        classes=tuple(classes),
        groups=tuple(name.split("/")[0] for name in classes),
        metadata={"drawer": torch.tensor([_REFERENCE_DRAWER, _QUERY_DRAWER]).repeat(len(classes))},
    )


def _decode_runs(path: Path, size: int, progress: bool) -> dict[str, NDArray[Any]]:
    """Return images `[classes, 2, size, size]`, reference first, and the names of the classes."""
    images, classes = [], []
    try:
        with archives.open_zip(path) as archive:
            pairs = _read_pairs(archive)
            for name, entries in with_progress(
                pairs.items(), f"decoding {path.name}", len(pairs), progress
            ):
                for entry in entries:
                    data = archives.read_entry(archive, entry, MAX_IMAGE_BYTES)
                    images.append(decode_image(data, size))
                classes.append(name)
    except archives.READ_ERRORS as error:
        raise DatasetError(
            f"{path} is damaged ({archives.one_line(error)}); delete it and get it again: "
            f"{RUNS_URL}"
        ) from error
    runs = [name.split("/")[0] for name in classes]
    counts = [runs.count(run) for run in dict.fromkeys(runs)]
    if counts != [RUN_WAY] * N_RUNS:
        raise DatasetError(
            f"{path} has {len(counts)} runs of {sorted(set(counts))} characters, expected {N_RUNS} "
            f"of {RUN_WAY}; delete it and get it again: {RUNS_URL}"
        )
    return {"images": np.stack(images), "classes": np.array(classes)}


def _read_pairs(archive: zipfile.ZipFile) -> dict[str, tuple[str, str]]:
    """Return reference and query of each class, from the lists of labels, sorted by name."""
    pairs = {}
    for entry in sorted(archive.namelist()):
        match = _LABELS.fullmatch(entry)
        if match is None:
            continue
        text = archives.read_entry(archive, entry, _MAX_LABEL_BYTES).decode("ascii")
        for line in text.splitlines():
            # "run01/test/item01.png run01/training/class08.png"
            query, reference = line.split()
            pairs[f"{match[1]}/{Path(reference).stem}"] = (reference, query)
    return dict(sorted(pairs.items()))
