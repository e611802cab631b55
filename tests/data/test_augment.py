"""Augmentation: what is drawn repeats, stays an image, and leaves tasks what they are."""

import pytest
import torch

import graphfew as gf
from graphfew.data import augment
from graphfew.data.augment import (
    affine,
    alphabet,
    color,
    compose,
    crop,
    flip,
    parse_augmentation,
)
from graphfew.data.augmented_tasks import AugmentedTasks, augment_images

IMAGES = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(0))
ONE = torch.zeros(600, dtype=torch.int64)
NAMES = (
    "alphabet",
    "alphabet:0.5",
    "affine",
    "affine:0.5",
    "crop",
    "crop:2",
    "flip",
    "color",
    "color:0.2",
    "dropout",
    "dropout:0.3",
    "affine+crop:1+flip+color:0.1",
)


def changed(change, images, seed, indices):
    """The images as one task."""
    return augment_images(change, images, ONE[: len(images)], seed, indices)


@pytest.mark.parametrize("name", NAMES)
def test_images_keep_shape_and_range_and_randomness_is_reproducible(name):
    change = parse_augmentation(name)
    first, again, other = (changed(change, IMAGES, seed, range(2, 5)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, changed(change, IMAGES, 1, range(3, 6)))
    assert first.shape == IMAGES.shape
    assert first.dtype == IMAGES.dtype
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1
    assert change.name == name


def test_crop_shifts_the_image():
    images = changed(crop(3), IMAGES, 0, range(1))
    wide = torch.nn.functional.pad(IMAGES, (3,) * 4)
    for image, source in zip(images, wide, strict=True):
        places = [
            (i, j)
            for i in range(7)
            for j in range(7)
            if torch.equal(image, source[:, i : i + 12, j : j + 12])
        ]
        assert len(places) == 1


def test_flip_mirrors_about_half_of_the_images():
    many = IMAGES.repeat(10, 1, 1, 1)
    images = changed(flip(), many, 0, range(1))
    kept = torch.tensor([torch.equal(a, b) for a, b in zip(images, many, strict=True)])
    mirrored = torch.tensor([torch.equal(a, b.flip(2)) for a, b in zip(images, many, strict=True)])
    assert bool((kept ^ mirrored).all())
    assert 15 < int(kept.sum()) < 45


def test_affine_change_scales_with_strength():
    smooth = torch.nn.functional.avg_pool2d(IMAGES, 5, 1, 2)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    gaps = [
        float((changed(affine(s), smooth, 0, range(1)) - smooth)[inner].abs().mean())
        for s in (1e-4, 1.0)
    ]
    assert gaps[0] < 1e-3 < 1e-2 < gaps[1]


def test_affine_shifts_both_ways_within_its_limit():
    dot = torch.zeros(400, 1, 41, 41)
    dot[:, :, 19:22, 19:22] = 1
    images = changed(affine(), dot, 0, range(1))
    grid = torch.arange(41.0)
    mass = images.sum((1, 2, 3))
    right = (images.sum((1, 2)) * grid).sum(1) / mass - 20
    assert float(right.abs().max()) < 0.06 * 41 / 0.85 * 1.25  # moved, then scaled and sheared
    assert float(right.min()) < -1.5 < 1.5 < float(right.max())


def test_alphabet_transforms_images_of_a_task_alike_and_tasks_differently():
    line = torch.zeros(40, 1, 41, 41)
    line[:, :, 20, 8:33] = 1  # lying
    line[:, :, 20:26, 32] = 1  # with a hook, which a mirror turns
    task = torch.arange(4).repeat_interleave(10)
    images = augment_images(alphabet(1e-4), line, task, 0, range(1))
    for number in range(4):
        first = images[10 * number]
        assert float((images[task == number] - first).abs().max()) < 0.05
        assert all(
            float((images[10 * other] - first).abs().max()) > 0.5
            for other in range(4)
            if other != number
        )
    strong = augment_images(alphabet(), line, task, 0, range(1))
    assert float((strong[0] - strong[1]).abs().max()) > 0.3


def test_alphabet_matrices_rotate_stretch_shear_and_mirror():
    matrices = augment._alphabet_matrices(
        torch.rand(5, 2000, generator=torch.Generator().manual_seed(0))
    )
    area = torch.linalg.det(matrices)
    assert 0.4 < float((area < 0).float().mean()) < 0.6
    assert 0.63 < float(area.abs().min()) < 0.68
    assert 1.40 < float(area.abs().max()) < 1.45
    none = augment._alphabet_matrices(torch.tensor([[0.0], [0.9], [0.5], [0.5], [0.5]]))
    torch.testing.assert_close(none[0], torch.eye(2))


def test_color_changes_brightness_but_not_structure():
    images = changed(color(0.4), IMAGES * 0.2 + 0.4, 0, range(1))
    for image, source in zip(images, IMAGES, strict=True):
        assert torch.corrcoef(torch.stack([image[0].flatten(), source[0].flatten()]))[0, 1] > 0.99
    assert float((images.mean((1, 2, 3)) - (IMAGES * 0.2 + 0.4).mean((1, 2, 3))).abs().max()) > 0.05


def test_compose_applies_parts_in_order():
    both = compose(crop(2), flip())
    generator = torch.Generator().manual_seed(5)
    expected = flip().transform(crop(2).transform(IMAGES, ONE[:6], generator), ONE[:6], generator)
    assert torch.equal(both.transform(IMAGES, ONE[:6], torch.Generator().manual_seed(5)), expected)
    with pytest.raises(ValueError, match="pass at least one"):
        compose()


def test_augmented_tasks_keep_labels_and_describe_the_augmentation():
    tasks = gf.Tasks(gf.data.digits(), way=3, shot=1, query=2, seed=4)
    source = AugmentedTasks(tasks, parse_augmentation("affine"), seed=9)
    (episode, target), (plain, same) = source.batch(range(3)), tasks.batch(range(3))
    assert torch.equal(target, same)
    assert torch.equal(episode.y, plain.y)
    assert torch.equal(episode.query, plain.query)
    assert not torch.equal(episode.x, plain.x)
    assert torch.equal(episode.x, source.batch(range(3))[0].x)
    assert source.describe() == {**tasks.describe(), "augment": "affine"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("blur", "'blur'"),
        ("affine:x", "could not convert"),
        ("affine:0", "strength=0"),
        ("crop:0", "padding=0"),
        ("flip:2", "'flip:2'"),
        ("", "''"),
        ("color:inf", "inf"),
        ("affine+", "''"),
    ],
)
def test_unknown_text_is_rejected(text, reason):
    with pytest.raises(ValueError, match="unknown augmentation") as fault:
        parse_augmentation(text)
    assert reason in str(fault.value)
    assert "several joined by +" in str(fault.value)


def test_features_are_rejected():
    tasks = gf.Tasks(
        gf.data.arrays(torch.rand(40, 8), [i % 4 for i in range(40)]), way=3, shot=1, query=2
    )
    with pytest.raises(ValueError, match=r"items have shape \(8,\)"):
        AugmentedTasks(tasks, flip()).batch(range(1))
