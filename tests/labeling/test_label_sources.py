"""Every kind of source, and one clear error for every wrong one."""

import gzip
import io
import json
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from graphfew.data import DataWarning
from graphfew.errors import (
    BadItemsError,
    ConfigurationError,
    DatasetError,
    InvalidInputError,
    InvalidTypeError,
    MissingDependencyError,
    MissingFileError,
)
from graphfew.labeling.label_sources import LabelSource, read_source
from graphfew.labeling.source_options import SourceOptions

pytestmark = pytest.mark.usefixtures("unchecked", "one_thread")
TEXTS, LABELS = ("hällo, you", "bye; now", "hi"), ("greet", "leave", None)
VECTORS = [[0.5, 1.0], [2.0, -3.0], [1e3, 0.0]]


def read(path, content=None, **options):
    """The source, and the warnings."""
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        source = read_source(path, SourceOptions(**options))
    return source, [str(warning.message) for warning in caught]


def table(delimiter=",", header=("text", "label")):
    rows = [header, *zip(TEXTS, [label or "" for label in LABELS], strict=True)]
    return "\r\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)


def records(**columns):
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


TEXT_FILES = {
    "csv": ("a.csv", table().encode(), None),
    "byte-order mark": ("a.csv", table().encode("utf-8-sig"), None),
    "tsv": ("a.tsv", table("\t").encode(), None),
    "compressed": ("a.csv.gz", gzip.compress(table().encode()), None),
    "semicolons": ("a.csv", table(";").encode(), "semicolons (--delimiter)"),
    "bars": ("a.CSV", table("|").encode(), "vertical bars (--delimiter)"),
    "windows": ("a.csv", table(";").encode("cp1252"), "Windows-1252, not UTF-8 (--encoding)"),
    "unicode text of Excel": ("a.txt", table("\t").encode("utf-16"), "tabs (--delimiter)"),
    "utf-16 without a mark": ("a.tsv", table("\t").encode("utf-16-le"), "UTF-16-LE (--encoding)"),
    "lines of JSON": (
        "a.jsonl",
        "\n".join(map(json.dumps, records(text=TEXTS, label=LABELS))).encode(),
        None,
    ),
    "a list of JSON": ("a.json", json.dumps(records(text=TEXTS, label=LABELS)).encode(), None),
    "compressed JSON": (
        "a.jsonl.gz",
        gzip.compress("\n".join(map(json.dumps, records(text=TEXTS, label=LABELS))).encode()),
        None,
    ),
}


@pytest.mark.parametrize(("name", "content", "note"), TEXT_FILES.values(), ids=TEXT_FILES)
def test_texts(tmp_path, name, content, note):
    source, notes = read(tmp_path / name, content)
    assert (source.kind, source.items, source.labels) == ("text", TEXTS, LABELS)
    assert source.names == ("0", "1", "2")
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]
    assert source.description == "texts in the column text, labels in label"


def test_what_is_assumed_of_columns_is_said_with_its_option(tmp_path):
    content = "uid,utterance,domain,intent\n7,hello,a,greet\n9,bye,b,leave\n12,hi,a,\n"
    source, notes = read(tmp_path / "a.csv", content)
    assert (source.items, source.names) == (("hello", "bye", "hi"), ("7", "9", "12"))
    assert source.labels == ("greet", "leave", None)
    (note,) = notes
    for part in (
        'labels are in the column "intent" (--label-column)',
        'texts are in the column "utterance" (--text-column)',
        'names of the items in "uid" (--id-column)',
        "other columns are ignored: domain",
    ):
        assert part in note
    named = {"label_column": "domain", "text_columns": ("utterance", "intent"), "id_column": "uid"}
    source, notes = read(tmp_path / "a.csv", **named)
    assert (source.items, notes) == (("hello\ngreet", "bye\nleave", "hi"), [])
    assert source.labels == ("a", "b", "a")


def test_spreadsheets_of_europe(tmp_path):
    content = (
        "größe;breite;label;;\r\n1,5;2;a;;\r\n1.234,25;-0,5;b;;\r\n,5;1e3;;;\r\n;;;;\r\n;;;;\r\n"
    )
    source, notes = read(tmp_path / "a.csv", content.encode("cp1252"))
    assert source.items.tolist() == [[1.5, 2], [1234.25, -0.5], [0.5, 1000]]
    assert source.labels == ("a", "b", None)
    assert "numbers have decimal commas (--decimal)" in notes[0]
    source, notes = read(tmp_path / "a.csv", "a,b,label\n0.5,1,x\n1.25,2,y\n")
    assert (source.items.tolist(), notes) == ([[0.5, 1], [1.25, 2]], [])


def test_decimal_mark_can_be_given(tmp_path):
    path = tmp_path / "a.csv"
    content = 'a;label\n"1,000";x\n"2,500";y\n'
    assert read(path, content)[0].items.tolist() == [[1.0], [2.5]]
    with pytest.raises(BadItemsError, match=r"is text, '1,000'"):
        read(path, decimal="point", features_columns=("a",))
    with pytest.raises(BadItemsError, match=r"line 3, column 'a' is text, '0.5'; correct"):
        read(path, "a;label\n1,5;x\n0.5;y\n2,5;x\n")


def test_quotes_of_tab_separated_texts(tmp_path):
    content = 'text\tlabel\nsay "hi\ta\n"so" he said\tb\n'
    source, notes = read(tmp_path / "a.tsv", content)
    assert source.items == ('say "hi', '"so" he said')
    assert "quotes are part of the texts" in notes[0]
    with pytest.raises(DatasetError, match=r"is not CSV .*line 3.* doubled"):
        read(tmp_path / "a.csv", content.replace("\t", ","))


VECTOR_FILES = {
    "JSON": ("a.jsonl", "\n".join(map(json.dumps, records(e=VECTORS, label=["x", "y", None])))),
    "text": ("a.csv", 'e,label\n"[0.5, 1.0]",x\n[2. -3.],y\n"[1e3, 0]",\n'),
}


@pytest.mark.parametrize(("name", "content"), VECTOR_FILES.values(), ids=VECTOR_FILES)
def test_columns_of_lists(tmp_path, name, content):
    source, notes = read(tmp_path / name, content)
    assert (source.kind, source.items.tolist(), notes) == ("features", VECTORS, [])


def frames():
    columns = {"embedding": VECTORS, "text": list(TEXTS), "label": list(LABELS)}
    yield "pandas", lambda: pytest.importorskip("pandas").DataFrame(columns)
    yield "arrow", lambda: pytest.importorskip("pyarrow").table(columns)
    yield "polars", lambda: pytest.importorskip("polars").DataFrame(columns)

    def hugging_face():
        # A stand-in with what is used of `datasets.Dataset`; labels are indices of names.
        arrow = pytest.importorskip("pyarrow")
        indexed = arrow.table({**columns, "label": [0, 1, -1]})
        names = SimpleNamespace(names=["greet", "leave"])
        arrow_format = type("Formatted", (), {"__getitem__": lambda self, rows: indexed})()
        return SimpleNamespace(features={"label": names}, with_format=lambda kind: arrow_format)

    yield "Hugging Face", hugging_face


FRAMES = dict(frames())


@pytest.mark.parametrize("build", FRAMES.values(), ids=FRAMES)
def test_frames(build):
    frame = build()
    with pytest.warns(DataWarning, match=r'features are in the column "embedding"'):
        source = read_source(frame)
    assert (source.items.tolist(), source.labels) == (VECTORS, LABELS)
    source = read_source(frame, SourceOptions(text_columns=("text",)))
    assert (source.kind, source.items, source.origin) == ("text", TEXTS, "the table")


def test_parquet_of_lists_and_of_images_in_bytes(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"e": VECTORS, "label": [1, 2, None]}), tmp_path / "a.parquet")
    source, notes = read(tmp_path / "a.parquet")
    assert (source.items.tolist(), source.labels, notes) == (VECTORS, ("1", "2", None), [])
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (9, 8, 7)).save(buffer, format="PNG")
    images = [
        {"bytes": buffer.getvalue(), "path": None},
        {"bytes": b"no", "path": None},
        {"bytes": buffer.getvalue(), "path": None},
    ]
    parquet.write_table(
        arrow.table({"image": images, "label": ["a", "b", "b"]}), tmp_path / "b.parquet"
    )
    with pytest.raises(BadItemsError, match=r"row 1, column 'image' is not an image"):
        read(tmp_path / "b.parquet")
    source, _ = read(tmp_path / "b.parquet", skip_bad=True)
    assert source.items[1].convert("RGB").getpixel((0, 0)) == (9, 8, 7)


def test_polars_and_hugging_face_need_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    frame = SimpleNamespace(to_arrow=lambda: None, columns=[])
    with pytest.raises(MissingDependencyError, match=r"pip install \"graphfew\[parquet\]\""):
        read_source(frame)


def test_other_objects_are_rejected():
    with pytest.raises((InvalidTypeError, TypeError), match=r"int|path"):
        read_source(7)


def write_images(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(folder / name)


def test_folders_and_paths_of_images(tmp_path):
    photos = tmp_path / "photos"
    write_images(photos, "a/1.png", "b/2.gif", "3.tif", "unlabeled/4.jpg")
    (photos / "notes.md").write_text("x")
    source, notes = read(photos)
    assert (source.kind, source.names) == (
        "image",
        ("3.tif", "a/1.png", "b/2.gif", "unlabeled/4.jpg"),
    )
    assert (source.labels, notes) == ((None, "a", "b", None), [])
    assert "1 files are no images" in source.description
    content = "file,label\nphotos/a/1.png,a\nphotos/b/2.gif,b\nphotos/3.tif,\n"
    source, notes = read(tmp_path / "list.csv", content)
    assert source.items == (photos / "a" / "1.png", photos / "b" / "2.gif", photos / "3.tif")
    assert (source.names[0], source.labels, notes) == ("photos/a/1.png", ("a", "b", None), [])


def test_sources_without_labels(tmp_path):
    write_images(tmp_path / "flat", "1.png", "2.png")
    source, _ = read(tmp_path / "flat", require_labels=False)
    assert source.labels == (None, None)
    source, _ = read(tmp_path / "a.csv", "text\nhello\nbye\n", require_labels=False)
    assert (source.items, source.labels) == (("hello", "bye"), (None, None))
    np.save(tmp_path / "x.npy", np.eye(2))
    assert read(tmp_path / "x.npy", require_labels=False)[0].labels == (None, None)


def test_arrays(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    np.save(tmp_path / "y.npy", np.array([0, 1, -1]))
    source, notes = read(tmp_path / "x.npy", labels_file=tmp_path / "y.npy")
    assert (source.items.tolist(), source.labels, notes) == (
        np.eye(3).tolist(),
        ("0", "1", None),
        [],
    )
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 4, 4), np.uint8), y=np.array(["a", "b", ""]))
    source, _ = read(tmp_path / "x.npz")
    assert (source.kind, source.items.shape) == ("image", (3, 4, 4))


def test_bad_items_are_reported_together_and_skipped(tmp_path):
    rows = [f"{i},x" for i in range(1000)] + [f"bad{i},y" for i in range(30)] + ["5,y", "1", "9,x"]
    content = "a,label\n" + "\n".join(rows)
    with pytest.raises(BadItemsError) as caught:
        read(tmp_path / "a.csv", content)
    lines = str(caught.value).splitlines()
    assert "31 items cannot be read" in lines[0]
    assert "--skip-bad" in lines[0]
    assert lines[1] == "  line 1002, column 'a' is text, 'bad0'"
    assert (len(lines), lines[-1]) == (22, "  … and 11 more")
    source, _ = read(tmp_path / "a.csv", skip_bad=True)
    assert (len(source), source.names[-1], len(source.problems)) == (1002, "1032", 31)


WRONG = {
    "missing": ("no.csv", None, {}, MissingFileError, "there is no"),
    "type": ("a.pdf", b"", {}, ConfigurationError, "neither a folder nor one of .csv"),
    "spreadsheet": ("a.xlsx", b"", {}, ConfigurationError, "save the sheet as CSV"),
    "empty": ("a.csv", b"", {}, DatasetError, "is empty; it needs a header"),
    "only a header": ("a.csv", b"text,label\n", {}, DatasetError, "has no"),
    "binary": ("a.csv", b"PK\x03\x04\0\0", {}, DatasetError, "is not text: it contains null bytes"),
    "not gzip": ("a.csv.gz", b"text", {}, DatasetError, "is not a gzip file"),
    "cut gzip": ("a.csv.gz", gzip.compress(table().encode())[:-9], {}, DatasetError, "damaged"),
    "no JSON": ("a.json", b"{", {}, DatasetError, "is not JSON"),
    "an object of JSON": ("a.json", b"{}", {}, DatasetError, "is not a list of objects"),
    "no records": ("a.jsonl", b"\n", {}, DatasetError, "has no records"),
    "a line of JSON": (
        "a.jsonl",
        b'{"text": "a", "label": 1}\n{"text": "b", "label": 2}\nnope',
        {},
        BadItemsError,
        "line 3 is not an object of JSON",
    ),
    "lengths": (
        "a.jsonl",
        b'{"e": [1, 2], "label": 1}\n{"e": [1, 2], "label": 2}\n{"e": [1], "label": 2}',
        {},
        BadItemsError,
        "line 3, column 'e' has 1 numbers, and most others have 2",
    ),
    "no list": (
        "a.csv",
        b"e,label\n[1 2],x\n[3 4],y\n[a],y\n",
        {},
        BadItemsError,
        "line 4, column 'e' is not a list of numbers",
    ),
    "empty text": (
        "a.csv",
        b"text,label\na,x\n ,y\nb,y",
        {},
        BadItemsError,
        "line 3, column 'text' is empty",
    ),
    "an image": (
        "a.csv",
        b"image,label\nno.png,x\n",
        {},
        BadItemsError,
        "no.png does not exist",
    ),
    "two texts": ("a.csv", b"q,r,label\na,b,x", {}, InvalidInputError, "--text-column"),
    "two images": ("a.csv", b"q,r,label\na.png,b.png,x", {}, InvalidInputError, "--image-column"),
    "two lists": ("a.csv", b"q,r,label\n[1],[2],x", {}, InvalidInputError, "--features-column"),
    "text and numbers": ("a.csv", b"n,f,label\na,2,x", {}, InvalidInputError, "--id-column"),
    "two labels": ("a.csv", b"text,class,target\na,b,x", {}, InvalidInputError, "several columns"),
    "no such column": (
        "a.csv",
        b"text,label\na,x",
        {"text_columns": ("body",)},
        InvalidInputError,
        "no column 'body'; its columns are text, label",
    ),
    "labels as texts": (
        "a.csv",
        b"text,label\na,x",
        {"text_columns": ("label",)},
        InvalidInputError,
        "has the labels or the names",
    ),
    "two kinds": (
        "a.csv",
        b"text,label\na,x",
        {"text_columns": ("text",), "image_column": "text"},
        InvalidInputError,
        "give only one of them",
    ),
    "two columns of a name": ("a.csv", b"a,a,label\n1,2,x", {}, DatasetError, "two columns called"),
    "encoding": (
        "a.csv",
        "é".encode("cp1252"),
        {"encoding": "utf-8"},
        DatasetError,
        "is not text in UTF-8",
    ),
    "one class": ("a.csv", b"text,label\na,x\nb,", {}, DatasetError, "belong to one class, 'x'"),
    "no labels of an array": ("a.npy", None, {}, InvalidInputError, "--labels"),
    "not NPY": ("a.npy", b"no", {"require_labels": False}, DatasetError, "cannot be read as NPY"),
}


@pytest.mark.parametrize(
    ("name", "content", "options", "error", "message"), WRONG.values(), ids=WRONG
)
def test_wrong_sources(tmp_path, name, content, options, error, message):
    if name == "a.npy" and content is None:
        np.save(tmp_path / name, np.eye(2))
    with pytest.raises(error) as caught:
        read(tmp_path / name, content, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_gzip_that_inflates_beyond_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("graphfew.data.io.archives.FREE_BYTES", 1000)
    content = gzip.compress(b"text,label\n" + b" " * 1_000_000)
    with pytest.raises(DatasetError, match="would inflate beyond the limit"):
        read(tmp_path / "a.csv.gz", content)


def test_folders_without_images(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(DatasetError, match=r"has no class folders|has no images"):
        read(tmp_path)
    with pytest.raises(DatasetError, match=r"has no images"):
        read(tmp_path / "a", require_labels=False)


def test_lengths_have_to_match():
    with pytest.raises(InvalidInputError, match="2 items, 1 labels and 2 names"):
        LabelSource(("0", "1"), np.eye(2), "features", ("a",))
    source = LabelSource(tuple("0123"), np.eye(4), "features", ("b", None, "a", "b"))
    assert source.classes == ("a", "b")
    assert source.class_index.tolist() == [1, -1, 0, 1]


def test_ids_of_texts_are_kept_as_they_are_written(tmp_path):
    ids = ("007", "12345678901234567890123", "3")
    rows = [f"{name},{text!r},a" for name, text in zip(ids, ("x y", "z", "w"), strict=True)]
    table = "\n".join(["id,text,label", *rows[:2], rows[2].replace(",a", ",b")]) + "\n"
    source, notes = read(tmp_path / "a.csv", table)
    assert source.names == ids
    assert not source.is_numbered
    assert "the names of the items in" in notes[0]
    # Without a column of texts, a column of numbers stays one.
    source, _ = read(tmp_path / "b.csv", "id,x,label\n7,1,a\n9,2,b\n4,3,\n")
    assert source.kind == "features"
    assert source.is_numbered


def test_ids_of_images_are_kept_as_they_are_written(tmp_path):
    rows = []
    for name, label in (("007", "a"), ("12345678901234567890123", "b"), ("3", "")):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
        rows.append(f"{name},{name}.png,{label}\n")
    source, _ = read(tmp_path / "a.csv", "id,image,label\n" + "".join(rows))
    assert source.kind == "image"
    assert source.names == ("007", "12345678901234567890123", "3")


def test_booleans_are_labels_as_text(tmp_path):
    records = [
        {"text": text, "label": label}
        for text, label in zip(TEXTS, (True, False, None), strict=True)
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    pandas = pytest.importorskip("pandas")
    tables = [path, pandas.DataFrame(records), pandas.DataFrame(records[:2])]
    tables.append(pandas.DataFrame(records).astype({"label": "boolean"}))
    for table in tables:
        source = read_source(table)
        assert source.labels[:2] == ("true", "false")
        assert not any(source.labels[2:])


def test_booleans_of_arrow_are_labels_as_text_and_features_as_numbers():
    arrow = pytest.importorskip("pyarrow")
    columns = {"text": list(TEXTS), "label": [True, False, None]}
    assert read_source(arrow.table(columns)).labels == ("true", "false", None)
    columns = {"x": [True, False, True], "label": ["a", "b", None]}
    assert read_source(arrow.table(columns)).items.tolist() == [[1.0], [0.0], [1.0]]
