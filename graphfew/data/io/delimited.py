"""Tables of text: comma-, semicolon- or tab-separated, as programs and spreadsheets write them."""

from __future__ import annotations

import csv
import dataclasses
import io
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from graphfew.data.io.decimal_marks import (
    DecimalMark,
    find_decimal_mark,
    is_number_column,
    parse_number,
)
from graphfew.data.io.raw_table import N_SAMPLED, Column, RawTable
from graphfew.data.io.text_files import find_encoding, open_text
from graphfew.data.problems import ItemProblem
from graphfew.errors import DatasetError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
SUFFIX_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
# Text of cells that are no numbers, for messages.
_MAX_INVALID_CELLS = 10_000
# Texts such as documents are longer than the limit of 128 KiB that csv sets.
_MAX_CELL_LENGTH = 100_000_000
_SAMPLE_CHARACTERS = 1 << 20


@dataclasses.dataclass(frozen=True)
class TextFormat:
    """How a table of text is written; None for what is detected.

    Attributes:
        delimiter: the character between cells.
        decimal: the decimal mark.
        encoding: of the file.
    """

    delimiter: str | None = None
    decimal: DecimalMark | None = None
    encoding: str | None = None


@dataclasses.dataclass(frozen=True)
class _Layout:
    """The detected format, and the columns with their positions in a row."""

    delimiter: str
    decimal: DecimalMark
    encoding: str
    header: list[str]
    positions: dict[str, int]
    numbers: frozenset[str]
    has_quotes: bool
    assumptions: tuple[str, ...]


@dataclasses.dataclass
class _Cells:
    """What has been read of the rows."""

    columns: dict[str, array[float] | list[str]]
    lines: array[int]
    problems: list[ItemProblem]
    invalid: dict[tuple[int, str], str]


def read_delimited(
    path: Path,
    text_format: TextFormat,
    find_texts: Callable[[Sequence[str]], Collection[str]],
) -> RawTable:
    """Read a table with a header, one row for each item.

    Rows and columns without any text, as spreadsheets add them at the end, are ignored.

    Args:
        path: the file; a name that ends in .gz is decompressed.
        text_format: what is known of the format.
        find_texts: returns the columns that are text, whatever they hold, given all columns.

    Returns:
        The table. A row with too few or too many cells is a problem, and its cells are empty.

    Raises:
        FileNotFoundError: no such file.
        DatasetError: the file is not a table, or two columns have one name.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "items.csv")
        >>> _ = path.write_text("width;label\\n1,5;cat\\n2,5;dog\\n")
        >>> table = read_delimited(path, TextFormat(), lambda columns: ["label"])
        >>> table.columns["width"], table.assumptions[0]
        (array([1.5, 2.5]), 'cells are separated by semicolons (--delimiter)')
    """
    layout = _find_layout(path, text_format, find_texts)
    cells = _Cells(
        {name: array("d") if name in layout.numbers else [] for name in layout.positions},
        array("q"),
        [],
        {},
    )
    with open_text(path, layout.encoding) as file, _csv_errors(path):
        reader = _rows(file, layout.delimiter, layout.has_quotes)
        next(reader, None)
        for row, (line, texts) in enumerate(reader):
            _add_row(cells, layout, row, line, texts)
    columns: dict[str, Column] = {
        name: values if isinstance(values, list) else np.frombuffer(values, dtype=np.float64)
        for name, values in cells.columns.items()
    }
    return RawTable(
        str(path),
        columns,
        lambda row: f"line {cells.lines[row]}",
        cells.invalid,
        tuple(cells.problems),
        layout.assumptions,
    )


def _find_layout(
    path: Path,
    text_format: TextFormat,
    find_texts: Callable[[Sequence[str]], Collection[str]],
) -> _Layout:
    encoding, assumption = find_encoding(path, text_format.encoding)
    assumptions = [] if assumption is None else [assumption]
    with open_text(path, encoding) as file:
        sample = file.read(_SAMPLE_CHARACTERS)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    usual = next((SUFFIX_DELIMITERS[end] for end in suffixes if end in SUFFIX_DELIMITERS), None)
    delimiter = text_format.delimiter
    if delimiter is None:
        delimiter = find_delimiter(sample, usual)
        if delimiter != usual:
            assumptions.append(f"cells are separated by {DELIMITERS[delimiter]} (--delimiter)")
    has_quotes = delimiter != "\t" or _has_valid_quotes(path, encoding)
    if not has_quotes:
        assumptions.append("quotes are part of the texts, as they do not enclose cells")
    rows = _sample_rows(sample, delimiter, has_quotes)
    header = [name.strip() for name in rows[0]] if rows else []
    if not header:
        raise DatasetError(f"{path} is empty; it needs a header and a row for each item")
    positions = _positions(path, header, rows[1:])
    texts = {name: [row[i] for row in rows[1:] if i < len(row)] for name, i in positions.items()}
    as_text = set(find_texts(list(positions)))
    candidates = {name: cells for name, cells in texts.items() if name not in as_text}
    decimal = text_format.decimal
    if decimal is None:
        decimal = find_decimal_mark(candidates.values())
        if decimal == "comma":
            assumptions.append("numbers have decimal commas (--decimal)")
    numbers = {name for name, cells in candidates.items() if is_number_column(cells, decimal)}
    return _Layout(
        delimiter,
        decimal,
        encoding,
        header,
        positions,
        frozenset(numbers),
        has_quotes,
        tuple(assumptions),
    )


def _has_valid_quotes(path: Path, encoding: str) -> bool:
    """Whether quotes enclose cells; programs that write tabs often write texts as they are."""
    with open_text(path, encoding) as file:
        try:
            for _ in _rows(file, "\t"):
                pass
        except csv.Error:
            return False
    return True


def find_delimiter(sample: str, usual: str | None = None) -> str:
    """Find the character between cells: the one by which most rows have as many cells as the header.

    `csv.Sniffer` judges by how often characters occur, which fails for sentences with commas.

    Args:
        sample: the start of the file.
        usual: the delimiter if there is only one column.

    Example:
        >>> find_delimiter("a;label\\n1,5;cat\\n")
        ';'
    """
    scores = {}
    for delimiter in DELIMITERS:
        lengths = [len(row) for row in _sample_rows(sample, delimiter)]
        if lengths and lengths[0] > 1:
            n_equal = sum(length == lengths[0] for length in lengths)
            scores[delimiter] = (n_equal / len(lengths), delimiter == usual, lengths[0])
    return max(scores, key=scores.__getitem__) if scores else usual or ","


def _sample_rows(sample: str, delimiter: str, has_quotes: bool = True) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for _, texts in _rows(io.StringIO(sample, newline=""), delimiter, has_quotes):
            rows.append(texts)
            if len(rows) > N_SAMPLED:
                return rows
    except csv.Error:
        # The sample may end inside a quoted cell; other errors come again when all is read.
        return rows
    # The last row may be cut off.
    return rows[:-1] if len(sample) == _SAMPLE_CHARACTERS and len(rows) > 1 else rows


def _rows(
    file: Iterable[str], delimiter: str, has_quotes: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the number of its last line."""
    csv.field_size_limit(_MAX_CELL_LENGTH)
    # strict: raise on malformed quotes instead of guessing.
    if has_quotes:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
    else:
        reader = csv.reader(file, delimiter=delimiter, strict=True, quoting=csv.QUOTE_NONE)
    try:
        for texts in reader:
            if any(text.strip() for text in texts):
                # Cells may contain line breaks, so this is not the number of the row.
                yield reader.line_num, texts
    except csv.Error as error:
        raise csv.Error(f"{error}, line {reader.line_num}") from error


@contextmanager
def _csv_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise DatasetError(
            f"{path} is not CSV ({error}); save it as CSV again, with quotes inside of quotes doubled"
        ) from error


def _positions(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, int]:
    """Position of each column, without those that have neither a name nor text."""
    positions: dict[str, int] = {}
    for index, name in enumerate(header):
        if not name and not any(row[index].strip() for row in rows if index < len(row)):
            continue
        if name in positions:
            raise DatasetError(
                f"{path} has two columns called {name!r}; every column needs its own name"
            )
        positions[name] = index
    return positions


def _add_row(cells: _Cells, layout: _Layout, row: int, line: int, texts: list[str]) -> None:
    cells.lines.append(line)
    n_columns = len(layout.header)
    # Spreadsheets end rows with empty cells, or leave these out.
    while len(texts) > n_columns and not texts[-1].strip():
        texts.pop()
    last = max(layout.positions.values())
    is_complete = last < len(texts) <= n_columns
    if not is_complete:
        reason = f"has {len(texts)} cells for {n_columns} columns"
        cells.problems.append(ItemProblem(row, f"line {line}", reason))
    for name, position in layout.positions.items():
        text = texts[position] if is_complete else ""
        values = cells.columns[name]
        if isinstance(values, list):
            values.append(text)
            continue
        try:
            values.append(parse_number(text, layout.decimal))
        except ValueError:
            values.append(float("nan"))
            if len(cells.invalid) < _MAX_INVALID_CELLS:
                cells.invalid[row, name] = text
