import pytest
from PIL import Image

from graphfew.data.io.image_folder import list_images
from graphfew.data.partially_labeled import check_labels, parse_labels
from graphfew.errors import InvalidInputError
from graphfew.labeling.label_sources import read_source

SPELLINGS = ["", "-1", "-1.0", "unlabeled", "unlabelled", " Unlabeled "]


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_of_an_unknown_label_is_read(text, tmp_path):
    assert parse_labels(["cat", text]) == ("cat", None)
    path = tmp_path / "items.csv"
    path.write_text(f"a,label\n1,cat\n2,dog\n3,{text}\n")
    assert read_source(path).labels == ("cat", "dog", None)


@pytest.mark.parametrize("name", ["unlabeled", "unlabelled"])
def test_both_spellings_of_the_unlabeled_folder_are_read(name, tmp_path):
    for folder in ("cat", "dog", name):
        (tmp_path / folder).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / folder / "1.png")
    assert list_images(tmp_path).labels == ("cat", "dog", None)


def test_two_classes_are_required():
    with pytest.raises(InvalidInputError, match="none of the 2 items has a label"):
        check_labels((None, None))
    with pytest.raises(InvalidInputError, match="belong to one class, 'a'"):
        check_labels(("a", None))
