"""miniImageNet, tieredImageNet, CUB and folders of one's own: small files in every form that people have."""

import io
import os
import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import graphfew as gf
from graphfew.data import class_folders, cub, mini_imagenet, tiered_imagenet
from graphfew.runs.build import load_split

RNG = np.random.default_rng(0)
# two classes of three images, [class, image, h, w, 3]
PIXELS = RNG.integers(0, 256, (2, 3, 84, 84, 3), np.uint8)
FLAT = PIXELS.reshape(6, 84, 84, 3)
WANTED = torch.from_numpy(FLAT.transpose(0, 3, 1, 2).copy())
SYNSETS = ["n01", "n02"]


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def dump(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol))


def write_folders(root, split="train"):
    for c, name in enumerate(SYNSETS):
        (root / split / name).mkdir(parents=True)
        for i in range(3):
            (root / split / name / f"{i}.png").write_bytes(png(PIXELS[c, i]))


def write_csv(root, split="train"):
    (root / "images").mkdir()
    lines = [
        (f"{name}{i}.png", name, PIXELS[c, i]) for c, name in enumerate(SYNSETS) for i in range(3)
    ]
    for name, _, pixels in lines:
        (root / "images" / name).write_bytes(png(pixels))
    (root / f"{split}.csv").write_text(
        "filename,label\n" + "".join(f"{name},{label}\n" for name, label, _ in lines)
    )


def by_index(root):
    content = {"image_data": FLAT, "class_dict": {"n02": [3, 4, 5], "n01": [0, 1, 2]}}
    dump(root / "mini-imagenet-cache-train.pkl", content)


def by_index_bytes(root):
    content = {b"image_data": FLAT, b"class_dict": {b"n02": [3, 4, 5], b"n01": [0, 1, 2]}}
    dump(root / "mini-imagenet-cache-train.pkl", content, 4)


def by_class(root):
    """EGNN's: floating images in lists, classes are numbers."""
    dump(
        root / "mini_imagenet_train.pickle",
        {c: [image.astype("float32") for image in PIXELS[c]] for c in (1, 0)},
    )


def by_class_arrays(root):
    dump(root / "mini_imagenet_train.pickle", {"n02": PIXELS[1], "n01": PIXELS[0]}, 5)


def by_label(root):
    dump(
        root / "miniImageNet_category_split_train_phase_train.pickle",
        {"data": FLAT, "labels": [7, 7, 7, 9, 9, 9], "catname2label": {"n01": 7, "n02": 9}},
    )


def by_label_only(root):
    dump(root / "mini_imagenet_train.pickle", {"data": list(FLAT), "labels": [7, 7, 7, 9, 9, 9]}, 3)


NUMBERED, COUNTED = ("0", "1"), ("7", "9")
FORMS = {
    write_folders: SYNSETS,
    write_csv: SYNSETS,
    by_index: SYNSETS,
    by_index_bytes: SYNSETS,
    by_class: NUMBERED,
    by_class_arrays: SYNSETS,
    by_label: SYNSETS,
    by_label_only: COUNTED,
}


@pytest.mark.parametrize("write", FORMS, ids=lambda write: write.__name__)
def test_every_format_of_mini_imagenet_returns_the_same_images(tmp_path, write):
    write(tmp_path)
    data = mini_imagenet(tmp_path, progress=False)
    assert (data.name, data.split, data.classes) == ("mini-imagenet", "train", tuple(FORMS[write]))
    assert torch.equal(data.x, WANTED)
    assert data.y.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("write", FORMS, ids=lambda write: write.__name__)
def test_other_sizes_are_stretched(tmp_path, write):
    write(tmp_path)
    data = mini_imagenet(tmp_path, size=28, progress=False)
    wanted = [
        np.asarray(Image.fromarray(p).resize((28, 28), Image.Resampling.LANCZOS)) for p in FLAT
    ]
    assert torch.equal(data.x, torch.from_numpy(np.stack(wanted).transpose(0, 3, 1, 2).copy()))


def test_items_keep_the_order_of_the_file(tmp_path):
    order = [3, 0, 4, 1, 2, 5]
    dump(
        tmp_path / "mini-imagenet-cache-val.pkl",
        {"image_data": FLAT[order], "class_dict": {"n01": [1, 3, 4], "n02": [0, 2, 5]}},
    )
    data = mini_imagenet(tmp_path, "val")
    assert data.y.tolist() == [1, 0, 1, 0, 0, 1]
    assert torch.equal(data.x, WANTED[order])


def test_formats_are_tried_in_order(tmp_path):
    dump(
        tmp_path / "miniImageNet_category_split_train_phase_train.pickle",
        {"data": FLAT, "labels": [0] * 3 + [1] * 3},
    )
    by_index(tmp_path)
    assert mini_imagenet(tmp_path).classes == ("n01", "n02")


def test_code_in_a_pickle_is_rejected(tmp_path):
    class Executing:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "came"),)

    dump(tmp_path / "mini-imagenet-cache-train.pkl", {"image_data": Executing(), "class_dict": {}})
    with pytest.raises(
        ValueError, match=r"mini-imagenet-cache-train\.pkl cannot be read .*mkdir, which is refused"
    ):
        mini_imagenet(tmp_path)
    assert not (tmp_path / "came").exists()


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {},
        {"image_data": FLAT, "class_dict": {"n01": [99]}},
        {"data": FLAT, "labels": [1, 2]},
        {"a": 3, "b": 4},
        {"data": FLAT[..., 0], "labels": [1] * 3 + [2] * 3},
        {"data": FLAT / 255, "labels": [1] * 3 + [2] * 3},
        {"image_data": FLAT, "class_dict": [1]},
        {"n01": PIXELS[0], "n02": [None]},
        {"data": None, "labels": [1]},
        {"data": FLAT.astype(np.int32) - 1, "labels": [1] * 3 + [2] * 3},
    ],
)
def test_a_pickle_with_another_layout_is_reported(tmp_path, content):
    dump(tmp_path / "mini_imagenet_test.pickle", content)
    with pytest.raises(
        ValueError, match=r"mini_imagenet_test\.pickle (holds no images|cannot be used)"
    ):
        mini_imagenet(tmp_path, "test", progress=False)


def test_an_invalid_csv_list_is_reported(tmp_path):
    write_csv(tmp_path)
    (tmp_path / "images" / "n011.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lacks 1 of the 6 images of train\.csv, the first is n011\.png"
    ):
        mini_imagenet(tmp_path)
    (tmp_path / "train.csv").write_text("name,label\na,b\n")
    with pytest.raises(ValueError, match="with the columns filename and label"):
        mini_imagenet(tmp_path)


def write_tiered(root, write_images):
    write_images(root)
    dump(
        root / "val_labels.pkl",
        {
            "label_specific": np.array([4, 4, 4, 2, 2, 2]),
            "label_general": np.array([1, 1, 1, 0, 0, 0]),
            "label_specific_str": ["x", "x", "crane", "x", "crane, bird"],
            "label_general_str": ["machine", "bird"],
        },
    )


def as_png(root):
    dump(root / "val_images_png.pkl", [np.frombuffer(png(p), np.uint8)[:, None] for p in FLAT])


def as_bytes(root):
    dump(root / "val_images_png.pkl", [png(p) for p in FLAT], 4)


def as_npz(root):
    np.savez(root / "val_images.npz", images=FLAT[..., ::-1])


@pytest.mark.parametrize("write", [as_png, as_bytes, as_npz])
def test_every_format_of_tiered_imagenet_returns_the_same_images(tmp_path, write):
    write_tiered(tmp_path, write)
    data = tiered_imagenet(tmp_path, "val", progress=False)
    assert (data.name, data.classes, data.groups) == (
        "tiered-imagenet",
        ("crane", "crane, bird"),
        ("machine", "bird"),
    )
    assert torch.equal(data.x, WANTED)
    assert data.y.tolist() == [1, 1, 1, 0, 0, 0]


def test_class_folders_of_tiered_imagenet_have_no_groups(tmp_path):
    write_folders(tmp_path, "test")
    data = tiered_imagenet(tmp_path, "test", progress=False)
    assert (data.classes, data.groups) == (("n01", "n02"), ())
    assert torch.equal(data.x, WANTED)


def test_repeated_class_names_get_their_number_appended(tmp_path):
    write_tiered(tmp_path, as_npz)
    labels = pickle.loads((tmp_path / "val_labels.pkl").read_bytes())
    dump(tmp_path / "val_labels.pkl", {**labels, "label_specific_str": ["crane"] * 5})
    assert tiered_imagenet(tmp_path, "val").classes == ("crane (2)", "crane (4)")


def test_damaged_files_of_tiered_imagenet_are_reported(tmp_path):
    write_tiered(tmp_path, as_png)
    dump(tmp_path / "val_images_png.pkl", [b"no image"] * 6)
    with pytest.raises(ValueError, match=r"val_images_png\.pkl cannot be used"):
        tiered_imagenet(tmp_path, "val", progress=False)
    dump(tmp_path / "val_images_png.pkl", [10**13] * 6)
    with pytest.raises(ValueError, match="an encoded image is a int"):
        tiered_imagenet(tmp_path, "val", progress=False)
    dump(tmp_path / "val_images_png.pkl", [b"no image"] * 5)
    with pytest.raises(ValueError, match=r"val_labels\.pkl does not fit .*5 images and 6 labels"):
        tiered_imagenet(tmp_path, "val")
    dump(tmp_path / "val_labels.pkl", {"label_specific": np.arange(6)})
    with pytest.raises(ValueError, match=r"val_labels\.pkl does not fit"):
        tiered_imagenet(tmp_path, "val")
    (tmp_path / "val_images_png.pkl").unlink()
    (tmp_path / "val_images.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"val_images\.npz cannot be read"):
        tiered_imagenet(tmp_path, "val")


@pytest.mark.parametrize(
    ("loader", "words"),
    [
        (mini_imagenet, r"mini-imagenet-cache-train\.pkl.*image-net\.org"),
        (tiered_imagenet, "train_images_png.*image-"),
        (cub, "CUB_200_2011.*data.caltech.edu"),
        (class_folders, "a sub-folder of images for each class"),
    ],
)
def test_a_missing_data_set_is_reported_with_its_source(loader, words, tmp_path, monkeypatch):
    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=f"no root was given; .*{words}"):
        loader()
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        loader(tmp_path / "nowhere")
    if loader is not class_folders:
        with pytest.raises(FileNotFoundError, match=f"has no .*{words}"):
            loader(tmp_path)
        with pytest.raises(ValueError, match="has no split 'dev'; known: train, val, test"):
            loader(tmp_path, "dev")
    with pytest.raises(ValueError, match="size is 0"):
        loader(tmp_path, size=0)


def write_birds(images, count=200, side=20):
    for number in range(count):
        folder = images / f"{number + 1:03d}.Bird"
        folder.mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (side + 5, side), (number, i, 0)).save(folder / f"{i}.png")


@pytest.mark.parametrize("below", ["CUB_200_2011/images", "images", "."])
def test_cub_classes_are_split_by_index(tmp_path, below):
    write_birds(tmp_path / below)
    parts = {
        split: cub(tmp_path, split, size=8, progress=False) for split in ("train", "val", "test")
    }
    numbers = {split: [int(name[:3]) - 1 for name in data.classes] for split, data in parts.items()}
    assert numbers == {
        "train": [*range(0, 200, 2)],
        "val": [*range(1, 200, 4)],
        "test": [*range(3, 200, 4)],
    }
    assert parts["val"].x.shape == (100, 3, 8, 8)
    assert parts["test"].x[:, 0, 0, 0].tolist() == [n for n in range(3, 200, 4) for _ in range(2)]


def test_another_number_of_cub_classes_is_rejected(tmp_path):
    write_birds(tmp_path / "images", 199)
    with pytest.raises(ValueError, match="has 199 class folders, expected 200"):
        cub(tmp_path)


def test_class_folders(tmp_path, monkeypatch):
    own = tmp_path / "own"
    write_folders(own, "a")
    (own / "a" / "beside.png").write_bytes(png(PIXELS[0, 0]))
    data = class_folders(own / "a", progress=False)
    assert (data.name, data.split, data.classes) == ("a", "all", ("n01", "n02"))
    assert torch.equal(data.x, WANTED)
    gray = class_folders(own, "a", size=10, channels=1, progress=False)
    assert (gray.name, gray.split, gray.x.shape) == ("own", "a", (6, 1, 10, 10))
    monkeypatch.setattr(sys.modules["graphfew.data.datasets.class_folders"], "read_images", None)
    assert torch.equal(class_folders(own, "a", progress=False).x, WANTED)
    with pytest.raises(
        FileNotFoundError, match="has no folder 'val' for the split; its folders are a"
    ):
        class_folders(own, "val")
    with pytest.raises(ValueError, match="channels is 2"):
        class_folders(own, channels=2)


def test_a_changed_image_is_decoded_again(tmp_path):
    write_folders(tmp_path)
    class_folders(tmp_path, "train", progress=False)
    file = tmp_path / "train" / "n01" / "0.png"
    file.write_bytes(png(PIXELS[1, 1]))
    os.utime(file, ns=(1, 1))
    assert torch.equal(class_folders(tmp_path, "train", progress=False).x[0], WANTED[4])
    file.write_text("no image")
    with pytest.raises(ValueError, match=r"0\.png is not an image; replace or remove it"):
        class_folders(tmp_path, "train", progress=False)


@pytest.mark.parametrize("name", ["class_folders", "mini_imagenet", "tiered_imagenet"])
def test_load_split_and_tasks(tmp_path, name):
    write_folders(tmp_path)
    data = load_split(name, "train", str(tmp_path))
    episode, _ = gf.Tasks(data, way=2, shot=1, query=2)[0]
    assert episode.x.shape == (6, 3, 84, 84)
