"""`graphfew suggest`: items to label next, as a table that `graphfew label` takes as corrections."""

import csv

import pytest
from sklearn.datasets import load_iris
from test_cli import assert_error, call

__all__ = ["call"]
pytestmark = pytest.mark.usefixtures("one_thread")
TOPICS = {"weather": "rain snow sun wind cloud", "money": "bank loan cash coin card"}


def write_texts(path, n_labels=0):
    rows = []
    for topic, words in TOPICS.items():
        for i, word in enumerate(words.split() * 4):
            label = topic if i < n_labels else ""
            rows.append([f"{topic}-{i}", f"tell me about the {word} of the {topic} today", label])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text", "label"], *rows])
    return path


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_cold_start_finds_both_topics_and_feeds_label(tmp_path, call):
    source, out = write_texts(tmp_path / "texts.csv"), tmp_path / "next.csv"
    code, printed, _ = call("suggest", source, "-n", 4, "--out", out, "--id-column", "id")
    assert code == 0
    assert "40 items, 0 of them labeled." in printed
    rows = read(out)
    assert [*rows[0]] == ["item", "label", "text"]
    topics = [row["item"].partition("-")[0] for row in rows]
    assert len(rows) == 4
    assert {*topics} == {*TOPICS}
    assert all(row["item"] in printed for row in rows)

    with out.open("w", newline="") as file:
        labeled = [[row["item"], topic] for row, topic in zip(rows, topics, strict=True)]
        csv.writer(file).writerows([["item", "label"], *labeled])
    arguments = ["--corrections", out, "--id-column", "id"]
    _, printed, _ = call("suggest", source, "-n", 2, *arguments)
    assert "40 items, 4 of them labeled." in printed
    assert not any(f"{row['item']} " in printed for row in rows)
    _, printed, _ = call("suggest", source, "-n", 50, *arguments)
    assert "Only 36 items have no label, so no 50 can be suggested." in printed
    labels = tmp_path / "labels.csv"
    code, _, errors = call("label", source, *arguments, "--out", labels)
    assert code == 0, errors
    right = [row["label"] == row["item"].partition("-")[0] for row in read(labels)]
    assert sum(right) >= 36


def test_features_need_no_encoder_and_all_labeled_items_no_suggestion(tmp_path, call):
    x, y = load_iris(return_X_y=True)
    path = tmp_path / "iris.csv"
    with path.open("w", newline="") as file:
        header = ["a", "b", "c", "d", "label"]
        rows = [[*row, f"class {label}"] for row, label in zip(x.tolist(), y, strict=True)]
        csv.writer(file).writerows([header, *rows])
    code, printed, errors = call("suggest", path, "--out", tmp_path / "next.csv")
    assert code == 0, errors
    assert "nothing to suggest" in printed
    assert not (tmp_path / "next.csv").exists()
    assert_error(call("suggest", path, "--encoder", "tfidf"), "need no encoder")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "best"], "unknown strategy 'best'; expected one of recommended"),
        (["--out", "next.parquet"], "does not end in .csv"),
        (["--encoder", "word2vec"], "word2vec"),
        (["--corrections", "absent.csv"], "there is no absent.csv"),
        (["--encoder", "hog"], "hog takes image"),
    ],
)
def test_wrong_options_are_one_line(tmp_path, monkeypatch, call, arguments, message):
    monkeypatch.chdir(tmp_path)
    source = write_texts(tmp_path / "texts.csv")
    columns = ["--text-column", "text", "--id-column", "id", "--label-column", "label"]
    assert_error(call("suggest", source, *columns, *arguments), message)


def test_an_existing_file_is_kept(tmp_path, call):
    source, out = write_texts(tmp_path / "texts.csv"), tmp_path / "next.csv"
    out.write_text("mine")
    assert_error(call("suggest", source, "--out", out), "exists")
    assert out.read_text() == "mine"
