"""SimpleShot against loops, and its center."""

import numpy as np
import pytest
import torch
from episodes import DIM, task
from reference import metric

import graphfew as gf

BATCHES = {
    "equal": [task(1, 3, (1,), 2), task(2, 3, (1,), 2)],
    "mixed": [task(8, 3, (1, 2), 3), task(9, 4, (2,), 2)],
    "equal sizes": [task(10, 2, (1, 2), 4), task(11, 5, (1,), 2)],
}
CENTRE = [0.3, -0.2, 0.1, 0.5, 0.0]


def reference_logits(e, center):
    """Centerd, brought to length 1, compared with class means; the support mean counts every class alike."""
    x, y = e.x.numpy(), e.y.tolist()
    if center is None:
        means = [
            np.mean([x[i] for i in range(len(y)) if y[i] == c], axis=0) for c in range(e.way[0])
        ]
        center = np.mean(means, axis=0)
    rows = [(row - center) / np.sqrt(((row - center) ** 2).sum()) for row in x]
    return metric.prototypes(rows, y, e.query.tolist(), metric.squared, scale=10.0)


@pytest.mark.parametrize("center", [None, CENTRE], ids=["support mean", "given"])
@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_logits(tasks, center):
    model = gf.create("simpleshot", encoder=gf.backbones.identity(DIM), center=center).double()
    logits = model(gf.collate(tasks)).logits.split([e.n_queries[0] for e in tasks])
    for e, actual in zip(tasks, logits, strict=True):
        assert (
            np.abs(actual[:, : e.way[0]].detach().numpy() - reference_logits(e, center)).max()
            < 1e-10
        )


def test_checkpoint_preserves_center(tmp_path):
    model = gf.create("simpleshot", encoder=gf.backbones.identity(DIM), center=CENTRE)
    e = task(3, 3, (1,), 2).to(torch.float32)
    loaded = gf.load(gf.save(model, tmp_path / "model"))
    assert torch.equal(loaded(e).logits, model(e).logits)
    other = gf.create("simpleshot", encoder=gf.backbones.identity(DIM))
    assert not torch.allclose(other(e).logits, model(e).logits)


@pytest.mark.parametrize("center", [CENTRE[:3], [*CENTRE[:4], float("nan")]], ids=["short", "nan"])
def test_wrong_center_is_rejected(center):
    with pytest.raises(ValueError, match=r"the center has \d values and the encoder 5 outputs"):
        gf.create("simpleshot", encoder=gf.backbones.identity(DIM), center=center)
