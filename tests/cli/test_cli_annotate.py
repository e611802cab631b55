"""`graphfew annotate`: errors before any work, and what it starts with."""

import contextlib
import socket

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("uvicorn", reason="the extra annotate is not installed")

from graphfew.cli import annotate_run, app
from graphfew.labeling.annotation import EventLog, LabelItems, describe_items, server
from graphfew.labeling.annotation.actions import RejectItem


def run(*arguments):
    return CliRunner().invoke(app, ["annotate", *map(str, arguments)])


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "requests.csv"
    rows = [f"{word} number {i}," for i, word in enumerate(["hello there", "good bye"] * 4)]
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def served(monkeypatch):
    """Replaces the server by a function that records what it would serve."""
    started = []

    def serve(service, opened, title, on_ready, on_error):
        started.append(service)
        on_ready("http://127.0.0.1/")

    monkeypatch.setattr(server, "serve", serve)
    return started


def assert_one_line(result, *parts):
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


def test_texts_without_labels_are_served_and_continued(texts, served):
    result = run(texts, "--port", 0)
    assert result.exit_code == 0, result.output
    assert "8 items, 0 of them labeled" in result.output
    assert served[0].items.kind == "text"
    assert served[0].items.features.shape[0] == 8
    log = texts.with_name("requests.csv.annotations.jsonl")
    assert log.is_file()
    with EventLog(log, describe_items("", served[0].items.keys)) as opened:
        opened.append("x", RejectItem(served[0].items.keys[3]))
    assert "8 items, 1 of them labeled" in run(texts, "--port", 0).output


def label_rows(path, served, n):
    """Label the first rows of a table by their first word, in a log next to the table."""
    assert run(path, "--port", 0).exit_code == 0
    items = served[-1].items
    log = path.with_name(f"{path.name}.annotations.jsonl")
    with EventLog(log, describe_items(str(path), items.keys)) as opened:
        for row in range(n):
            label = items.contents[row].split()[0]
            opened.append("me", LabelItems((items.keys[row],), label, seen=row))


def test_labels_stay_with_their_texts_if_rows_change(texts, served):
    label_rows(texts, served, 4)
    header, *rows = texts.read_text().splitlines()
    texts.write_text("\n".join([header, "a new text,", *sorted(rows[1:])]) + "\n")
    result = run(texts, "--port", 0)
    assert "8 items now, not the same ones" in result.stderr
    service = served[-1]
    items, labels = service.items, service.snapshot().state.labels
    contents = dict(zip(items.keys, items.contents, strict=True))
    # The first row was removed, and its label is not given to another text.
    present = {key: label for key, label in labels.items() if key in contents}
    assert [contents[key].split()[0] for key in present] == list(present.values())
    assert len(present) == 3
    assert items.names == tuple(map(str, range(8)))


def test_labels_stay_with_their_ids_if_texts_change(texts, served):
    texts.write_text("id,text\na,hello there\nb,good bye\nc,hello again\n")
    label_rows(texts, served, 2)
    texts.write_text("id,text\nb,good bye now\na,hello there\nc,hello again\n")
    run(texts, "--port", 0)
    assert served[-1].snapshot().state.labels == {"a": "hello", "b": "good"}


def test_log_is_checked_before_items_are_encoded(texts, served, monkeypatch):
    monkeypatch.setattr(annotate_run, "encode_source", lambda *_: pytest.fail("encoded"))
    log = texts.with_name("log.jsonl")
    with EventLog(log, describe_items("", ())):
        assert "is open in another process" in run(texts, "--port", 0, "--log", log).stderr
    assert "is a device" in run(texts, "--port", 0, "--log", "/dev/zero").stderr


def test_port_is_in_use_from_the_start(texts, served):
    with contextlib.closing(server.bind(0)) as other:
        port = other.getsockname()[1]
        assert_one_line(run(texts, "--port", port), f"port {port} cannot be used")


def test_missing_source():
    assert_one_line(run("nowhere.csv"), "there is no nowhere.csv")


def test_port_in_use(texts, served):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert_one_line(run(texts, "--port", port), f"port {port} cannot be used", "--port")
    assert served == []


def test_missing_packages(texts, monkeypatch):
    monkeypatch.setattr(annotate_run, "find_spec", lambda name: None)
    assert_one_line(run(texts), "starlette", 'pip install "graphfew[annotate]"')


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--encoder", "nothing"), "nothing"),
        (("--encoder", "hog"), "takes image"),
    ],
)
def test_wrong_encoder(texts, served, options, message):
    assert_one_line(run(texts, "--port", 0, *options), message)
    assert served == []


def test_log_that_is_no_log_is_kept(texts, served, tmp_path):
    assert_one_line(run(texts, "--port", 0, "--log", texts), "is the source itself")
    assert_one_line(run(texts, "--port", 0, "--log", tmp_path), "is a folder")
    notes = tmp_path / "notes.txt"
    notes.write_text("mine\n")
    assert_one_line(run(texts, "--port", 0, "--log", notes), "is not a log")
    assert notes.read_text() == "mine\n"


def test_names_that_repeat(texts, served):
    texts.write_text("id,text\na,hello\na,bye\nb,yes\n")
    assert_one_line(run(texts, "--id-column", "id", "--port", 0), "2 items have the name 'a'")


def test_images_outside_the_source_need_a_root(tmp_path, served):
    folder = tmp_path / "source"
    folder.mkdir()
    for index in range(3):
        pixels = np.full((40, 40, 3), 60 * index, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    table = folder / "images.csv"
    table.write_text("image\n" + "".join(f"../{index}.png\n" for index in range(3)))
    assert_one_line(run(table, "--port", 0), "3 images are outside", "--image-root")
    result = run(table, "--port", 0, "--image-root", tmp_path)
    assert result.exit_code == 0, result.output
    assert served[0].items.kind == "image"
