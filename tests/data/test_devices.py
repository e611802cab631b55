"""Data sets whose items lie on another device: torch's meta device, which has shapes and no values, refuses any mixing
with the CPU as a GPU does; where there is a GPU, values are compared too."""

import pytest
import torch

import graphfew as gf
from graphfew.data.augment import parse_augmentation
from graphfew.data.augmented_tasks import AugmentedTasks

DEVICES = [
    "meta",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


def images():
    x = torch.randint(0, 256, (60, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    return gf.Dataset("images", "all", x, torch.arange(6).repeat(10), tuple("abcdef"))


def assert_equal_on_device(there, here, device):
    assert there.device.type == device
    assert (there.shape, there.dtype) == (here.shape, here.dtype)
    if device == "cuda":
        torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_tasks_are_gathered_on_the_device_of_the_items(device):
    here = gf.Tasks(images(), way=3, shot=2, query=2, unlabeled=1)
    there = gf.Tasks(images().to(device), way=3, shot=2, query=2, unlabeled=1)
    (far, far_target), (near, target) = there.batch(range(4)), here.batch(range(4))
    assert images().to(device).x.dtype == torch.uint8
    for one, other in (
        (far.x, near.x),
        (far.y, near.y),
        (far.query, near.query),
        (far_target, target),
    ):
        assert_equal_on_device(one, other, device)
    assert (far.sizes, far.way, far.n_queries, far.n_unlabeled) == (
        near.sizes,
        near.way,
        near.n_queries,
        near.n_unlabeled,
    )
    for i in range(4):
        assert there.draw(i).items.tolist() == here.draw(i).items.tolist()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("change", ["affine", "alphabet", "crop:2", "flip", "color", "crop:2+flip"])
def test_images_are_augmented_on_their_device(device, change):
    far, near = (
        AugmentedTasks(
            gf.Tasks(data, way=3, shot=2, query=2), parse_augmentation(change), seed=1
        ).batch(range(2))[0]
        for data in (images().to(device), images())
    )
    assert_equal_on_device(far.x, near.x, device)


@pytest.mark.parametrize("device", DEVICES)
def test_features_stay_on_the_device_of_the_images(device):
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4)).to(device)
    if device == "meta":  # features without values cannot be looked at for NaN
        with pytest.raises(ValueError, match="meta device, which holds shapes"):
            gf.data.encode(images().to(device), encoder, progress=False)
        return
    far = gf.data.encode(images().to(device), encoder, progress=False)
    assert_equal_on_device(far.x, gf.data.encode(images(), encoder.cpu(), progress=False).x, device)


def test_labels_stay_on_the_cpu():
    with pytest.raises(ValueError, match=r"y is on meta; keep labels on the CPU"):
        gf.Dataset("images", "all", images().x, images().y.to("meta"), tuple("abcdef"))
