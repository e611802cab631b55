"""Files of tables by their suffix."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from graphfew.data.io.delimited import TextFormat, read_delimited
from graphfew.data.io.frames import read_json, read_parquet
from graphfew.data.io.raw_table import RawTable
from graphfew.errors import ConfigurationError

TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, *JSON_SUFFIXES, ".parquet")
_SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")


def table_suffix(path: Path) -> str:
    """Return the suffix of a file in lower case, without .gz.

    Example:
        >>> table_suffix(Path("items.CSV.gz"))
        '.csv'
    """
    if path.suffix.lower() != ".gz":
        return path.suffix.lower()
    suffix = Path(path.stem).suffix.lower()
    return suffix if suffix in (*TEXT_SUFFIXES, *JSON_SUFFIXES) else ".gz"


def check_suffix(path: Path, suffixes: Sequence[str] = TABLE_SUFFIXES) -> None:
    """Raise ConfigurationError if a file is of another type."""
    if table_suffix(path) in suffixes:
        return
    if path.suffix.lower() in _SPREADSHEETS:
        raise ConfigurationError(
            f"{path} is a spreadsheet, which is not supported; save the sheet as CSV (UTF-8)"
        )
    raise ConfigurationError(
        f"{path} is neither a folder nor one of {', '.join(suffixes)} (also .gz for text); give one "
        "of these"
    )


def read_table_file(
    path: Path,
    text_format: TextFormat,
    find_texts: Callable[[Sequence[str]], Collection[str]],
) -> RawTable:
    """Read a table of text, of JSON or of Parquet.

    Args:
        path: the file.
        text_format: what is known of the format of a table of text.
        find_texts: returns the columns that are text, whatever they hold, given all columns.

    Raises:
        FileNotFoundError: no such file.
        DatasetError: the file is not a table.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "items.jsonl")
        >>> _ = path.write_text('{"text": "hello", "label": "greeting"}\\n')
        >>> read_table_file(path, TextFormat(), lambda columns: ()).columns["text"]
        ['hello']
    """
    suffix = table_suffix(path)
    if suffix == ".parquet":
        return read_parquet(path)
    if suffix in JSON_SUFFIXES:
        return read_json(path)
    return read_delimited(path, text_format, find_texts)
