"""The options of `graphfew label` for tables of features."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from graphfew.data.io.tabular import read_csv, read_npz, read_parquet
from graphfew.data.partially_labeled import PartiallyLabeledItems

PANEL = "Tables"


@dataclasses.dataclass(frozen=True)
class TableFormat:
    """Where a table has its features and labels; each field is an option of the command."""

    label_column: Annotated[
        str,
        typer.Option(
            help="The column of class names; empty, -1 or another mark if unknown.",
            rich_help_panel=PANEL,
        ),
    ] = "label"
    id_column: Annotated[
        str | None,
        typer.Option(
            help="The column of item names.",
            show_default="row numbers from 0",
            rich_help_panel=PANEL,
        ),
    ] = None
    features_key: Annotated[
        str, typer.Option(help="The array of features in a .npz.", rich_help_panel=PANEL)
    ] = "x"
    label_key: Annotated[
        str, typer.Option(help="The array of labels in a .npz.", rich_help_panel=PANEL)
    ] = "y"

    def read(self, source: Path, unlabeled_marks: Sequence[str] | None) -> PartiallyLabeledItems:
        """Read a .csv, .npz or .parquet of features."""
        suffix = source.suffix.lower()
        if suffix == ".npz":
            return read_npz(source, self.features_key, self.label_key, unlabeled_marks)
        read = read_csv if suffix == ".csv" else read_parquet
        return read(source, self.label_column, self.id_column, unlabeled_marks)


def table_parameters() -> list[inspect.Parameter]:
    """The fields of `TableFormat` as parameters of a command."""
    hints = get_type_hints(TableFormat, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(TableFormat)
    ]
