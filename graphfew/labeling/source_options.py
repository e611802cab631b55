"""How a source of items is read: the options of `read_source` and of the commands that use it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from graphfew.data.column_roles import ColumnOptions
from graphfew.data.io.decimal_marks import DecimalMark
from graphfew.data.io.delimited import TextFormat

TABLES, FOLDERS, ITEMS = "Tables", "Folders of images", "Items"


@dataclasses.dataclass(frozen=True)
class SourceOption:
    """The declaration of a field that is also an option of a command.

    Attributes:
        flag: of the command.
        panel: heading in `--help`.
        help: of the command.
        shown: the default in `--help`; None shows that of the field.
        metavar: the value in `--help`; None for that of its type.
    """

    flag: str
    panel: str
    help: str
    shown: str | None = None
    metavar: str | None = None


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """How a source is read; None for what is detected.

    Attributes:
        label_column: the column of class names.
        id_column: the column of the items' names.
        text_columns: the columns of texts, which are joined.
        image_column: the column of image paths, relative to the folder of the table.
        features_columns: columns of numbers, or one column of lists of numbers.
        delimiter: the character between cells of a table of text.
        decimal: "point" or "comma", in tables of text.
        encoding: of tables of text.
        features_key: the array of features in an .npz.
        label_key: the array of labels in an .npz.
        labels_file: a .npy of labels for a .npy of features.
        unlabeled_folder: the sub-folder of images without a label.
        unlabeled_marks: labels, or names of sub-folders, of unlabeled items; None takes the default
            ones (see `graphfew.data.labels.resolve_labels`).
        skip_bad: leave items out that cannot be read, instead of an error.
        require_labels: whether items of two classes must have a label.

    Example:
        >>> SourceOptions(label_column="intent").columns.label
        'intent'
    """

    label_column: Annotated[
        str | None,
        SourceOption(
            "--label-column",
            TABLES,
            "The column of class names; empty, -1 or another mark if unknown.",
            shown="label, or a similar name",
        ),
    ] = None
    id_column: Annotated[
        str | None,
        SourceOption(
            "--id-column", TABLES, "The column of item names.", shown="row numbers from 0"
        ),
    ] = None
    text_columns: Annotated[
        tuple[str, ...],
        SourceOption(
            "--text-column",
            TABLES,
            "The column of texts to label; repeat it to join several.",
            shown="found",
        ),
    ] = ()
    image_column: Annotated[
        str | None,
        SourceOption(
            "--image-column",
            TABLES,
            "The column of image paths, relative to the folder of the table.",
            shown="found",
        ),
    ] = None
    features_columns: Annotated[
        tuple[str, ...],
        SourceOption(
            "--features-column",
            TABLES,
            "A column of lists of numbers (embeddings), or, repeated, the columns of numbers to use.",
            shown="found",
        ),
    ] = ()
    delimiter: Annotated[
        str | None,
        SourceOption(
            "--delimiter",
            TABLES,
            "The character between cells of a table of text; tab for tabs.",
            shown="found",
        ),
    ] = None
    decimal: Annotated[
        DecimalMark | None,
        SourceOption(
            "--decimal",
            TABLES,
            "The decimal mark in a table of text.",
            shown="found",
            metavar="point|comma",
        ),
    ] = None
    encoding: Annotated[
        str | None,
        SourceOption("--encoding", TABLES, "The encoding of a table of text.", shown="found"),
    ] = None
    features_key: Annotated[
        str, SourceOption("--features-key", TABLES, "The array of features in a .npz.")
    ] = "x"
    label_key: Annotated[
        str, SourceOption("--label-key", TABLES, "The array of labels in a .npz.")
    ] = "y"
    labels_file: Annotated[
        Path | None,
        SourceOption(
            "--labels", TABLES, "A .npy of labels, for a SOURCE that is a .npy of features."
        ),
    ] = None
    unlabeled_folder: Annotated[
        str | None,
        SourceOption(
            "--unlabeled-folder",
            FOLDERS,
            "The sub-folder of images without a label; images directly in SOURCE have none either.",
            shown="unlabeled",
        ),
    ] = None
    unlabeled_marks: Annotated[
        Sequence[str] | None,
        SourceOption(
            "--unlabeled-mark",
            ITEMS,
            "A label, or name of a sub-folder, of unlabeled items. Repeat it for several; '' if every "
            "label is a class. Empty labels are always unknown.",
            shown="-1, unlabeled, unknown, NA, nan, none, null, ? and others",
        ),
    ] = None
    skip_bad: Annotated[
        bool,
        SourceOption(
            "--skip-bad",
            ITEMS,
            "Leave out items that cannot be read, such as broken images or cells without a number.",
        ),
    ] = False
    require_labels: bool = True

    @property
    def columns(self) -> ColumnOptions:
        """The columns that were named."""
        return ColumnOptions(
            self.label_column,
            self.id_column,
            tuple(self.text_columns),
            self.image_column,
            tuple(self.features_columns),
        )

    @property
    def text_format(self) -> TextFormat:
        """What is known of the format of a table of text."""
        return TextFormat(self.delimiter, self.decimal, self.encoding)
