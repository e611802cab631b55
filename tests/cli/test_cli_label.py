"""`graphfew label`: tables and folders in, a table of labels out, and one-line errors."""

import csv
import importlib
import importlib.util
import json
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from test_cli import assert_error, call

import graphfew as gf

__all__ = ["call"]
pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = ("nought", "one", "two", "three")


def digits(labels=3, each=30):
    """Pixels `[n, 64]` of four digits, their names, and the few given labels."""
    x, y = load_digits(return_X_y=True)
    items = np.concatenate([np.flatnonzero(y == c)[:each] for c in range(4)])
    truth = [CLASSES[c] for c in y[items]]
    given = [name if i % each < labels else "" for i, name in enumerate(truth)]
    return x[items], truth, given


def write_csv(path, x, labels, names=None):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [*(["id"] if names else []), *(f"f{i}" for i in range(x.shape[1])), "label"]
        )
        for i, (row, label) in enumerate(zip(x.tolist(), labels, strict=True)):
            writer.writerow([*([names[i]] if names else []), *row, label])
    return path


def write_images(folder, x, labels, size=(8, 8)):
    for i, (row, label) in enumerate(zip(x, labels, strict=True)):
        place = folder / (label or "unlabeled")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((row.reshape(8, 8) * 15).astype(np.uint8)).resize(size).save(
            place / f"{i:03d}.png"
        )
    return folder


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def accuracy(rows, truth):
    """Accuracy over the labels that were not given."""
    new = [
        (row["label"], name)
        for row, name in zip(rows, truth, strict=True)
        if row["given"] == "false"
    ]
    return sum(a == b for a, b in new) / len(new)


def test_table(call, tmp_path):
    x, truth, given = digits()
    source = write_csv(tmp_path / "items.csv", x, given, [f"item {i}" for i in range(len(x))])
    code, out, err = call("label", source, "--out", tmp_path / "labels.csv", "--id-column", "id")
    assert (code, err) == (0, "")
    assert "120 items of 4 classes: 12 labels were given, 108 predicted, 0 unknown." in out
    rows = read(tmp_path / "labels.csv")
    assert [row["item"] for row in rows] == [f"item {i}" for i in range(120)]
    assert [row["given"] for row in rows] == ["true" if label else "false" for label in given]
    assert all(row["label"] == label for row, label in zip(rows, given, strict=True) if label)
    assert accuracy(rows, truth) > 0.9
    for row in rows:
        assert 0 <= float(row["confidence"]) <= 1
        assert -1 <= float(row["similarity"]) <= 1
        assert row["second_label"] in ("", *CLASSES)
        assert row["second_label"] != row["label"]


def test_table_matches_the_classifier(call, tmp_path):
    x, _, given = digits()
    call(
        "label",
        write_csv(tmp_path / "items.csv", x, given),
        "--out",
        tmp_path / "labels.csv",
        "--method",
        "label_spreading",
        "--set",
        "alpha=0.5",
    )
    fitted = gf.FewShotClassifier("label_spreading", arguments={"alpha": 0.5}).fit(
        x, [name or None for name in given]
    )
    rows = read(tmp_path / "labels.csv")
    assert [row["label"] for row in rows] == fitted.transduction_.tolist()
    assert [float(row["confidence"]) for row in rows] == pytest.approx(
        fitted.label_distributions_.max(1), abs=1e-6
    )
    assert [float(row["similarity"]) for row in rows] == pytest.approx(
        fitted.similarity(x)[np.arange(120), fitted.label_distributions_.argmax(1)], abs=1e-6
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("words", [True, False])
def test_arrays(call, tmp_path, dtype, words):
    x, truth, given = digits()
    y = (
        np.array(given)
        if words
        else np.array([CLASSES.index(name) if name else -1 for name in given])
    )
    np.savez(tmp_path / "items.npz", features=x.astype(dtype), intents=y)
    code, _, err = call(
        "label",
        tmp_path / "items.npz",
        "--out",
        tmp_path / "labels.csv",
        "--features-key",
        "features",
        "--label-key",
        "intents",
    )
    assert (code, err) == (0, "")
    names = truth if words else [str(CLASSES.index(name)) for name in truth]
    assert accuracy(read(tmp_path / "labels.csv"), names) > 0.9


def test_folder_of_images_with_picture(call, tmp_path):
    x, truth, given = digits()
    source = write_images(tmp_path / "images", x, given)
    (source / "notes.txt").write_text("no image")
    picture = tmp_path / "items.png"
    code, out, err = call(
        "label",
        source,
        "--encoder",
        "pixels",
        "--out",
        tmp_path / "labels.csv",
        "--picture",
        picture,
    )
    assert (code, err) == (0, "")
    assert "1 files are no images and were skipped" in out
    rows = read(tmp_path / "labels.csv")
    assert accuracy(rows, [truth[int(row["item"].split("/")[1][:3])] for row in rows]) > 0.9
    with Image.open(picture) as drawn:
        assert min(drawn.size) > 500
        assert len(set(drawn.convert("L").tobytes())) > 50


def test_images_are_encoded_by_a_checkpoint(call, tmp_path):
    x, truth, given = digits()
    source = write_images(tmp_path / "images", x, given, (24, 20))
    gf.save(
        gf.create("egnn", encoder=gf.backbones.conv4(width=8, size=16), width=6), tmp_path / "model"
    )
    code, _, err = call(
        "label", source, "--checkpoint", tmp_path / "model.safetensors", "--out", tmp_path / "a.csv"
    )
    assert (code, err) == (0, "")
    rows = read(tmp_path / "a.csv")
    assert accuracy(rows, [truth[int(row["item"].split("/")[1][:3])] for row in rows]) > 0.4
    code, _, err = call(
        "label",
        source,
        "--checkpoint",
        tmp_path / "model.safetensors",
        "--method",
        "egnn",
        "--out",
        tmp_path / "b.csv",
    )
    assert (code, err) == (0, "")
    assert len(read(tmp_path / "b.csv")) == 120


@pytest.mark.parametrize(
    "wrap",
    [
        lambda encoder: gf.backbones.pca(gf.backbones.flip_tta(encoder, 0), 6),
        lambda encoder: gf.backbones.affine_tta(gf.backbones.concat([encoder, encoder]), 2),
    ],
)
def test_wrapped_encoders_determine_the_image_size(call, tmp_path, wrap):
    x, _, given = digits(6, 4)
    source = write_images(tmp_path / "images", x, given, (24, 20))
    encoder = wrap(gf.backbones.conv4(width=8, size=16))
    gf.save(gf.create("prototypical", encoder=encoder), tmp_path / "model")
    code, _, err = call(
        "label", source, "--checkpoint", tmp_path / "model.safetensors", "--out", tmp_path / "a.csv"
    )
    assert (code, err) == (0, "")
    assert_error(
        call(
            "label",
            source,
            "--checkpoint",
            tmp_path / "model.safetensors",
            "--size",
            8,
            "--out",
            tmp_path / "b.csv",
        ),
        "the checkpoint's encoder takes images of 16 pixels and --size is 8",
    )


def test_outliers_are_unknown(call, tmp_path):
    x, _, given = digits()
    x = np.concatenate([x, -x[:5]])
    call(
        "label",
        write_csv(tmp_path / "items.csv", x, [*given, *[""] * 5]),
        "--out",
        tmp_path / "labels.csv",
        "--unknown-threshold",
        "0.3",
    )
    rows = read(tmp_path / "labels.csv")
    assert [row["label"] for row in rows[120:]] == ["unknown"] * 5
    assert sum(row["label"] == "unknown" for row in rows[:120]) < 10
    assert all(row["second_label"] in CLASSES and row["confidence"] == "" for row in rows[120:])


def test_fully_labeled_tables_are_written(call, tmp_path):
    x, truth, _ = digits()
    code, out, _ = call(
        "label", write_csv(tmp_path / "items.csv", x, truth), "--out", tmp_path / "labels.csv"
    )
    assert code == 0
    assert "nothing to label" in out
    assert [row["label"] for row in read(tmp_path / "labels.csv")] == truth


def test_existing_files_are_kept_without_overwrite(call, tmp_path):
    x, _, given = digits()
    source, out = write_csv(tmp_path / "items.csv", x, given), tmp_path / "labels.csv"
    out.write_text("mine")
    assert_error(call("label", source, "--out", out), "labels.csv exists", "--overwrite")
    assert out.read_text() == "mine"
    assert call("label", source, "--out", out, "--overwrite")[0] == 0
    assert len(read(out)) == 120


def test_interrupt_leaves_no_partial_files(call, tmp_path, monkeypatch):
    x, _, given = digits()
    source = write_csv(tmp_path / "items.csv", x, given)

    def interrupted_write(table, path, suffix):
        path.write_text("item,la")
        raise KeyboardInterrupt

    monkeypatch.setattr(
        importlib.import_module("graphfew.cli.label_run"), "write_table", interrupted_write
    )
    code, _, err = call("label", source, "--out", tmp_path / "labels.csv")
    assert (code, err) == (130, "Stopped; nothing was written.\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.csv"]


TABLES = {
    "no column of labels": ("a,b\n1,2\n3,4\n", ["no column 'label'", "a, b", "--label-column"]),
    "text": ("a,b,label\n1,2,x\n3,four,y\n", ["line 3", "'b' is text, 'four'"]),
    "an empty feature": ("a,b,label\n1,2,x\n3,,y\n", ["line 3", "'b' is empty"]),
    "nan": ("a,b,label\n1,2,x\n3,nan,y\n", ["line 3", "'b' is nan"]),
    "no labels": ("a,b,label\n1,2,\n3,1,\n", ["none of the 2 items has a label"]),
    "one class": ("a,b,label\n1,2,x\n3,1,\n", ["all labeled items belong to one class, 'x'"]),
    "a short row": ("a,b,label\n1,2,x\n3,y\n", ["line 3 has 2 cells for 3 columns"]),
    "no features": ("label\nx\ny\n", ["no feature columns"]),
    "nothing": ("", ["is empty", "needs a header"]),
}


@pytest.mark.parametrize(("content", "words"), TABLES.values(), ids=TABLES)
def test_invalid_tables_are_rejected(call, tmp_path, content, words):
    (tmp_path / "items.csv").write_text(content)
    assert_error(
        call("label", tmp_path / "items.csv", "--out", tmp_path / "labels.csv"), "items.csv", *words
    )
    assert not (tmp_path / "labels.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "nothing"], ["unknown method 'nothing'"]),
        (["--method", "egnn"], ["must be trained first"]),
        (["--method", "prototypical", "--checkpoint", "no"], ["no checkpoint no"]),
        (["--method", "ridge"], ["does not use unlabeled items"]),
        (["--method", "simpleshot"], ["does not use unlabeled items"]),
        (["--set", "alpha=1"], ["--set alpha: the method auto has no arguments"]),
        (["--set", "alpha"], ["key=value"]),
        (["--encoder", "conv4"], ["unknown encoder 'conv4'"]),
        (["--encoder", "tfidf"], ["has features, which need no encoder", "--text-column"]),
        (["--encoder", "hog", "--checkpoint", "no"], ["--encoder and --checkpoint are both given"]),
        (["--size", "8"], ["--size is for the encoder pixels"]),
        (["--report", "items.htm"], ["does not end in .html"]),
        (["--decimal", "dot"], ["--decimal is 'dot'; give point or comma"]),
        (["--delimiter", "::"], ["--delimiter is '::'; give one character"]),
        (["--encoding", "ansi-9"], ["unknown encoding 'ansi-9'"]),
        (["--picture", "items.svg"], ["does not end in .png"]),
        (["--checkpoint", "no"], ["there is no checkpoint no"]),
    ],
)
def test_invalid_options_are_rejected(call, tmp_path, arguments, words):
    x, _, given = digits()
    source = write_csv(tmp_path / "items.csv", x, given)
    assert_error(call("label", source, "--out", tmp_path / "labels.csv", *arguments), *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.csv"]


@pytest.mark.parametrize(
    ("source", "out", "words"),
    [
        ("nowhere.csv", "o.csv", ["there is no", "nowhere.csv"]),
        ("items.pdf", "o.csv", ["neither a folder nor"]),
        ("items.xlsx", "o.csv", ["is a spreadsheet", "save the sheet as CSV"]),
        ("items.csv", "o.json", ["does not end in .csv or .parquet or .jsonl"]),
        ("items.csv", "items.csv", ["is the source itself"]),
        ("items.csv", "items.csv/o.csv", ["cannot be written"]),
    ],
)
def test_invalid_paths_are_rejected(call, tmp_path, source, out, words):
    x, _, given = digits()
    write_csv(tmp_path / "items.csv", x, given)
    (tmp_path / "items.pdf").write_text("no table")
    (tmp_path / "items.xlsx").write_text("no table")
    assert_error(call("label", tmp_path / source, "--out", tmp_path / out), *words)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"x": np.ones((2, 2)), "y": np.array(["a", None], dtype=object)},
            ["y cannot be read", "Python objects"],
        ),
        ({"x": np.ones((4, 2))}, ["no array 'y'", "--label-key"]),
        ({"x": np.ones((4, 2)), "y": np.arange(3)}, ["shape [4, 2]", "[3]"]),
        ({"x": np.array([["a"], ["b"]]), "y": np.arange(2)}, ["expected numbers"]),
        ({"x": np.array([[1.0], [np.inf]]), "y": np.arange(2)}, ["row 1", "is inf"]),
        ({"x": np.ones((2, 2)), "y": np.array([0.5, 1.0])}, ["a label is 0.5"]),
    ],
)
def test_invalid_arrays_are_rejected(call, tmp_path, arrays, words):
    np.savez(tmp_path / "items.npz", **arrays)
    assert_error(call("label", tmp_path / "items.npz", "--out", tmp_path / "labels.csv"), *words)


def test_invalid_archives_are_rejected(call, tmp_path):
    (tmp_path / "items.npz").write_bytes(b"PK but no more")
    assert_error(
        call("label", tmp_path / "items.npz", "--out", tmp_path / "labels.csv"),
        "items.npz is not an NPZ",
        "savez",
    )
    with (tmp_path / "items.npz").open("wb") as file:
        np.save(file, np.ones(3))
    assert_error(
        call("label", tmp_path / "items.npz", "--out", tmp_path / "labels.csv"),
        "items.npz is not an NPZ",
        "savez",
    )


@pytest.fixture
def folder(tmp_path):
    x, _, given = digits(2, 4)
    return write_images(tmp_path / "images", x, given)


def broken(folder):
    (folder / "one" / "broken.png").write_text("no image")


def without_classes(folder):
    for place in CLASSES:
        for file in (folder / place).iterdir():
            file.unlink()
        (folder / place).rmdir()


def empty_class(folder):
    (folder / "four").mkdir()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (broken, ["one/broken.png is not an image", "--skip-bad"]),
        (without_classes, ["has no class folders"]),
        (empty_class, ["four has no images"]),
    ],
)
def test_invalid_folders_are_rejected(call, folder, tmp_path, damage, words):
    damage(folder)
    assert_error(
        call("label", folder, "--encoder", "pixels", "--out", tmp_path / "labels.csv"), *words
    )
    assert not (tmp_path / "labels.csv").exists()


def test_size_resizes_images(call, folder, tmp_path):
    Image.new("L", (9, 8)).save(folder / "two" / "wide.png")
    code, _, err = call(
        "label", folder, "--encoder", "pixels", "--size", "8", "--out", tmp_path / "labels.csv"
    )
    assert (code, err) == (0, "")
    assert len(read(tmp_path / "labels.csv")) == 17


def test_images_have_a_default_encoder(call, folder, tmp_path):
    code, out, err = call("label", folder, "--out", tmp_path / "labels.csv")
    assert (code, err) == (0, "")
    assert "The features are those of the encoder hog (--encoder chooses another)." in out


def test_unlabeled_folder_option(call, folder, tmp_path):
    (folder / "unlabeled").rename(folder / "rest")
    code, out, _ = call(
        "label",
        folder,
        "--encoder",
        "pixels",
        "--unlabeled-folder",
        "rest",
        "--out",
        tmp_path / "labels.csv",
    )
    assert (code, "8 labels were given, 8 predicted" in out) == (0, True)
    assert_error(
        call(
            "label",
            folder,
            "--encoder",
            "pixels",
            "--unlabeled-folder",
            "no",
            "--out",
            tmp_path / "b.csv",
        ),
        "has no folder 'no'",
        "rest",
    )


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_needs_pyarrow(call, tmp_path):
    (tmp_path / "items.parquet").write_bytes(b"PAR1")
    assert_error(
        call("label", tmp_path / "items.parquet", "--out", tmp_path / "labels.csv"),
        'pip install "graphfew[parquet]"',
    )


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
def test_parquet(call, tmp_path):
    import pyarrow
    from pyarrow import parquet

    x, truth, given = digits()
    columns = {f"f{i}": x[:, i] for i in range(64)} | {"label": [name or None for name in given]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "items.parquet")
    code, _, err = call("label", tmp_path / "items.parquet", "--out", tmp_path / "labels.csv")
    assert (code, err) == (0, "")
    assert accuracy(read(tmp_path / "labels.csv"), truth) > 0.9


@pytest.fixture
def requests(tmp_path):
    words = {"light": ("lamp", "dark", "bright"), "music": ("song", "play", "jazz")}
    rows = []
    for name, parts in words.items():
        for i, part in enumerate(parts):
            rows += [(f"{part} {other} {name}", name if i < 2 else "") for other in parts]
    path = tmp_path / "requests.csv"
    path.write_text("text;intent\n" + "\n".join(map(";".join, rows)), encoding="utf-8")
    return path


def test_texts_to_every_format_with_a_report(call, requests, tmp_path):
    out, page = tmp_path / "labels.csv", tmp_path / "page.html"
    code, text, err = call("label", requests, "--out", out, "--report", page)
    assert code == 0
    assert err == (
        f"warning: {requests}: assumed that cells are separated by semicolons (--delimiter); the labels "
        'are in the column "intent" (--label-column)\n'
    )
    assert "texts in the column text, labels in intent" in text
    assert "encoder tfidf (--encoder chooses another)" in text
    rows = read(out)
    assert [row["label"] for row in rows] == ["light"] * 9 + ["music"] * 9
    assert rows[0]["text"] == "lamp lamp light"
    assert "What to label next" in page.read_text(encoding="utf-8")
    options = ["--label-column", "intent", "--delimiter", "semicolon"]
    lines = tmp_path / "labels.jsonl"
    assert call("label", requests, "--out", lines, *options)[::2] == (0, "")
    records = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [record["label"] for record in records] == [row["label"] for row in rows]
    assert records[0]["given"] is True
    assert records[0]["second_label"] is None
    assert records[8]["confidence"] == pytest.approx(float(rows[8]["confidence"]), abs=1e-6)
    parquet = pytest.importorskip("pyarrow.parquet")
    assert call("label", requests, "--out", tmp_path / "labels.parquet", *options)[0] == 0
    table = parquet.read_table(tmp_path / "labels.parquet")
    assert table.to_pylist() == [pytest.approx(record) for record in records]


def test_bad_items_are_listed_and_left_out(call, folder, tmp_path):
    for name in ("cut", "empty"):
        (folder / "unlabeled" / f"{name}.png").write_bytes(b"")
    out = tmp_path / "labels.csv"
    code, _, err = call("label", folder, "--out", out)
    assert code == 2
    assert err.splitlines()[1:] == [
        "  unlabeled/cut.png is empty",
        "  unlabeled/empty.png is empty",
    ]
    assert (
        "2 items cannot be read; correct or remove them, or leave them out with --skip-bad" in err
    )
    code, text, err = call("label", folder, "--out", out, "--skip-bad")
    assert (code, err, len(read(out))) == (0, "", 16)
    assert "2 items left out, which cannot be read:\n  unlabeled/cut.png is empty\n" in text


def test_labels_may_come_from_corrections_alone(call, folder, tmp_path):
    flat, labels = tmp_path / "flat", tmp_path / "labels.jsonl"
    flat.mkdir()
    names = []
    for path in sorted(folder.glob("*/*.png")):
        path.rename(flat / path.name)
        names.append((path.name, path.parent.name))
    known = [(name, label) for name, label in names if label != "unlabeled"]
    labels.write_text("\n".join(json.dumps({"item": n, "label": c}) for n, c in known))
    out = tmp_path / "out.csv"
    assert call("label", flat, "--corrections", labels, "--out", out)[0] == 0
    assert sum(row["given"] == "true" for row in read(out)) == len(known) == 8
    labels.write_text(json.dumps({"item": known[0][0], "label": "nought"}))
    assert_error(
        call("label", flat, "--corrections", labels, "--out", out, "--overwrite"),
        "all labeled items belong to one class",
    )
    assert_error(call("label", flat, "--out", tmp_path / "b.csv"), "has no class folders")


def test_encoders_of_another_kind_are_rejected(call, folder, requests, tmp_path):
    out = tmp_path / "labels.csv"
    assert_error(call("label", folder, "--encoder", "tfidf", "--out", out), "takes text", "image")
    code, _, err = call("label", requests, "--encoder", "hog", "--out", out)
    assert code == 2
    assert "--encoder hog takes image" in err
    assert "choose another one" in err


def test_parquet_output_needs_pyarrow(call, requests, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert_error(
        call("label", requests, "--out", tmp_path / "labels.parquet"),
        'pip install "graphfew[parquet]"',
    )
