"""Data sets of Hugging Face's library `datasets`."""

import datasets
import numpy as np
import pytest
import torch
from datasets import ClassLabel, Features, Value
from PIL import Image

import graphfew as gf
from graphfew.errors import InvalidInputError, InvalidTypeError

NAMES = ["cat", "cow", "dog"]


def images(labels, sizes=None, **columns):
    sizes = sizes or [4] * len(labels)
    pixels = [Image.new("RGB", (size, size), (i, 0, 0)) for i, size in enumerate(sizes)]
    features = Features({"image": datasets.Image(), "label": ClassLabel(names=NAMES)})
    for column in columns:
        features[column] = ClassLabel(names=NAMES)
    content = {"image": pixels, "label": labels, **columns}
    return datasets.Dataset.from_dict(content, features=features)


def convert(dataset, **options):
    return gf.data.from_huggingface(dataset, progress=False, **options)


def test_images_and_named_classes():
    data = convert(images([2, 0, 2]), name="pets")
    assert repr(data) == (
        "Dataset('pets', split='all', 2 classes, 3 items of shape [3, 4, 4] uint8)"
    )
    assert (data.classes, data.y.tolist()) == (("cat", "dog"), [1, 0, 1])
    assert data.x[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_features_and_text_labels():
    rows = datasets.Dataset.from_dict(
        {"embedding": [[0.5, 1.0], [2.0, 3.0]], "text": ["a", "b"], "label": ["dog", "cat"]}
    )
    data = convert(rows)
    assert data.x.dtype == torch.float32
    assert data.x.tolist() == [[0.5, 1], [2, 3]]
    assert (data.classes, data.y.tolist()) == (("cat", "dog"), [1, 0])


def test_texts_need_an_encoder():
    rows = datasets.Dataset.from_dict({"text": ["a", "bb", "ccc"], "intent": ["x", "y", "x"]})
    with pytest.raises(InvalidInputError, match=r"'text' has texts: pass encode="):
        convert(rows)
    data = convert(rows, encode=lambda texts: np.array([[len(t), 0] for t in texts]))
    assert data.x[:, 0].tolist() == [1, 2, 3]


def test_unlabeled_items_are_left_out_and_not_decoded():
    rows = images([2, -1, None, 0], sizes=[4, 5, 6, 4])
    with pytest.warns(gf.data.DataWarning, match="2 of 4 items have no label"):
        data = convert(rows)
    assert data.x[:, 0, 0, 0].tolist() == [0, 3]
    with pytest.raises(InvalidInputError, match="none of the 2 items has a label"):
        convert(images([-1, -1]))


def test_images_of_several_sizes():
    rows = images([0, 2], sizes=[4, 6])
    with pytest.raises(
        InvalidInputError, match=r"shape \[3, 4, 4\] and item 1 \[3, 6, 6\]; .*size="
    ):
        convert(rows)
    assert convert(rows, size=5).x.shape == (2, 3, 5, 5)


def test_a_transform_of_the_user_is_applied():
    rows = images([0, 2])
    rows.set_transform(lambda batch: {**batch, "image": [torch.ones(3)] * len(batch["image"])})
    assert convert(rows, items="image", label="label").x.tolist() == [[1, 1, 1]] * 2


def test_ambiguous_and_missing_columns():
    rows = images([0, 2], coarse=[1, 0])
    with pytest.raises(InvalidInputError, match=r"candidates: label, coarse.*pass label="):
        convert(rows)
    assert convert(rows, label="coarse").classes == ("cat", "cow")
    with pytest.raises(InvalidInputError, match="label is 'fine', but the columns are image"):
        convert(rows, label="fine")
    with pytest.raises(InvalidInputError, match="items is 'x', but the columns are image"):
        convert(rows, label="label", items="x")
    numbers = datasets.Dataset.from_dict({"a": [[1.0]], "b": [[1.0]], "label": ["x"]})
    with pytest.raises(InvalidInputError, match=r"candidates: a, b; .*pass items="):
        convert(numbers)


def test_other_objects():
    rows = images([0, 2])
    with pytest.raises(InvalidTypeError, match=r"several splits \(train, test\)"):
        convert(datasets.DatasetDict(train=rows, test=rows))
    with pytest.raises(InvalidTypeError, match=r"streaming data set.*streaming=True"):
        convert(rows.to_iterable_dataset())
    with pytest.raises(InvalidTypeError, match="got list; pass a datasets"):
        convert([1, 2])


def test_column_of_texts_as_items():
    features = Features({"text": Value("string"), "label": ClassLabel(names=NAMES)})
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    with pytest.raises(InvalidTypeError, match="item 0 is of type str"):
        convert(rows, items="text")
