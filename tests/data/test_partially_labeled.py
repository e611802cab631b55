import numpy as np
import pytest
from PIL import Image

from graphfew.data.io.image_folder import list_images
from graphfew.data.io.tabular import read_csv
from graphfew.data.partially_labeled import PartiallyLabeledItems, parse_labels
from graphfew.errors import InvalidInputError

SPELLINGS = ["", "-1", "-1.0", "unlabeled", "unlabelled", " Unlabeled "]


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_of_an_unknown_label_is_read(text, tmp_path):
    assert parse_labels(["cat", text]) == ("cat", None)
    path = tmp_path / "items.csv"
    path.write_text(f"a,label\n1,cat\n2,dog\n3,{text}\n")
    assert read_csv(path).labels == ("cat", "dog", None)


@pytest.mark.parametrize("name", ["unlabeled", "unlabelled"])
def test_both_spellings_of_the_unlabeled_folder_are_read(name, tmp_path):
    for folder in ("cat", "dog", name):
        (tmp_path / folder).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / folder / "1.png")
    assert list_images(tmp_path).labels == ("cat", "dog", None)


def test_classes_are_sorted_and_indexed():
    items = PartiallyLabeledItems(np.eye(4), ("b", None, "a", "b"), tuple("0123"))
    assert items.classes == ("a", "b")
    assert items.class_index.tolist() == [1, -1, 0, 1]


def test_two_classes_and_equal_lengths_are_required():
    with pytest.raises(InvalidInputError, match="none of the 2 items has a label"):
        PartiallyLabeledItems(np.eye(2), (None, None), ("0", "1"))
    with pytest.raises(InvalidInputError, match="belong to one class, 'a'"):
        PartiallyLabeledItems(np.eye(2), ("a", None), ("0", "1"))
    with pytest.raises(InvalidInputError, match="2 items, 1 labels and 2 names"):
        PartiallyLabeledItems(np.eye(2), ("a",), ("0", "1"))
