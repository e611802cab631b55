"""Which columns of a table are the items, their labels and their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from graphfew.data.class_names import quoted
from graphfew.data.io.raw_table import ColumnType, RawTable, column_type, is_blank
from graphfew.data.table_columns import has_id_name, is_index_name
from graphfew.errors import DatasetError, InvalidInputError

ItemKind = Literal["text", "image", "features"]
LABEL = "label"
# Other names of labels, and names of texts, in data sets that people publish.
_LABEL_NAMES = ("labels", "class", "target", "category", "intent", "y", "species", "topic")
_TEXT_NAMES = (
    "text",
    "sentence",
    "utterance",
    "content",
    "message",
    "review",
    "document",
    "body",
    "query",
    "question",
    "comment",
)
_IMAGE_NAMES = (
    "image",
    "image_path",
    "img",
    "photo",
    "picture",
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
)
_MAX_NAMES_SHOWN = 8
_USE_FEATURES = "--features-column"


@dataclasses.dataclass(frozen=True)
class ColumnOptions:
    """Columns that the user named; None, or empty, for columns that are detected.

    Attributes:
        label: the class names.
        id: names of the items.
        texts: texts, which are joined.
        image: paths of images.
        features: numbers, or lists of numbers.
    """

    label: str | None = None
    id: str | None = None
    texts: tuple[str, ...] = ()
    image: str | None = None
    features: tuple[str, ...] = ()

    @property
    def as_text(self) -> tuple[str, ...]:
        """Columns that are text, whatever they hold."""
        named = (self.label, self.id, self.image, *self.texts)
        return tuple(name for name in named if name is not None)


@dataclasses.dataclass(frozen=True)
class ColumnRoles:
    """The use of each column.

    Attributes:
        kind: what the items are.
        items: the columns of the items.
        are_vectors: whether the features are a column of lists.
        label: the column of class names, or None.
        id: the column of item names; None to number the rows.
        assumptions: what was assumed, with the option that changes it.
    """

    kind: ItemKind
    items: tuple[str, ...]
    are_vectors: bool = False
    label: str | None = None
    id: str | None = None
    assumptions: tuple[str, ...] = ()


def find_label_column(
    origin: str, columns: Sequence[str], label: str | None, *, required: bool = True
) -> str | None:
    """Find the column of class names: the given one, `label`, or the only one with a usual name.

    Args:
        origin: the file, for messages.
        columns: all columns.
        label: the column that the user named.
        required: whether there must be one.

    Returns:
        The column, or None.

    Raises:
        InvalidInputError: the column does not exist, or several could be meant.

    Example:
        >>> find_label_column("items.csv", ["text", "intent"], None)
        'intent'
    """
    if label is not None:
        _check_exists(origin, columns, label, "--label-column")
        return label
    if LABEL in columns:
        return LABEL
    usual = [name for name in columns if name.strip().lower() in (LABEL, *_LABEL_NAMES)]
    if len(usual) == 1:
        return usual[0]
    if usual:
        raise InvalidInputError(
            f"{origin} has several columns that may be the labels, {quoted(usual)}; name one of them "
            "with --label-column"
        )
    if required:
        _check_exists(origin, columns, LABEL, "--label-column")
    return None


def choose_columns(
    table: RawTable, options: ColumnOptions, *, labels_required: bool = True
) -> ColumnRoles:
    """Choose the columns of the items, their labels and their names.

    Args:
        table: the table.
        options: the columns that the user named.
        labels_required: whether there must be labels.

    Returns:
        The roles of the columns.

    Raises:
        InvalidInputError: a column does not exist, or several kinds of items could be meant.
        DatasetError: no column has items.

    Example:
        >>> table = RawTable("a.csv", {"text": ["hello"], "label": [""]}, str)
        >>> choose_columns(table, ColumnOptions()).kind
        'text'
    """
    columns = list(table.columns)
    if not columns:
        raise DatasetError(f"{table.origin} is empty; it needs a row for each item")
    label = find_label_column(table.origin, columns, options.label, required=labels_required)
    if options.id is not None:
        _check_exists(table.origin, columns, options.id, "--id-column")
    assumptions = []
    if label is not None and options.label is None and label != LABEL:
        assumptions.append(f"the labels are in the column {quoted([label])} (--label-column)")
    remaining = [name for name in columns if name not in (label, options.id)]
    types: dict[str, ColumnType] = {name: column_type(table.columns[name]) for name in remaining}
    roles = _named_items(table, options, types) or _find_items(table.origin, types)
    id_column = options.id
    if roles.kind != "features" or roles.are_vectors:
        unused = [name for name in remaining if name not in roles.items]
        if id_column is None:
            id_column = _find_ids(table, unused)
        ignored = [name for name in unused if name != id_column and not is_index_name(name)]
        assumptions += _describe(roles, options, id_column, ignored)
    return dataclasses.replace(
        roles, label=label, id=id_column, assumptions=(*assumptions, *roles.assumptions)
    )


def _named_items(
    table: RawTable, options: ColumnOptions, types: Mapping[str, ColumnType]
) -> ColumnRoles | None:
    """The items in the columns that the user named."""
    named = {
        "--text-column": options.texts,
        "--image-column": (options.image,) if options.image is not None else (),
        _USE_FEATURES: options.features,
    }
    given = {flag: names for flag, names in named.items() if names}
    if not given:
        return None
    if len(given) > 1:
        raise InvalidInputError(f"{' and '.join(given)} are given; give only one of them")
    ((flag, names),) = given.items()
    for name in names:
        _check_exists(table.origin, list(table.columns), name, flag)
        if name not in types:
            raise InvalidInputError(
                f"{flag} {name}: this column has the labels or the names of the items; name another "
                "one"
            )
    if flag == "--text-column":
        return ColumnRoles("text", names)
    if flag == "--image-column":
        return ColumnRoles("image", names)
    vectors = [name for name in names if types[name] == "vector"]
    if vectors and len(names) > 1:
        raise InvalidInputError(
            f"{_USE_FEATURES} {vectors[0]}: this column has lists of numbers, which cannot be "
            "combined with other columns; give it alone"
        )
    return ColumnRoles("features", names, are_vectors=bool(vectors))


def _find_items(origin: str, types: Mapping[str, ColumnType]) -> ColumnRoles:
    """The items in the columns that are left."""
    of_type: dict[ColumnType, list[str]] = {}
    for name, kind in types.items():
        of_type.setdefault(kind, []).append(name)
    vectors, images, texts = (of_type.get(kind, []) for kind in ("vector", "image", "text"))
    numbers = of_type.get("number", [])
    features = [n for n in numbers if not (has_id_name(n) or is_index_name(n))]
    if len(vectors) == 1:
        return ColumnRoles("features", (vectors[0],), are_vectors=True)
    if vectors:
        raise InvalidInputError(
            f"{origin} has several columns of lists, {quoted(vectors)}; name one of them with "
            f"{_USE_FEATURES}"
        )
    if images and not features:
        if len(images) > 1:
            raise InvalidInputError(
                f"{origin} has several columns of image paths, {quoted(images)}; name one of them "
                "with --image-column"
            )
        return ColumnRoles("image", (images[0],))
    named_texts = [name for name in texts if name.strip().lower() in _TEXT_NAMES]
    if len(named_texts) == 1 or (len(texts) == 1 and not features):
        return ColumnRoles("text", ((named_texts or texts)[0],))
    if texts and not features:
        raise InvalidInputError(
            f"{origin} has several columns of text, {quoted(texts)}; name those of the items with "
            "--text-column, which may be repeated"
        )
    others = [*texts, *images, *of_type.get("other", [])]
    if others and numbers:
        raise InvalidInputError(
            f"{origin} has columns of numbers, such as {quoted(numbers[:1])}, and others, "
            f"{quoted(others[:_MAX_NAMES_SHOWN])}; features must be numbers: name the column of the "
            "items with --text-column or --image-column, columns of features with "
            f"{_USE_FEATURES}, or the column of their names with --id-column"
        )
    blank = of_type.get("blank", [])
    if not numbers:
        found = _shorten(others) or "none"
        raise DatasetError(
            f"{origin} has no feature columns, and no column of texts or images (other columns: "
            f"{found}); add what describes an item"
        )
    notes = (f"empty columns are ignored: {_shorten(blank)}",) if blank else ()
    return ColumnRoles("features", tuple(numbers), assumptions=notes)


def id_columns(header: Sequence[str], options: ColumnOptions) -> list[str]:
    """Return the columns that may be ids of texts or images, and are read as text therefore.

    As numbers, long ids would be rounded, and zeros at their start lost. Next to features, only
    --id-column names ids.

    Args:
        header: names of all columns.
        options: the columns that were named.

    Example:
        >>> id_columns(["id", "text"], ColumnOptions()), id_columns(["id", "x"], ColumnOptions())
        (['id'], [])
    """
    usual_names = (*_TEXT_NAMES, *_IMAGE_NAMES)
    is_usual = any(name.strip().lower() in usual_names for name in header)
    if options.features or not (is_usual or options.texts or options.image):
        return []
    return [name for name in header if has_id_name(name)]


def _find_ids(table: RawTable, columns: Sequence[str]) -> str | None:
    """The first column with a name and values of ids."""
    for name in columns:
        values = list(table.columns[name])
        is_id = has_id_name(name) and not any(is_blank(value) for value in values)
        if is_id and len({_hashable(value) for value in values}) == len(values):
            return name
    return None


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else str(value)


def _describe(
    roles: ColumnRoles, options: ColumnOptions, id_column: str | None, ignored: Sequence[str]
) -> list[str]:
    """What was assumed on the items and their names, if other columns could be meant."""
    parts = []
    flags = {"text": "--text-column", "image": "--image-column", "features": _USE_FEATURES}
    nouns = {"text": "texts", "image": "images", "features": "features"}
    is_named = bool(options.texts or options.image or options.features)
    if not is_named and (ignored or id_column != options.id):
        noun, flag = nouns[roles.kind], flags[roles.kind]
        parts.append(f"the {noun} are in the column {quoted(roles.items)} ({flag})")
    if id_column != options.id:
        parts.append(f"the names of the items in {quoted([id_column or ''])} (--id-column)")
    if ignored and not is_named:
        parts.append(f"other columns are ignored: {_shorten(ignored)}")
    return parts


def _check_exists(origin: str, columns: Sequence[str], column: str, flag: str) -> None:
    if column not in columns:
        hint = " (cells must be separated by --delimiter)" if len(columns) == 1 else ""
        raise InvalidInputError(
            f"{origin} has no column {column!r}; its columns are {_shorten(columns)}{hint}: name "
            f"one of them with {flag}"
        )


def _shorten(names: Sequence[str]) -> str:
    """Join names, without the middle ones if there are many."""
    if len(names) <= _MAX_NAMES_SHOWN:
        return ", ".join(names)
    # The label is mostly in the last column.
    shown = [*names[: _MAX_NAMES_SHOWN - 1], "…", names[-1]]
    return f"{', '.join(shown)} and {len(names) - _MAX_NAMES_SHOWN} more"
