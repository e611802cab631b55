"""Labels in a file of corrections replace given and predicted ones."""

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from graphfew.cli import app
from graphfew.data import DataWarning
from graphfew.errors import ConfigurationError, DatasetError, InvalidInputError, MissingFileError
from graphfew.labeling.corrections import CorrectionTable, correct_labels, read_corrections
from graphfew.labeling.label_sources import LabelSource

pytestmark = pytest.mark.usefixtures("unchecked", "one_thread")

ITEMS = LabelSource(("p", "q", "r", "s"), np.eye(4), "features", ("cat", "dog", None, None))


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def label(tmp_path):
    """Run the command on four items, and return its rows by item and its warnings."""
    source = tmp_path / "items.csv"
    source.write_text("id,x,y,label\np,0,1,cat\nq,1,0,dog\nr,0.1,1,\ns,1,0.1,\n")

    def run(*options):
        out = tmp_path / "labels.csv"
        arguments = ["label", source, "--id-column", "id", "--out", out, "--overwrite", *options]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.stderr
        with out.open(newline="", encoding="utf-8") as file:
            return {row["item"]: row for row in csv.DictReader(file)}, result.stderr

    return run


def test_the_command_replaces_labels(label, tmp_path):
    rows, _ = label()
    assert [row["label"] for row in rows.values()] == ["cat", "dog", "cat", "dog"]
    corrections = write(tmp_path / "corrections.csv", "item,label\nr,dog\nq,cow\n")
    rows, err = label("--corrections", corrections)
    assert err == ""
    assert [rows[name]["label"] for name in "pqr"] == ["cat", "cow", "dog"]
    assert [rows[name]["given"] for name in "pqrs"] == ["true", "true", "true", "false"]


def test_the_written_table_can_be_corrected_and_given_back(label, tmp_path):
    label()
    table = tmp_path / "labels.csv"
    lines = table.read_text().splitlines()
    lines[3] = "r,dog,,,,,true"
    write(table, "\n".join(lines))
    rows, err = label("--corrections", table)
    assert [rows[name]["label"] for name in "pqr"] == ["cat", "dog", "dog"]
    assert err == (
        f"warning: {table}: 1 rows are no corrections, as given is not true; set it to true where "
        "you corrected a label\n"
    )


def test_names_and_marks_are_read_as_in_the_items():
    with pytest.warns(DataWarning, match='"cat" and " cat" differ only in blanks'):
        assert correct_labels(ITEMS, CorrectionTable({"r": " cat"})).labels == (
            "cat",
            "dog",
            "cat",
            None,
        )
    with pytest.warns(DataWarning, match="1 of 2 corrections have no label and change nothing"):
        corrected = correct_labels(ITEMS, CorrectionTable({"p": "unlabeled", "r": "cow "}))
    assert corrected.labels == ("cat", "dog", "cow", None)
    assert correct_labels(ITEMS, CorrectionTable({"r": "NA"}), unlabeled_marks=()).labels[2] == "NA"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\np,cat\n", "has no column 'item'"),
        ("item,class\np,cat\n", "has no column 'label'"),
        ("", "is empty"),
        ("item,label\np,cat\np,dog\n", "line 3: item 'p' has the labels 'cat' and 'dog'"),
        ('item,label\np,"cat\n', "is not CSV"),
    ],
)
def test_invalid_files_are_rejected(text, message, tmp_path):
    with pytest.raises(DatasetError, match=message):
        read_corrections(write(tmp_path / "corrections.csv", text))


def test_files_of_another_encoding_or_place_are_rejected(tmp_path):
    path = tmp_path / "corrections.csv"
    with pytest.raises(MissingFileError, match="there is no"):
        read_corrections(path)
    path.write_bytes(b"\x89PNG\0\0\0")
    with pytest.raises(DatasetError, match="is not text"):
        read_corrections(path)
    with pytest.raises(ConfigurationError, match=r"is neither .* nor one of \.csv"):
        read_corrections(write(tmp_path / "corrections.doc", ""))


def test_corrections_are_read_as_spreadsheets_save_them(tmp_path):
    path = tmp_path / "corrections.csv"
    path.write_bytes("item;label;given\np;caf\u00e9;WAHR\nq;caf\u00e9;TRUE\n".encode("cp1252"))
    with pytest.warns(DataWarning) as caught:
        assert read_corrections(path).labels == {"p": "caf\u00e9", "q": "caf\u00e9"}
    assert "Windows-1252" in str(caught[0].message)
    assert "semicolons (--delimiter)" in str(caught[0].message)
    lines = ['{"item": "p", "label": "cat", "given": true}', '{"item": "q", "given": false}']
    path = write(tmp_path / "corrections.jsonl", "\n".join(lines))
    with pytest.warns(DataWarning, match="1 rows are no corrections"):
        assert read_corrections(path).labels == {"p": "cat"}


TEXTS = ("hi", "bye", "hi", "what  now?")
TABLE = "item,label,given,text\n0,greeting,true,hi\n2,other,true,hi\n3,question,true,what now?\n"


def numbered(*texts):
    names = tuple(map(str, range(len(texts))))
    return LabelSource(names, texts, "text", (None,) * len(texts), "a.csv", is_numbered=True)


def test_corrections_follow_texts_whose_row_numbers_changed(tmp_path):
    corrections = read_corrections(write(tmp_path / "corrections.csv", TABLE))
    same = correct_labels(numbered(*TEXTS), corrections)
    assert same.labels == ("greeting", None, "other", "question")
    with pytest.warns(DataWarning, match="2 corrections are in other rows than before"):
        moved = correct_labels(numbered("what now?", "new", "hi", "hi"), corrections)
    assert moved.labels == ("question", None, "other", "greeting")
    with pytest.raises(InvalidInputError, match="'2' is for the text 'hi', which"):
        correct_labels(numbered("hi", "bye", "what now?"), corrections)


def test_corrections_of_named_texts_keep_their_item(tmp_path):
    corrections = read_corrections(write(tmp_path / "corrections.csv", TABLE))
    items = LabelSource(("3", "2", "0"), ("typo", "hi", "hi"), "text", (None,) * 3)
    assert correct_labels(items, corrections).labels == ("question", "other", "greeting")


def test_corrections_of_unknown_items_are_rejected():
    with pytest.raises(InvalidInputError, match="the correction of item 'z' fits 0 items"):
        correct_labels(ITEMS, CorrectionTable({"z": "cat"}))
    twice = LabelSource(("p", "q", "p"), np.eye(3), "features", ("cat", "dog", None))
    with pytest.raises(InvalidInputError, match="item 'p' fits 2 items"):
        correct_labels(twice, CorrectionTable({"p": "dog"}))
