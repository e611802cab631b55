"""Deformation distances against loop-written references, and the methods on them."""

import numpy as np
import pytest
import torch
from reference import deformation

import graphfew as gf
from graphfew.nn.image_distances import complete_distance_graph
from graphfew.ops.distortion import distortion_table
from graphfew.ops.warp_distance import warp_table


def images(n, seed, channels=2, side=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, side, side, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("window", "patch", "penalty"), [(0, 1, 0.0), (1, 3, 0.1), (2, 1, 0.01)])
def test_distortion_matches_loops(window, patch, penalty):
    a, b = images(2, 0), images(3, 1)
    table = distortion_table(a, b, window, patch, penalty)
    for i, first in enumerate(a.numpy()):
        for j, second in enumerate(b.numpy()):
            expected = deformation.distortion(first, second, window, patch, penalty)
            assert table[i, j].item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("penalty", [0.0, 0.2])
def test_warp_matches_loops(penalty):
    a, b = images(1, 2), images(2, 3)
    table = warp_table(a, b, steps=3, smoothness=0.8, step_size=0.7, penalty=penalty)
    for j, second in enumerate(b.numpy()):
        expected = deformation.warp(a[0].numpy(), second, 3, 0.8, 0.7, penalty)
        assert table[0, j].item() == pytest.approx(expected, abs=1e-9)


def test_no_displacement_is_the_squared_euclidean_distance():
    a, b = images(3, 4), images(4, 5)
    expected = torch.cdist(a.flatten(1), b.flatten(1)).square()
    assert torch.allclose(distortion_table(a, b, window=0, patch=1), expected)
    assert torch.allclose(warp_table(a, b, steps=0), expected)


def test_distances_are_symmetric_and_zero_for_equal_images(monkeypatch):
    a = images(4, 6)
    for table in (distortion_table, warp_table):
        distances = table(a, a)
        assert torch.allclose(distances, distances.T)
        assert distances.diagonal().abs().max() < 1e-12
    whole = distortion_table(a, a)
    monkeypatch.setattr("graphfew.ops.distortion.MAX_COSTS", 1)
    assert torch.allclose(distortion_table(a, a), whole)


def test_distortion_has_the_gradient_of_finite_differences():
    a, b = images(1, 7, side=4).requires_grad_(), images(2, 8, side=4)
    assert torch.autograd.gradcheck(lambda x: distortion_table(x, b, 1, 3, 0.05), (a,))


def test_method_predicts_by_the_reference_distance():
    """Two ragged tasks; the logits are the negative distance to the nearest support."""
    tasks = []
    for seed, shots in ((9, 1), (10, 2)):
        y = torch.tensor([0, 1] * shots + [-1, -1])
        x = images(len(y), seed).flatten(1)
        tasks.append(gf.Episode.single(x, y, y < 0, way=2))
    for name, distance in (
        ("image_distortion", lambda a, b: deformation.distortion(a, b, 1, 3, 0.003)),
        ("smooth_warp", lambda a, b: deformation.warp(a, b, 2, 1.0, 1.0, 0.03)),
    ):
        options = {"window": 1} if name == "image_distortion" else {"steps": 2, "smoothness": 1.0}
        model = gf.create(name, encoder=torch.nn.Identity(), dim=50, channels=2, **options)
        logits = model(gf.collate(tasks)).logits.numpy()
        expected = []
        for task in tasks:
            maps = task.x.view(-1, 2, 5, 5).numpy()
            for query in torch.nonzero(task.query).flatten().tolist():
                rows = [[], []]
                for node, label in enumerate(task.y.tolist()):
                    if label >= 0:
                        rows[label].append(-distance(maps[query], maps[node]))
                expected.append([max(row) for row in rows])
        assert np.abs(logits - np.array(expected)).max() < 1e-9


def test_complete_graph_holds_the_distances_of_all_pairs():
    y = torch.tensor([0, 1, -1])
    episode = gf.Episode.single(images(3, 11), y, y < 0, way=2)
    graph = complete_distance_graph(episode, distortion_table, channels=2)
    expected = distortion_table(episode.x, episode.x)
    assert torch.allclose(graph.topology.matrices(graph.edges)[0][..., 0], expected)


def test_gradient_maps_ignore_position_and_size():
    encoder = gf.backbones.gradient_maps(size=28)
    image = torch.zeros(1, 1, 60, 60)
    image[..., 20:40, 25:28] = 1
    image[..., 37:40, 25:38] = 1
    larger = torch.nn.functional.interpolate(image, scale_factor=2, mode="bilinear")
    moved = image.roll((7, -9), (2, 3))
    maps, other = encoder(image), encoder(torch.zeros_like(image) + image.flip(3))
    for changed in (moved, larger):
        assert (encoder(changed) - maps).norm() < 0.15 * maps.norm()
    assert (other - maps).norm() > 0.5 * maps.norm()
    assert torch.isfinite(encoder(torch.zeros(2, 1, 28, 28))).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 3}, "no square images of 3 channels"),
        ({"channels": 2, "patch": 2}, "patch must be odd"),
        ({"channels": 2, "window": -1}, "window must be at least 0"),
        ({"channels": 2, "penalty": float("nan")}, "penalty must be at least 0"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, message):
    with pytest.raises(ValueError, match=message):
        gf.create("image_distortion", encoder=torch.nn.Identity(), dim=50, **arguments)


def test_invalid_maps_are_rejected():
    with pytest.raises(ValueError, match="spread must be in"):
        gf.backbones.gradient_maps(spread=0.0)
    with pytest.raises(ValueError, match="images of one channel"):
        gf.backbones.gradient_maps()(torch.zeros(1, 3, 8, 8))
