"""The index that pandas writes is no feature, and columns that look like ids are reported."""

import csv
import warnings

import numpy as np
import pytest
from typer.testing import CliRunner

import graphfew as gf
from graphfew.cli import app
from graphfew.data import DataWarning
from graphfew.data.table_columns import counts_rows, drop_index
from graphfew.errors import DatasetError
from graphfew.labeling.label_sources import read_source

pytestmark = pytest.mark.usefixtures("unchecked", "one_thread")

X = np.array([[0.0, 1], [0.1, 1], [0.2, 1], [1, 0], [1, 0.1], [1, 0.2], [0, 0.9], [0.9, 0]])
Y = ["a", "a", "a", "b", "b", "b", "a", "b"]
IGNORED = "is the index that pandas writes and is ignored; if it is a feature, rename it"


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas")


def frame(pandas, name, values, position=0):
    table = pandas.DataFrame(X, columns=["f", "g"])
    table.insert(position, name, values)
    return table


def caught_notes(function, *arguments, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        result = function(*arguments, **options)
    return result, [str(warning.message) for warning in caught]


INDICES = {
    "counted": np.arange(8),
    "shuffled": np.array([5, 3, 12, 7, 0, 1, 30, 2]),
    "of two tables": np.array([0, 1, 2, 3, 4, 0, 1, 2]),
    "of floats": np.arange(8.0),
}


@pytest.mark.parametrize("values", INDICES.values(), ids=INDICES)
@pytest.mark.parametrize("name", ["Unnamed: 0", "", "__index_level_0__", "Unnamed: 0.1"])
def test_the_index_is_no_feature(pandas, name, values, tmp_path):
    table = frame(pandas, name, values)
    note = f'the column "{name}" {IGNORED}'
    fitted, notes = caught_notes(gf.FewShotClassifier().fit, table, Y)
    assert (notes, fitted.feature_names_in_.tolist()) == ([note], ["f", "g"])
    expected = gf.FewShotClassifier().fit(X, Y).predict_proba(X)
    # In later tables the index has other values, or is absent.
    for later in (table, frame(pandas, name, values[::-1] + 90), table[["f", "g"]]):
        assert np.array_equal(fitted.predict_proba(later), expected)
    data, notes = caught_notes(gf.data.arrays, table, Y)
    assert (notes, tuple(data.x.shape)) == ([note], (8, 2))
    for suffix in (".csv", ".parquet"):
        path = tmp_path / f"items{suffix}"
        labeled = table.assign(label=Y)
        if suffix == ".csv":
            labeled.to_csv(path, index=False)
        else:
            pytest.importorskip("pyarrow")
            labeled.to_parquet(path, index=False)
        items, notes = caught_notes(read_source, path)
        assert np.array_equal(items.items, X)
        assert notes == [f"{path}: {note}; if it names the items, give it as --id-column"]


def test_the_command_ignores_the_index_that_to_csv_writes(pandas, tmp_path):
    source, out = tmp_path / "items.csv", tmp_path / "labels.csv"
    frame(pandas, "h", X[:, 0] * 2, 2).assign(label=[*Y[:6], "", ""]).to_csv(source)
    result = CliRunner().invoke(app, ["label", str(source), "--out", str(out)])
    assert result.exit_code == 0
    assert result.stderr == (
        f'warning: {source}: the column "" {IGNORED}; if it names the items, give it as --id-column\n'
    )
    with out.open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == Y


def test_arrow_tables_lose_the_index():
    arrow = pytest.importorskip("pyarrow")
    columns = {"__index_level_0__": np.arange(8), "f": X[:, 0], "g": X[:, 1]}
    fitted, notes = caught_notes(gf.FewShotClassifier().fit, arrow.table(columns), Y)
    assert (len(notes), fitted.feature_names_in_.tolist()) == (1, ["f", "g"])


def test_a_feature_without_a_name_is_a_feature(pandas):
    table = frame(pandas, "", X[:, 0] / 3)
    assert drop_index(table)[0] is table
    assert drop_index(frame(pandas, "", [1, 1, 0, 0] * 2))[0].shape == (8, 3)


def test_a_table_of_nothing_but_an_index_is_rejected(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(",label\n0,a\n1,b\n")
    with pytest.raises(DatasetError, match="only the index that pandas writes"):
        read_source(path)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("id", np.arange(1, 9)),
        ("x", np.arange(100, 108)),
        ("customer_id", np.array([7, 3, 9, 1, 4, 8, 20, 11])),
        ("itemId", np.array([7, 3, 9, 1, 4, 8, 20, 11])),
    ],
)
def test_ids_are_reported_and_stay_features(pandas, name, values, tmp_path):
    table = frame(pandas, name, values, 1)
    note = f'the column "{name}" numbers the rows and is used as a feature; if it is an id, '
    fitted, notes = caught_notes(gf.FewShotClassifier().fit, table, Y)
    assert (notes, fitted.n_features_in_) == ([f"{note}remove it from the items"], 3)
    data, notes = caught_notes(gf.data.arrays, table, Y)
    assert (notes, data.x.shape[1]) == ([f"{note}remove it from the items"], 3)
    source, out = tmp_path / "items.csv", tmp_path / "labels.csv"
    table.assign(label=[*Y[:6], "", ""]).to_csv(source, index=False)
    arguments = ["label", str(source), "--out", str(out), "--overwrite"]
    result = CliRunner().invoke(app, arguments)
    assert result.stderr == f"warning: {source}: {note}give --id-column={name}\n"
    assert CliRunner().invoke(app, [*arguments, f"--id-column={name}"]).stderr == ""


def test_arrays_in_files_have_ids_too(tmp_path):
    path = tmp_path / "items.npz"
    np.savez(path, x=np.column_stack([X, np.arange(8)]), y=np.array(Y))
    _, notes = caught_notes(read_source, path)
    assert notes == [
        f"{path}: column 2 of x numbers the rows and is used as a feature; if it is an id, remove it"
    ]


@pytest.mark.parametrize(
    "values",
    [
        np.full(8, 3.0),
        np.arange(8) * 2,
        np.arange(8) + 0.5,
        np.array([0, 1, 2, 3, 4, 5, 6, 8]),
        np.array([1, 2, 3]),
        np.array([0, 1, 2, 3, 4, np.nan, 6, 7]),
        np.array([0, 1, 2, 3, 4, np.inf, np.inf, 7]),
        np.array([253, 254, 255, 0, 1, 2], dtype=np.uint8),
    ],
)
def test_other_columns_do_not_number_the_rows(values, pandas):
    assert not counts_rows(values)
    table = pandas.DataFrame({"f": values, 3: values})
    unchanged, notes = drop_index(table)
    assert (unchanged is table, notes) == (True, ())
