"""Sources of partially labeled items: folders of images, tables and arrays.

Start with `read_source`; `graphfew label` and `graphfew annotate` read their items by it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from graphfew._utils.data_warning import warn_data
from graphfew.data.column_roles import (
    ColumnRoles,
    ItemKind,
    choose_columns,
    find_label_column,
    id_columns,
)
from graphfew.data.io.array_files import read_npy, read_npz
from graphfew.data.io.frames import is_frame, read_frame
from graphfew.data.io.image_folder import list_images
from graphfew.data.io.image_pixels import inspect_images
from graphfew.data.io.raw_table import RawTable
from graphfew.data.io.table_files import TABLE_SUFFIXES, check_suffix, read_table_file
from graphfew.data.label_marks import suggest_option
from graphfew.data.partially_labeled import Labels, check_labels, distinct_labels, parse_labels
from graphfew.data.problems import SKIP_REMEDY, ItemProblem, raise_problems
from graphfew.data.table_items import Items, TableItems, extract_items
from graphfew.errors import DatasetError, InvalidInputError, MissingFileError
from graphfew.labeling.source_options import SourceOptions

SOURCE_SUFFIXES = (*TABLE_SUFFIXES, ".npz", ".npy")
SOURCE_HELP = "a folder of images, or a .csv, .tsv, .jsonl, .parquet, .npz or .npy"


@dataclasses.dataclass(frozen=True, eq=False)
class LabelSource:
    """Items with a name each, and a label if it is known.

    Attributes:
        names: `[n]` name of each item: a path, an id or a row number.
        items: `[n]` texts, paths or PIL images, or an array of features `[n, F]` or of uint8 images
            `[n, h, w(, c)]`.
        kind: "text", "image" or "features".
        labels: `[n]` class names; None if unknown.
        origin: the file or folder, for messages.
        description: where the items and labels were found.
        problems: why items were left out.
        is_numbered: the names are row numbers, which change if rows are added or removed.

    Raises:
        InvalidInputError: lengths differ.

    Example:
        >>> source = LabelSource(("0", "1", "2"), ("hi", "bye", "hey"), "text", ("a", "b", None))
        >>> source.classes, source.class_index
        (('a', 'b'), array([ 0,  1, -1]))
    """

    names: tuple[str, ...]
    items: Items
    kind: ItemKind
    labels: Labels
    origin: str = "the items"
    description: str = ""
    problems: tuple[ItemProblem, ...] = ()
    is_numbered: bool = False

    def __post_init__(self) -> None:
        if not len(self.items) == len(self.labels) == len(self.names):
            raise InvalidInputError(
                f"there are {len(self.items)} items, {len(self.labels)} labels and "
                f"{len(self.names)} names; pass one label and one name per item"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return distinct_labels(self.labels)

    @property
    def class_index(self) -> NDArray[np.int64]:
        """`[n]` index of each item's label in `classes`; -1 if unknown."""
        index_of_class = {name: index for index, name in enumerate(self.classes)}
        indices = [-1 if label is None else index_of_class[label] for label in self.labels]
        return np.array(indices, dtype=np.int64)


def read_source(
    source: Path | str | Any,
    options: SourceOptions | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> LabelSource:
    """Read partially labeled items.

    A folder has a sub-folder of images for each class; images directly in it are unlabeled. A table
    (.csv, .tsv, .txt, also .gz; .jsonl, .json, .parquet; or a table of pandas, polars, Arrow or
    Hugging Face) has a row for each item: texts, paths of images, or features in many columns or in
    a column of lists. What was assumed is reported in one `DataWarning`.

    Args:
        source: a path, or a table.
        options: how it is read.
        progress: called with the number of images that have been checked.

    Returns:
        The items that can be used.

    Raises:
        MissingFileError: the file does not exist.
        ConfigurationError: the file is of a type that is not supported.
        BadItemsError: items cannot be read, and `skip_bad` is false.
        DatasetError: the source has no items, or fewer than two classes have a label.
        InvalidInputError: a column does not exist, or it is unclear which one has the items.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "requests.csv")
        >>> _ = path.write_text("text,label\\nhello,greeting\\nbye now,farewell\\nhi,\\n")
        >>> source = read_source(path)
        >>> source.kind, source.items[2], source.labels
        ('text', 'hi', ('greeting', 'farewell', None))
    """
    options = options or SourceOptions()
    if not isinstance(source, str | Path) and is_frame(source):
        return _read_table(read_frame(source), options, Path())
    path = Path(source)
    check_source(path)
    if path.is_dir():
        return _read_folder(path, options, progress)
    if path.suffix.lower() in (".npz", ".npy"):
        return _read_arrays(path, options)
    return _read_table(_read_file(path, options), options, path.parent)


def check_source(path: Path) -> None:
    """Raise if a path does not exist or is of a type that cannot be read.

    Raises:
        MissingFileError: the file does not exist.
        ConfigurationError: its type is not supported.
    """
    if not path.exists():
        raise MissingFileError(f"there is no {path}; give {SOURCE_HELP}")
    if not path.is_dir():
        check_suffix(path, SOURCE_SUFFIXES)


def _read_file(path: Path, options: SourceOptions) -> RawTable:
    columns = options.columns

    def text_columns(header: Sequence[str]) -> list[str]:
        label = find_label_column(str(path), header, columns.label, required=options.require_labels)
        ids = id_columns(header, columns)
        return [*columns.as_text, *ids, *([] if label is None else [label])]

    return read_table_file(path, options.text_format, text_columns)


def _read_table(table: RawTable, options: SourceOptions, folder: Path) -> LabelSource:
    roles = choose_columns(table, options.columns, labels_required=options.require_labels)
    assumptions = (*table.assumptions, *roles.assumptions)
    if assumptions:
        warn_data([f"{table.origin}: assumed that {'; '.join(assumptions)}"])
    found = extract_items(table, roles, folder)
    return _build(table.origin, found, options, _describe(roles))


def _read_arrays(path: Path, options: SourceOptions) -> LabelSource:
    if path.suffix.lower() == ".npz":
        found = read_npz(
            path, options.features_key, options.label_key, labels_required=options.require_labels
        )
    else:
        found = read_npy(path, options.labels_file, labels_required=options.require_labels)
    return _build(str(path), found, options, "an array")


def _read_folder(
    path: Path, options: SourceOptions, progress: Callable[[int], None]
) -> LabelSource:
    listing = list_images(
        path,
        options.unlabeled_folder,
        options.unlabeled_marks,
        suggest_option,
        require_classes=options.require_labels,
    )
    headers = inspect_images(listing.paths, progress)
    problems = [
        ItemProblem(row, listing.names[row], header.problem)
        for row, header in enumerate(headers)
        if header.problem is not None
    ]
    n_several = sum(header.n_frames > 1 for header in headers)
    if n_several:
        warn_data([f"{path}: {n_several} images have several frames; the first one is used"])
    description = "images by class folder"
    if listing.n_skipped:
        description += f"; {listing.n_skipped} files are no images and were skipped"
    found = TableItems("image", listing.paths, None, listing.names, tuple(problems))
    return _build(str(path), found, options, description, listing.labels)


def _build(
    origin: str,
    found: TableItems,
    options: SourceOptions,
    description: str,
    labels: Labels | None = None,
) -> LabelSource:
    """The usable items; an error if there are others, unless these are skipped."""
    if not options.skip_bad:
        raise_problems(origin, found.problems, SKIP_REMEDY)
    bad = {problem.row for problem in found.problems}
    rows = [row for row in range(len(found.names)) if row not in bad]
    if labels is None and found.label_texts is not None:
        labels = parse_labels(found.label_texts, options.unlabeled_marks, suggest_option)
    if labels is None:
        labels = (None,) * len(found.names)
    usable = LabelSource(
        tuple(found.names[row] for row in rows),
        take_items(found.items, rows),
        found.kind,
        tuple(labels[row] for row in rows),
        origin,
        description,
        found.problems,
        found.is_numbered,
    )
    if not len(usable):
        raise DatasetError(f"{origin} has no items that can be read")
    if options.require_labels:
        require_classes(usable)
    return usable


def take_items(items: Items, rows: Sequence[int]) -> Items:
    """Select items by their rows."""
    if isinstance(items, np.ndarray):
        return items if len(rows) == len(items) else items[list(rows)]
    return cast(Items, tuple(items[row] for row in rows))


def require_classes(source: LabelSource) -> None:
    """Raise DatasetError if fewer than two classes have a label."""
    try:
        check_labels(source.labels)
    except InvalidInputError as error:
        raise DatasetError(f"{source.origin}: {error}") from error


def _describe(roles: ColumnRoles) -> str:
    nouns = {"text": "texts", "image": "images", "features": "features"}
    columns = ", ".join(roles.items[:3]) + (", …" if len(roles.items) > 3 else "")
    where = f"{nouns[roles.kind]} in the column{'s' if len(roles.items) > 1 else ''} {columns}"
    return where if roles.label is None else f"{where}, labels in {roles.label}"
