"""Data sets from torch and torchvision: items, class names, unlabeled items and errors."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset, Subset, TensorDataset

import graphfew as gf
from graphfew.errors import InvalidInputError, InvalidTypeError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class Pairs(torch.utils.data.Dataset):
    """(item, label) of a list, as torchvision's data sets."""

    def __init__(self, pairs, classes=None):
        self.pairs = pairs
        if classes is not None:
            self.classes = classes

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(torch.zeros(2), 0)])


def convert(pairs, classes=None, **options):
    return gf.data.from_torch(Pairs(pairs, classes), progress=False, **options)


def image_folder(root):
    """Paths and labels as torchvision's `ImageFolder` lists them."""
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    samples = []
    for index, name in enumerate(classes):
        for folder, _, files in sorted(os.walk(root / name, followlinks=True)):
            found = [file for file in sorted(files) if file.lower().endswith(IMAGE_SUFFIXES)]
            samples += [(os.path.join(folder, file), index) for file in found]
    return classes, samples


def test_images_become_bytes_in_channels_first_order():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    data = convert([(Image.fromarray(pixels), 0), (Image.fromarray(pixels), 1)], ["cat", "dog"])
    assert data.x.dtype == torch.uint8
    assert torch.equal(data.x[0], torch.from_numpy(pixels).permute(2, 0, 1))
    assert (data.classes, data.y.tolist()) == (("cat", "dog"), [0, 1])
    assert torch.equal(convert([(pixels, 0), (pixels, 1)]).x, data.x)


def test_numbers_become_float32():
    for item in (
        [1, 2],
        np.array([1.0, 2.0]),
        torch.tensor([1, 2]),
        torch.tensor([1.0, 2.0]).half(),
    ):
        data = convert([(item, "b"), (item, "a")])
        assert data.x.dtype == torch.float32
        assert data.x.tolist() == [[1, 2], [1, 2]]
        assert (data.classes, data.y.tolist()) == (("a", "b"), [1, 0])


def test_sizes_and_channels_of_images():
    pairs = [(Image.new("L", (4, 6), 9), 0), (Image.new("RGB", (8, 8), (9, 9, 9)), 1)]
    data = convert(pairs, size=5, channels=3)
    assert data.x.shape == (2, 3, 5, 5)
    assert (data.x == 9).all()
    with pytest.raises(
        InvalidInputError, match=r"item 0 has shape \[1, 6, 4\] and item 1 \[3?1?, 8"
    ):
        convert([(Image.new("L", (4, 6)), 0), (Image.new("L", (8, 8)), 1)])
    assert convert(pairs[:1] + pairs[:1], channels=1).x.shape == (2, 1, 6, 4)


def test_class_names_of_a_subset_without_empty_classes():
    pairs = Pairs([(torch.zeros(2), label) for label in (0, 1, 2, 1)], ["cat", "cow", "dog"])
    data = gf.data.from_torch(Subset(pairs, [2, 3, 0][:2]), progress=False)
    assert data.classes == ("cow", "dog")
    assert data.y.tolist() == [1, 0]


def test_pair_of_tensors_is_not_copied():
    x = torch.rand(4, 2)
    data = gf.data.from_torch(TensorDataset(x, torch.tensor([3, 5, 3, 5])))
    assert data.x.data_ptr() == x.data_ptr()
    assert data.classes == ("3", "5")


def test_each_item_is_read_once_into_one_array():
    read = []

    class Counting(Pairs):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    gf.data.from_torch(Counting([(torch.zeros(2), i % 2) for i in range(5)]), progress=False)
    assert read == [0, 1, 2, 3, 4]


def test_items_without_label_are_left_out():
    pairs = [(torch.full((2,), float(i)), label) for i, label in enumerate([1, -1, 0])]
    with pytest.warns(gf.data.DataWarning, match="1 of 3 items have no label"):
        data = convert(pairs, ["cat", "dog"])
    assert data.x[:, 0].tolist() == [0, 2]
    with pytest.raises(InvalidInputError, match="none of the 2 items has a label"):
        convert([(torch.zeros(2), -1)] * 2, ["cat", "dog"])


def test_texts_are_encoded_in_chunks():
    chunks = []

    def encode(texts):
        chunks.append(len(texts))
        return np.array([[len(text), 1.0] for text in texts])

    data = convert([("a" * (i % 7), i % 2) for i in range(300)], encode=encode)
    assert chunks == [256, 44]
    assert data.x[5].tolist() == [5, 1]
    with pytest.raises(InvalidTypeError, match=r"item 0 is of type str.*pass encode="):
        convert([("text", 0), ("text", 1)])
    with pytest.raises(InvalidInputError, match=r"encode returned shape \(2,\) for 2 items"):
        convert([("a", 0), ("b", 1)], encode=lambda texts: np.zeros(2))


@pytest.mark.parametrize(
    ("dataset", "error", "words"),
    [
        (Stream(), InvalidTypeError, "iterable-style"),
        (iter([]), InvalidTypeError, "no torch Dataset"),
        ({"train": []}, InvalidTypeError, "a dict of train is no torch Dataset"),
        (Pairs([{"image": 1, "label": 0}]), InvalidTypeError, r"dict, not \(item, label\)"),
        (Pairs([]), InvalidInputError, "no items"),
        (Pairs([(torch.zeros(2), 7)], ["a", "b"]), InvalidInputError, "only 2 class names"),
        (Pairs([(torch.zeros(2), "a")], ["a", "b"]), InvalidTypeError, "must be .n. integers"),
        (Pairs([(torch.zeros(2), 0), (torch.zeros(3), 1)]), InvalidInputError, "differ in size"),
        (
            Pairs([(np.zeros(2, np.uint8), 0), (torch.zeros(2), 1)]),
            InvalidTypeError,
            "differ in dtype",
        ),
    ],
)
def test_errors(dataset, error, words):
    with pytest.raises(error, match=words):
        gf.data.from_torch(dataset, progress=False)


def test_size_needs_images():
    with pytest.raises(InvalidInputError, match="size and channels are for images of Pillow"):
        convert([(torch.zeros(2), 0), (torch.zeros(2), 1)], size=4)
    with pytest.raises(InvalidInputError, match="channels is 2"):
        convert([], channels=2)


def test_class_folders_reads_what_image_folder_reads(tmp_path):
    for k, file in enumerate(
        ["dog/b.png", "dog/deep/a.png", "cat/2.PNG", "cat/1.jpg", "unknown/x.bmp"]
    ):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3), (40 * k, 0, 0)).save(path)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    classes, samples = image_folder(tmp_path)
    data = gf.data.class_folders(tmp_path, size=3, channels=3, progress=False, unlabeled_marks=())
    assert data.classes == tuple(classes)
    assert sorted(data.y.tolist()) == sorted(label for _, label in samples)
    # An `ImageFolder` itself is a torch Dataset.
    pairs = [(Image.open(path), label) for path, label in samples]
    converted = convert(pairs, classes)
    for label in range(len(classes)):
        ours = {tuple(x.flatten().tolist()) for x in data.x[data.y == label]}
        theirs = {tuple(x.flatten().tolist()) for x in converted.x[converted.y == label]}
        assert ours == theirs
