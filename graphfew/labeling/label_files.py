"""Tables of labels in files: CSV, Parquet and JSON lines."""

from __future__ import annotations

import csv
import json
from importlib import import_module
from pathlib import Path
from typing import Any

from graphfew.errors import ConfigurationError, MissingDependencyError
from graphfew.labeling.label_table import LabelTable

LABEL_SUFFIXES = (".csv", ".parquet", ".jsonl")


def write_table(table: LabelTable, path: Path, suffix: str | None = None) -> None:
    """Write a table, with the columns of `LabelTable.columns`.

    Args:
        table: the labels.
        path: the file, which is overwritten.
        suffix: the format, `.csv` (in UTF-8), `.parquet` or `.jsonl`; None takes that of the path.

    Raises:
        ConfigurationError: another format.
        MissingDependencyError: Parquet without pyarrow.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile, numpy as np, graphfew as gf
        >>> from graphfew.labeling.label_sources import LabelSource
        >>> items = LabelSource(("0", "1"), np.eye(2), "features", ("cat", "dog"))
        >>> table = gf.labeling.label_items(items, items.items, gf.FewShotClassifier())
        >>> path = Path(tempfile.mkdtemp(), "labels.csv")
        >>> write_table(table, path)
        >>> path.read_text().splitlines()[1]
        '0,cat,1.000000,1.000000,,,true'
    """
    suffix = path.suffix.lower() if suffix is None else suffix
    check_label_suffix(suffix)
    if suffix == ".parquet":
        _write_parquet(table.columns(), path)
        return
    # csv ends lines with \r\n by default, on every system.
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = table.columns()
        if suffix == ".csv":
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(table.rows())
            return
        for row in zip(*columns.values(), strict=True):
            record = dict(zip(columns, row, strict=True))
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _write_parquet(columns: dict[str, list[Any]], path: Path) -> None:
    arrow = import_module("pyarrow")
    # A column without any value would have no type.
    types = {"item": arrow.string(), "given": arrow.bool_()}
    for name in columns:
        if name not in types:
            is_number = name.endswith(("confidence", "similarity"))
            types[name] = arrow.float64() if is_number else arrow.string()
    schema = arrow.schema([(name, types[name]) for name in columns])
    import_module("pyarrow.parquet").write_table(arrow.table(columns, schema=schema), path)


def check_label_suffix(suffix: str) -> None:
    """Raise if a table of labels cannot be written in this format.

    Raises:
        ConfigurationError: another format.
        MissingDependencyError: Parquet without pyarrow.
    """
    if suffix not in LABEL_SUFFIXES:
        raise ConfigurationError(
            f"the suffix {suffix!r} is not one of {', '.join(LABEL_SUFFIXES)}; choose one of these"
        )
    if suffix == ".parquet":
        try:
            import_module("pyarrow.parquet")
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                "writing Parquet needs pyarrow, which is not installed; pip install "
                '"graphfew[parquet]", or write .csv or .jsonl'
            ) from error
