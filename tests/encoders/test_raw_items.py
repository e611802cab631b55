"""Texts, images and features are told apart, whatever their container."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image

from graphfew.encoders.digests import item_digest
from graphfew.encoders.raw_items import item_kind, raw_kind, to_sequence
from graphfew.errors import InvalidInputError, InvalidTypeError

TEXTS = ["turn on the light", "play jazz"]
PATHS = ["a/1.png", "b/2.JPG"]


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        (TEXTS, "text"),
        (tuple(TEXTS), "text"),
        (np.array(TEXTS), "text"),
        (np.array(TEXTS, dtype=object)[:, None], "text"),
        (pd.Series(TEXTS), "text"),
        (pd.DataFrame({"text": TEXTS}), "text"),
        (pa.array(TEXTS), "text"),
        (pa.table({"text": TEXTS}), "text"),
        ([*TEXTS, "photo.png"], "text"),
        (["", " "], "text"),
        (PATHS, "image"),
        (pd.Series(PATHS), "image"),
        ([Path("x"), Path("y")], "image"),
        ([Path("x.png"), "y.png"], "image"),
        ([Image.new("L", (2, 2))], "image"),
        (np.zeros((3, 8, 8)), "image"),
        (torch.zeros(3, 3, 8, 8), "image"),
        ([np.zeros((8, 8)), np.zeros((4, 6, 3))], "image"),
        ([[0.0, 1.0]], "features"),
        (np.zeros((3, 4)), "features"),
        ([np.zeros(4), np.zeros(4)], "features"),
        (torch.zeros(3, 4), "features"),
    ],
)
def test_kind(items, kind):
    assert item_kind(items) == kind


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([], InvalidInputError, "no items"),
        ("one text", InvalidTypeError, "the items are a str"),
        (3, InvalidTypeError, "the items are a int"),
        (["a", None, "b", float("nan")], InvalidInputError, r"2 of 4 .*\(rows 1, 3\)"),
        (pd.Series(["a", None]), InvalidInputError, r"1 of 2 .*\(rows 1\)"),
        (["a text", [0.0]], InvalidTypeError, "of type list, str"),
        (["a text", {"text": "b"}], InvalidTypeError, "of type dict, str"),
        (np.zeros(3), InvalidInputError, r"shape \(3,\)"),
        (pd.DataFrame({"a": TEXTS, "b": TEXTS}), InvalidInputError, "2 columns"),
    ],
)
def test_invalid_items(items, error, message):
    with pytest.raises(error, match=message):
        item_kind(items)


def test_missing_rows_are_counted_and_the_first_shown():
    with pytest.raises(InvalidInputError, match=r"20 of 21 .*\(rows 1, 2, 3, 4, 5, …\)"):
        to_sequence(["a", *[None] * 20])


@pytest.mark.parametrize(
    "items",
    [
        np.zeros((3, 4)),
        [[0.0, 1.0]],
        pd.DataFrame({"a": [0.0]}),
        pa.table({"a": [0.0]}),
        [],
        None,
        "text",
        np.zeros(3),
        ["text", 1],
        sys,
    ],
)
def test_other_items_are_left_to_other_checks(items):
    assert raw_kind(items) is None


def test_raw_kind_of_texts_and_images():
    assert raw_kind(TEXTS) == "text"
    assert raw_kind(np.zeros((2, 4, 4))) == "image"


def test_table_of_polars_is_one_column():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    assert to_sequence(polars.DataFrame({"text": TEXTS})) == TEXTS
    with pytest.raises(InvalidInputError, match="a table of 2 columns"):
        to_sequence(polars.DataFrame({"text": TEXTS, "other": TEXTS}))


def test_rows_of_texts_are_no_features():
    with pytest.raises(InvalidTypeError, match="of type list"):
        item_kind([[text] for text in TEXTS])


def test_closed_image_is_named(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        pass
    with pytest.raises(InvalidInputError, match="PIL image is closed"):
        item_digest(image)
