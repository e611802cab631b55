"""Siamese networks and their loss against loops, and that they learn."""

import math

import numpy as np
import pytest
import torch
from episodes import DIM, identity_model, task

import graphfew as gf

BATCHES = {
    "equal": [task(1, 3, (1,), 2), task(2, 3, (1,), 2)],
    "mixed": [task(8, 3, (1, 2), 3), task(9, 4, (2,), 2)],
    "equal sizes": [task(10, 2, (1, 2), 4), task(11, 5, (1,), 2)],
}


def scores(model, e):
    """`{(query, support): logit}` of one task."""
    layer = model.layers.get_submodule("0")
    spread = (layer.norm.running_var + layer.norm.eps).sqrt()
    a = (layer.score.weight[0] / spread).tolist()
    b = layer.score.bias.item() - sum(
        w * m for w, m in zip(a, layer.norm.running_mean.tolist(), strict=True)
    )
    x, y, query = e.x.tolist(), e.y.tolist(), e.query.tolist()
    return {
        (q, s): b + sum(w * abs(u - v) for w, u, v in zip(a, x[q], x[s], strict=True))
        for q in range(len(y))
        if query[q]
        for s in range(len(y))
        if y[s] >= 0
    }


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_logits(tasks):
    model = identity_model("siamese")
    logits = model(gf.collate(tasks)).logits.split([e.n_queries[0] for e in tasks])
    for e, actual in zip(tasks, logits, strict=True):
        pairs = scores(model, e)
        query_nodes = e.query.nonzero().flatten().tolist()
        expected = [
            [
                max(v for (q, s), v in pairs.items() if q == i and e.y[s] == c)
                for c in range(e.way[0])
            ]
            for i in query_nodes
        ]
        assert np.abs(actual[:, : e.way[0]].detach().numpy() - np.array(expected)).max() < 1e-10


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_pair_loss(tasks):
    model = identity_model("siamese")
    targets = [torch.arange(e.n_queries[0]) % e.way[0] for e in tasks]
    actual = gf.methods.pair_loss(model(gf.collate(tasks)), torch.cat(targets))
    expected = []
    for e, target in zip(tasks, targets, strict=True):
        rank = {q: i for i, q in enumerate(e.query.nonzero().flatten().tolist())}
        kinds = {True: [], False: []}
        for (q, s), logit in scores(model, e).items():
            same = int(e.y[s]) == int(target[rank[q]])
            kinds[same].append(math.log1p(math.exp(-logit if same else logit)))
        expected.append(sum(np.mean(values) for values in kinds.values()) / 2)
    assert actual.item() == pytest.approx(np.mean(expected), rel=0, abs=1e-10)


def test_untrained_matches_l1_nearest_support():
    e = BATCHES["mixed"][0]
    model = gf.create("siamese", encoder=gf.backbones.identity(DIM)).double().eval()
    distance = torch.cdist(e.x[e.query], e.x[e.labeled], p=1)
    assert torch.equal(model(e).logits.argmax(1), e.y[e.labeled][distance.argmin(1)])


def test_learns_informative_features():
    """Class means differ in the first feature alone; the others are loud."""

    class Loud:
        def batch(self, indices):
            tasks = []
            for i in indices:
                e = task(i, 3, (1,), 6, dim=12)
                truth = torch.where(e.y >= 0, e.y, torch.arange(len(e.y)) % 3)
                x = e.x * torch.tensor([0.1] + [5.0] * 11)
                x[:, 0] += truth
                tasks.append((gf.Episode.single(x.float(), e.y, e.query, 3), truth[e.query]))
            return gf.collate([e for e, _ in tasks]), torch.cat([t for _, t in tasks])

    model = gf.create("siamese", encoder=gf.backbones.identity(12))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    training = gf.train(
        model, Loud(), loss=gf.methods.pair_loss, batch=16, steps=150, optimizer=optimizer
    )
    steps = list(training)
    assert steps[0].accuracy < 0.6
    assert np.mean([s.accuracy for s in steps[-10:]]) > 0.85


def test_pair_loss_checks_channels():
    e = BATCHES["equal"][0]
    with pytest.raises(ValueError, match="got 2 channels"):
        gf.methods.pair_loss(identity_model("egnn", width=4)(e), torch.tensor([0, 1]))
