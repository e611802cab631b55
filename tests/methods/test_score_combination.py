"""The weighted sum of standardized distances against loops, and its recipe in a checkpoint."""

import numpy as np
import pytest
import torch
from reference import deformation

import graphfew as gf
from graphfew.nn.weighted_scores import standardize_rows

PARTS = [{"width": 3, "weight": 2.0}, {"width": 32, "channels": 2, "window": 1, "penalty": 0.1}]


def task(seed, shots):
    y = torch.tensor([0, 1, 2] * shots + [-1, -1])
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(len(y), 35, generator=generator, dtype=torch.float64)
    return gf.Episode.single(x, y, y < 0, way=3)


def expected_logits(episode, scale):
    x, y = episode.x.numpy(), episode.y.numpy()
    supports = np.flatnonzero(y >= 0)
    logits = []
    for query in np.flatnonzero(y < 0):
        total = np.zeros(len(supports))
        vectors = [((x[query, :3] - x[i, :3]) ** 2).sum() for i in supports]
        maps = [
            deformation.distortion(
                x[query, 3:].reshape(2, 4, 4), x[i, 3:].reshape(2, 4, 4), 1, 3, 0.1
            )
            for i in supports
        ]
        for weight, distances in ((2.0, vectors), (1.0, maps)):
            total += weight * (np.array(distances) - np.mean(distances)) / np.std(distances)
        logits.append([-scale * total[y[supports] == k].min() for k in range(3)])
    return np.array(logits)


def test_logits_match_loops_on_ragged_tasks():
    tasks = [task(0, 1), task(1, 2)]
    model = gf.create(
        "score_combination", encoder=gf.backbones.identity(35), parts=PARTS, scale=1.5
    ).double()
    logits = model(gf.collate(tasks)).logits.numpy()
    expected = np.concatenate([expected_logits(episode, 1.5) for episode in tasks])
    assert np.abs(logits - expected).max() < 1e-9


def test_equal_distances_have_no_vote():
    rows = torch.tensor([[3.0, 3.0, 3.0], [0.1, 0.1, 0.1 + 1e-9], [0.0, 1.0, 2.0]])
    standardized = standardize_rows(rows)
    assert (standardized[:2] == 0).all()
    assert torch.allclose(standardized[2], torch.tensor([-1.2247, 0, 1.2247]), atol=1e-4)


def test_checkpoint_has_the_recipe(tmp_path):
    maps = gf.backbones.gradient_maps(size=8)
    encoder = gf.backbones.concat([gf.backbones.conv4(width=4), maps])
    parts = [{"width": 4, "weight": 2.0}, {"width": 576, "channels": 9, "window": 1}]
    model = gf.create("score_combination", encoder=encoder, parts=parts).eval()
    gf.save(model, tmp_path / "model")
    y = torch.tensor([0, 1, -1])
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    episode = gf.Episode.single(images, y, y < 0, way=2)
    again = gf.load(tmp_path / "model").eval()
    assert again.spec == model.spec
    assert torch.equal(again(episode).logits, model(episode).logits)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "the parts have widths"),
        ([{"width": 3}], "the parts have widths"),
        ([{"weight": 1.0}], "give width and any of"),
        ([{"width": 4, "weights": 1.0}], "give width and any of"),
        ([{"width": 4, "weight": -1.0}], "must be 0 or more"),
        ([{"width": 4, "channels": 3}], "no square images of 3 channels"),
    ],
)
def test_invalid_parts_are_rejected(parts, message):
    with pytest.raises(ValueError, match=message):
        gf.create("score_combination", encoder=gf.backbones.identity(4), parts=parts)
