"""Unknown labels and class names: the classifier, the command and `arrays` read them alike."""

import csv
import inspect
import re
import warnings

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import graphfew as gf
from graphfew._utils.data_warning import warn_data
from graphfew.cli import app
from graphfew.data import DataWarning
from graphfew.data.class_names import merge_spellings
from graphfew.data.io.image_folder import list_images
from graphfew.data.label_values import label_values
from graphfew.data.labels import resolve_labels
from graphfew.errors import DatasetError, InvalidInputError, InvalidTypeError

pytestmark = pytest.mark.usefixtures("unchecked", "one_thread")

# Two groups, and two more items, one near each.
X = np.array([[0.0, 1], [0.1, 1], [0.2, 1], [1, 0], [1, 0.1], [1, 0.2], [0, 0.9], [0.9, 0]])


def two_classes(first, second, mark):
    """Three labels of each of two classes, and a mark for the last two items."""
    return [first, first, first, second, second, second, mark, mark]


def by_classifier(y, **options):
    """Classes that the classifier finds, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        fitted = gf.FewShotClassifier("label_spreading", **options).fit(X, y)
    return [str(name) for name in fitted.classes_.tolist()], [str(w.message) for w in caught]


def by_arrays(y, **options):
    """Classes of the data set, and its warnings except those about items that are left out."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        data = gf.data.arrays(X, y, **options)
    notes = [str(w.message) for w in caught]
    left_out = [note for note in notes if "are left out" in note]
    n_left_out = len(X) - len(data)
    assert [int(note.split()[0]) for note in left_out] == [n_left_out] * bool(n_left_out)
    return list(data.classes), [note for note in notes if note not in left_out]


def by_command(y, folder, *options):
    """Classes with a given label in the table that the command writes, and its warnings."""
    source, out = folder / "items.csv", folder / "labels.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "label"])
        writer.writerows([*row, label] for row, label in zip(X.tolist(), y, strict=True))
    arguments = [
        "label",
        str(source),
        "--out",
        str(out),
        "--overwrite",
        "--method",
        "label_spreading",
    ]
    result = CliRunner().invoke(app, [*arguments, *options])
    assert result.exit_code == 0, result.stderr
    with out.open(newline="", encoding="utf-8") as file:
        given = {row["label"] for row in csv.DictReader(file) if row["given"] == "true"}
    return sorted(given), [line.removeprefix("warning: ") for line in result.stderr.splitlines()]


def as_cells(y):
    """Labels as a table holds them: missing ones are empty."""
    values = label_values(y)
    pairs = zip(values.values.tolist(), values.is_missing.tolist(), strict=True)
    return ["" if is_missing else str(label) for label, is_missing in pairs]


def pandas_series(values, **options):
    return pytest.importorskip("pandas").Series(values, **options)


MISSING = {
    "None in a list": lambda: two_classes("a", "b", None),
    "NaN in an array of objects": lambda: np.array(two_classes("a", "b", np.nan), dtype=object),
    "NaN in a list of text": lambda: two_classes("a", "b", np.nan),
    "NaN that NumPy wrote as text": lambda: np.array(two_classes("a", "b", np.nan)),
    "NaN among floats": lambda: np.array(two_classes(0.0, 1.0, np.nan)),
    "NaN among integers": lambda: two_classes(0, 1, np.nan),
    "None among booleans": lambda: two_classes(True, False, None),
    "masked": lambda: np.ma.array(two_classes(4, 5, 0), mask=two_classes(0, 0, 1)),
    "pandas NA": lambda: pandas_series(two_classes("a", "b", None), dtype="string"),
    "pandas integers": lambda: pandas_series(two_classes(4, 5, None), dtype="Int64"),
    "pandas NaT": lambda: np.array(
        two_classes("a", "b", pytest.importorskip("pandas").NaT), dtype=object
    ),
    "categorical": lambda: pytest.importorskip("pandas").Categorical(two_classes("a", "b", None)),
    "Arrow null": lambda: pytest.importorskip("pyarrow").array(two_classes("a", "b", None)),
    "Arrow integers": lambda: pytest.importorskip("pyarrow").array(two_classes(4, 5, None)),
}
CLEAR_TEXTS = ("-1", "-1.0", "-100", "?", "N/A", "n/a", "#N/A", "<NA>", "nan", "NaN", "NaT")
CLEAR_TEXTS += ("", " ", "unlabeled", "Unlabelled", "UNLABELED", " unlabeled ")
CLEAR = {
    "-1 in a list of text": two_classes("a", "b", -1),
    "-1 that NumPy wrote as text": np.array(two_classes("a", "b", -1)),
    "-1 among objects of text": np.array(two_classes("a", "b", -1), dtype=object),
    "-1 among objects of numbers": np.array(two_classes(0, 1, -1), dtype=object),
    "-1 among booleans": two_classes(True, False, -1),
    "-1 among floats": np.array(two_classes(0.0, 1.0, -1.0)),
    "-1 among integers": np.array(two_classes(0, 1, -1)),
    "-1 among negative and other numbers": two_classes(-1, 1, None),
    "-100 among integers": np.array(two_classes(0, 1, -100)),
    **{mark: two_classes("a", "b", mark) for mark in CLEAR_TEXTS},
}
AMBIGUOUS = ("NA", "na", "None", "none", "null", "NULL", "-", "unknown", "Unknown", "UNKNOWN")


@pytest.mark.parametrize("labels", MISSING.values(), ids=MISSING)
def test_missing_labels_are_unknown(labels, tmp_path):
    y = labels()
    expected = sorted(set(as_cells(y)[:6]))
    assert by_classifier(y) == (sorted(expected), [])
    assert by_arrays(y) == (sorted(expected), [])
    assert by_command(as_cells(y), tmp_path) == (expected, [])


@pytest.mark.parametrize("y", CLEAR.values(), ids=CLEAR)
def test_usual_marks_are_unknown(y, tmp_path):
    expected = sorted({str(label) for label in list(y)[:6]})
    assert by_classifier(y) == (expected, [])
    assert by_arrays(y) == (expected, [])
    assert by_command(as_cells(y), tmp_path) == (expected, [])


@pytest.mark.parametrize("mark", AMBIGUOUS)
def test_words_that_may_be_classes_are_unknown_with_a_warning(mark, tmp_path):
    y = two_classes("a", "b", mark)
    note = f'the label "{mark}" (2 items) is taken as unknown; if it is a class, pass '
    assert by_classifier(y) == (["a", "b"], [note + "unlabeled_marks=()"])
    assert by_arrays(y) == (["a", "b"], [note + "unlabeled_marks=()"])
    assert by_command(y, tmp_path) == (["a", "b"], [note + "--unlabeled-mark=''"])


@pytest.mark.parametrize("mark", [*AMBIGUOUS, "nan", "unlabeled", "-1"])
def test_a_mark_is_a_class_if_the_user_says_so(mark, tmp_path):
    """Namibia's code is NA."""
    y, expected = two_classes("AT", "ZW", mark), sorted(["AT", "ZW", mark])
    assert by_classifier(y, unlabeled_marks=()) == (expected, [])
    assert by_arrays(y, unlabeled_marks=()) == (expected, [])
    assert by_command(y, tmp_path, "--unlabeled-mark=") == (expected, [])


def test_given_marks_replace_the_default_ones(tmp_path):
    y = ["a", "a", "NA", "NA", "b", "b", "todo", ""]
    assert by_classifier(y, unlabeled_marks="todo") == (["NA", "a", "b"], [])
    assert by_arrays(y, unlabeled_marks=["todo"]) == (["NA", "a", "b"], [])
    assert by_command(y, tmp_path, "--unlabeled-mark", "todo") == (["NA", "a", "b"], [])
    numbers = [0, 0, 9, 9, 1, 1, -1, -1]
    assert by_classifier(numbers, unlabeled_marks=[9]) == (["-1", "0", "1"], [])
    assert by_arrays(numbers, unlabeled_marks=9) == (["-1", "0", "1"], [])
    assert by_command(numbers, tmp_path, "--unlabeled-mark", "9") == (["-1", "0", "1"], [])


def test_minus_one_and_one_are_two_classes(tmp_path):
    y = [-1] * 4 + [1] * 4
    assert by_classifier(y) == (["-1", "1"], [])
    assert by_arrays(y) == (["-1", "1"], [])
    assert by_command(y, tmp_path) == (["-1", "1"], [])


@pytest.mark.parametrize(
    ("other", "mark", "suggested"),
    [
        (0, -1, "-1"),
        ("tumor", "none", '"none"'),
        ("+", "-", '"-"'),
        ("cat", "unknown", '"unknown"'),
    ],
)
def test_a_mark_is_the_second_class_if_there_is_only_one_other(other, mark, suggested, tmp_path):
    y = [other] * 4 + [mark] * 4
    shown = [label if isinstance(label, int) else f'"{label}"' for label in (mark, other)]
    note = (
        f"the label {shown[0]} (4 items) is taken as a class, next to the only other class "
        f"{shown[1]}; if it marks unlabeled items, pass "
    )
    expected = sorted(map(str, (other, mark)))
    assert by_classifier(y) == (expected, [f"{note}unlabeled_marks={suggested}"])
    assert by_arrays(y) == (expected, [f"{note}unlabeled_marks={suggested}"])
    assert by_command(y, tmp_path) == (expected, [f"{note}--unlabeled-mark={mark}"])


@pytest.mark.parametrize(
    ("y", "note"),
    [
        ([-2, -2, -1, -1, 0, 1, 2, 2], "the label -1 (2 items) is taken as unknown"),
        ([0, 0, 0, 1, 1, 1, -1, -100], "-100 (1 item)"),
        ([0, 0, 0, 1, 1, 1, -1, None], "the label -1 (1 item) is taken as unknown"),
        (["a", "b", "a", "b", "NA", "none", "?", "?"], '"NA" (1 item) and "none" (1 item) are'),
    ],
)
def test_several_readings_are_reported(y, note, tmp_path):
    cells = ["" if label is None else label for label in y]
    for _, notes in (by_classifier(y), by_arrays(y), by_command(cells, tmp_path)):
        assert len(notes) == 1
        assert note in notes[0]
        assert re.search(r"; if (it is a class|they are classes), pass .", notes[0])


def test_a_suggestion_keeps_the_other_marks():
    y = ["a", "b", "a", "b", "NA", "NA", "?", "?"]
    assert by_classifier(y)[1][0].endswith('pass unlabeled_marks="?"')
    assert by_classifier(y, unlabeled_marks="?") == (["NA", "a", "b"], [])


@pytest.mark.parametrize("y", [["a", "a", "a", 1, 1, 1, 2, 2], [0, 1, 0, 1, "b", "b", 1, 0]])
@pytest.mark.parametrize("kind", [list, lambda y: np.array(y, dtype=object)])
def test_text_and_numbers_are_no_classes_of_one_problem(y, kind):
    for read in (gf.FewShotClassifier().fit, gf.data.arrays):
        with pytest.raises(InvalidInputError, match=r"the labels mix text, such as .* and numbers"):
            read(X, kind(y))


def test_labels_that_are_no_classes_are_rejected():
    with pytest.raises(InvalidTypeError, match="a label is not text or a number"):
        resolve_labels(label_values(np.array([[1], {}, None], dtype=object)))
    with pytest.raises(InvalidInputError, match=r"y has shape \(2, 2\)"):
        resolve_labels(label_values([[0, 1], [1, 0]]))


def test_labels_that_are_all_unknown_are_rejected():
    y = ["unknown", "none"] * 4
    with pytest.raises(InvalidInputError, match=r'have 0 classes.*\(.*"none", "unknown"; set them'):
        gf.FewShotClassifier().fit(X, y)
    with pytest.raises(InvalidInputError, match=r'none of the 8 items has a label \("none"'):
        gf.data.arrays(X, y)


def test_class_names_with_blanks_or_another_unicode_form_are_one_class(tmp_path):
    for first, second in (("cat", "cat "), ("cat", "\u00a0cat"), ("caf\u00e9", "cafe\u0301")):
        y = [first, second, first, "dog", "dog", "dog", first, "dog"]
        for names, notes in (by_classifier(y), by_arrays(y), by_command(y, tmp_path)):
            assert names == [first, "dog"]
            assert len(notes) == 1
            assert f'are one class, "{first}"; if they are two, rename one' in notes[0]


def test_class_names_that_differ_otherwise_are_separate_and_reported(tmp_path):
    for first, second in (
        ("Cat", "cat"),
        ("1.0", "1"),
        ("ca t", "cat"),
        ("c\u200bat", "cat"),
        ("\uff43at", "cat"),
    ):
        y = [first, first, second, "dog", "dog", "dog", second, "dog"]
        for names, notes in (by_classifier(y), by_arrays(y), by_command(y, tmp_path)):
            assert set(names) == {first, second, "dog"}
            assert len(notes) == 1
            assert "are 2 classes; if they are one, give them the same name" in notes[0]


def test_blanks_around_all_names_stay_in_the_classifier():
    names, notes = by_classifier([" cat"] * 4 + [" dog"] * 4)
    assert (names, notes) == ([" cat", " dog"], [])


def test_invisible_characters_are_shown_as_escapes():
    notes = merge_spellings(["cat", "c\u200bat"])[1]
    assert r'"c\u200bat"' in notes[0]


def test_many_similar_names_are_one_line():
    names = [name for i in range(5) for name in (f"x{i}", f"X{i}")]
    (note,) = merge_spellings(names)[1]
    assert note.count(" are 2 classes") == 3
    assert "; and 2 more; if they are one" in note


def test_classes_called_like_splits_are_reported(tmp_path):
    y = ["train"] * 4 + ["test"] * 4
    for names, notes in (by_classifier(y), by_arrays(y), by_command(y, tmp_path)):
        assert names == ["test", "train"]
        assert notes == [
            'all classes are called like splits, "test" and "train", and are taken as classes; if '
            "they are splits, give the items of one split, with the labels of their classes"
        ]


def write_images(root, names):
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(2):
            Image.new("L", (2, 2), 40 * len(name) + i).save(root / name / f"{i}.png")
    return root


@pytest.mark.parametrize("name", ["unlabeled", "Unlabelled", "unknown", "NA"])
def test_folders_of_unlabeled_images(name, tmp_path):
    root = write_images(tmp_path / "images", ["cat", "horse", name])
    is_clear = name.lower().startswith("unlabel")
    note = f'the label "{name}" (2 items) is taken as unknown; if it is a class, pass '
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        data = gf.data.class_folders(root, size=2, channels=1, progress=False)
    assert data.classes == ("cat", "horse")
    notes = [str(warning.message) for warning in caught]
    assert notes == ([] if is_clear else [note + "unlabeled_marks=()"])
    out = tmp_path / "labels.csv"
    arguments = ["label", str(root), "--encoder", "pixels", "--out", str(out), "--overwrite"]
    result = CliRunner().invoke(app, arguments)
    assert "4 labels were given, 2 predicted" in result.stdout
    assert result.stderr == ("" if is_clear else f"warning: {note}--unlabeled-mark=''\n")
    result = CliRunner().invoke(app, [*arguments, "--unlabeled-mark="])
    assert (result.stderr, "6 items of 3 classes" in result.stdout) == ("", True)
    classes = gf.data.class_folders(root, size=2, progress=False, unlabeled_marks=()).classes
    assert set(classes) == {"cat", "horse", name}


@pytest.mark.parametrize("names", [("train", "test"), ("Train", "val", "cat"), ("train",)])
def test_splits_are_no_class_folders(names, tmp_path):
    root = write_images(tmp_path / "images", [f"{name}/{c}" for name in names for c in "ab"])
    with pytest.raises(DatasetError, match=r"has splits instead of class folders: .*; give one"):
        gf.data.class_folders(root, size=2, progress=False)
    result = CliRunner().invoke(
        app, ["label", str(root), "--encoder", "pixels", "--out", str(tmp_path / "labels.csv")]
    )
    assert (result.exit_code, "has splits instead of class folders" in result.stderr) == (2, True)
    assert gf.data.class_folders(root, names[0], size=2, progress=False).classes == ("a", "b")


def test_one_folder_called_like_a_split_is_a_class(tmp_path):
    write_images(tmp_path, ["bus", "train", "unlabeled"])
    assert set(list_images(tmp_path).labels) == {"bus", "train", None}


def test_warnings_name_the_line_of_the_caller():
    # Without the checks of types, which add frames to the stack.
    names = {"__name__": "graphfew.inner", "warn_data": inspect.unwrap(warn_data)}
    exec("def inner(): warn_data(['note'])\ndef outer(): inner()", names)
    with pytest.warns(DataWarning, match="note") as caught:
        names["outer"]()
    assert caught[0].filename == __file__


def test_further_labels_are_read_as_the_first_ones():
    classifier = gf.FewShotClassifier("label_spreading").fit(X[:6], two_classes("a", "b", 0)[:6])
    with pytest.warns(DataWarning, match='the label "none" .1 item. is taken as unknown'):
        classifier.partial_fit(X[6:], ["none", -1])
    assert classifier.transduction_.tolist() == [*"aaabbbab"]
    with pytest.warns(DataWarning, match='one class, "b"'):
        classifier.partial_fit([[2.0, 0.1]], ["b "])
    assert classifier.classes_.tolist() == ["a", "b"]
    with pytest.raises(InvalidInputError, match="mix text"):
        classifier.partial_fit([[2.0, 0.1]], [1])


def test_an_earlier_class_is_no_mark_of_further_items():
    with pytest.warns(DataWarning, match="is taken as a class"):
        classifier = gf.FewShotClassifier().fit(X[:4], ["a", "a", "none", "none"])
    classifier.partial_fit(X[4:5], ["none"])
    assert classifier.transduction_.tolist()[-1] == "none"
