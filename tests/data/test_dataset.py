import pickle

import numpy as np
import pytest
import torch

from graphfew.data import Dataset, DataWarning, arrays


def build(**changes):
    fields = {
        "name": "n",
        "split": "s",
        "x": torch.rand(4, 3),
        "y": torch.tensor([1, 0, 1, 0]),
        "classes": ("a", "b"),
    }
    return Dataset(**(fields | changes))


def test_members_list_the_items_of_each_class():
    members = build().members
    assert [m.tolist() for m in members] == [[1, 3], [0, 2]]


def test_group_classes_list_the_classes_of_each_group():
    data = build(
        y=torch.tensor([0, 1, 2, 1]), classes=("a", "b", "c"), groups=("late", "early", "late")
    )
    assert {g: c.tolist() for g, c in data.group_classes.items()} == {"late": [0, 2], "early": [1]}
    assert build().group_classes == {}


def test_gather_divides_bytes_exactly_as_torch_does():
    x = torch.arange(256, dtype=torch.uint8).view(64, 1, 2, 2)
    data = build(x=x, y=torch.arange(64) % 2)
    index = np.array([3, 0, 3, 63])
    assert torch.equal(data.gather(index), x[index].float() / 255)
    assert torch.equal(data.gather(torch.from_numpy(index)), data.gather(index))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_gather_returns_unscaled_float32_features(dtype):
    x = torch.tensor([[0.0], [1.0], [255.0], [-2.0]], dtype=dtype)
    out = build(x=x).gather(torch.tensor([2, 3]))
    assert out.dtype == torch.float32
    assert out.flatten().tolist() == [255.0, -2.0]


def test_gather_returns_a_copy():
    data = build(x=torch.zeros(4, 1))
    data.gather(np.arange(4)).add_(1)
    assert data.x.sum() == 0


def test_repr_is_short():
    assert repr(build()) == "Dataset('n', split='s', 2 classes, 4 items of shape [3] float32)"


def test_pickles_for_worker_processes():
    copy = pickle.loads(pickle.dumps(build(metadata={"drawer": torch.arange(4)})))
    assert copy.metadata["drawer"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": torch.tensor([0, 1])}, "lengths differ: x has 4 items and y 2"),
        ({"x": torch.zeros(0, 3), "y": torch.zeros(0, dtype=torch.int64)}, "empty"),
        ({"x": torch.zeros(4)}, r"x must be \[n, ...\]"),
        (
            {"x": torch.tensor([[0.0], [0.0], [float("nan")], [0.0]])},
            "NaN or infinite values .first in item 2",
        ),
        (
            {"x": torch.tensor([[0.0], [float("inf")], [0.0], [0.0]])},
            "NaN or infinite values .first in item 1",
        ),
        ({"y": torch.tensor([0, 1, 2, 0])}, "labels run from 0 to 2 but there are 2 class names"),
        ({"y": torch.tensor([0, -1, 1, 0])}, "labels run from -1"),
        ({"y": torch.tensor([0, 0, 0, 0])}, "class 'b' has no item"),
        ({"classes": ("a", "a")}, "'a' is given twice"),
        ({"groups": ("g",)}, "groups has 1 names and classes 2"),
        (
            {"metadata": {"drawer": torch.arange(3)}},
            r"metadata\['drawer'\] has 3 values and x 4 items",
        ),
    ],
)
def test_inconsistent_fields_are_rejected(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_other_dtypes_are_rejected():
    with pytest.raises(TypeError, match=r"x is torch.int32; it must be uint8"):
        build(x=torch.zeros(4, 3, dtype=torch.int32))
    with pytest.raises(TypeError, match=r"y is torch.int32; it must be torch.int64"):
        build(y=torch.tensor([0, 1, 0, 1], dtype=torch.int32))


@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        (["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        ([30, 4, 30], ("4", "30"), [1, 0, 1]),
        (torch.tensor([1, 1, -1]), ("-1", "1"), [1, 1, 0]),
        (np.array([True, False, True]), ("False", "True"), [1, 0, 1]),
    ],
)
def test_arrays_takes_labels_of_any_type(labels, classes, y):
    data = arrays(np.eye(3), labels)
    assert data.classes == classes
    assert data.y.tolist() == y


def test_arrays_reports_that_minus_one_is_the_second_class():
    with pytest.warns(DataWarning, match="the label -1 .1 item. is taken as a class"):
        data = arrays(np.eye(3), torch.tensor([7, 7, -1]))
    assert (data.classes, data.y.tolist()) == (("-1", "7"), [1, 1, 0])


def test_arrays_leaves_out_unlabeled_items():
    with pytest.warns(DataWarning, match="1 of 3 items have no label .-1. and are left out"):
        data = arrays(np.eye(3), ["dog", -1, "cat"])
    assert (data.classes, data.y.tolist()) == (("cat", "dog"), [1, 0])
    assert torch.equal(data.x, torch.eye(3, dtype=torch.float64)[[0, 2]])
    with pytest.raises(ValueError, match="lengths differ: x has 2 items and y 3 labels"):
        arrays(np.eye(2), ["dog", -1, "cat"])


@pytest.mark.parametrize(
    "x",
    [
        np.eye(3, dtype=np.int32),
        np.eye(3, dtype=bool),
        torch.eye(3).long(),
        np.eye(3).tolist(),
        torch.eye(3, requires_grad=True),
        np.eye(3)[::-1][::-1],
    ],
)
def test_arrays_takes_numbers_of_any_kind(x):
    data = arrays(x, [0, 1, 1], name="mine", split="dev")
    assert torch.equal(data.gather(torch.arange(3)), torch.eye(3))
    assert (data.name, data.split) == ("mine", "dev")


def test_arrays_keeps_bytes_as_images_and_does_not_share_memory():
    x = np.full((2, 1, 4, 4), 255, dtype=np.uint8)
    data = arrays(x, ["a", "b"])
    x[:] = 0
    assert data.x.dtype == torch.uint8
    assert data.gather(torch.arange(2)).min() == 1


def test_arrays_rejects_text_items_and_two_dimensional_labels():
    with pytest.raises(TypeError, match="pass numbers"):
        arrays([["a"], ["b"]], [0, 1])
    with pytest.raises(ValueError, match=r"y has shape \(2, 1\); pass one label per item"):
        arrays(np.eye(2), [[0], [1]])
