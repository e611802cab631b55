"""Extreme values, identical nodes and minimal tasks: every method returns finite probabilities."""

import itertools

import numpy as np
import pytest
import torch
from episodes import DIM, REQUIRED, randomized

import graphfew as gf
from graphfew.ops.magnitude import LARGEST, clamp_magnitude


def normal(n, seed=0):
    return torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def doubled(n):
    return normal(2)[torch.arange(n) % 2]


def scales(n):
    """Neighboring nodes that differ by a factor of 1e60."""
    return normal(n) * torch.where(torch.arange(n) % 2 == 0, 1e30, 1e-30)[:, None].double()


def outlier(n):
    x = normal(n)
    x[0] *= 1e30
    return x


VALUES = {
    "1e-30": lambda n: 1e-30 * normal(n),
    "1e30": lambda n: 1e30 * normal(n),
    "denormal": lambda n: 1e-44 * normal(n),
    "3e38": lambda n: 3e38 * normal(n).sign(),
    "constant": lambda n: torch.full((n, DIM), 2.5, dtype=torch.float64),
    "constant 1e30": lambda n: torch.full((n, DIM), 1e30, dtype=torch.float64),
    "zeros": lambda n: torch.zeros(n, DIM, dtype=torch.float64),
    "doubled": doubled,
    "scales": scales,
    "outlier": outlier,
    "one axis": lambda n: normal(n) * torch.eye(1, DIM, dtype=torch.float64) + 3,
}
# way, shot, queries, unlabeled: the smallest task of all, a single query, and some of each
TASKS = [(2, 1, 1, 0), (3, 1, 3, 0), (5, 2, 1, 0), (3, 2, 2, 3)]


def modes():
    for name, method in sorted(gf.METHODS.items()):
        yield from (
            (name, mode)
            for mode, there in ((True, method.transductive), (False, method.inductive))
            if there
        )


def episode(values, way, shot, queries, unlabeled, dtype):
    y = torch.cat(
        [torch.arange(way).repeat_interleave(shot), torch.full((unlabeled + queries,), -1)]
    )
    query = torch.arange(len(y)) >= len(y) - queries
    return gf.Episode.single(values(len(y)).to(dtype), y, query, way)


def models(name, mode, way, shot, dtype):
    """A model with initial weights, and one with random weights and statistics."""
    method = gf.METHODS[name]
    arguments = {
        **REQUIRED.get(name, {}),
        **({"transductive": mode} if method.inductive and method.transductive else {}),
        **({"way": way} if method.fixed_way else {}),
        **({"shot": shot} if method.fixed_shot else {}),
    }
    encoder = gf.backbones.identity(DIM)
    yield gf.create(name, encoder=encoder, **arguments).to(dtype).eval()
    yield randomized(gf.create(name, encoder=encoder, **arguments)).to(dtype)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "mode"), list(modes()))
def test_extreme_values_give_finite_probabilities(name, mode):
    """One batch has tasks with all values; they must not influence each other."""
    for (way, shot, queries, unlabeled), dtype in itertools.product(
        TASKS, (torch.float32, torch.float64)
    ):
        if unlabeled and not gf.METHODS[name].unlabeled:
            continue
        asked = gf.collate(
            [episode(values, way, shot, queries, unlabeled, dtype) for values in VALUES.values()]
        )
        for model in models(name, mode, way, shot, dtype):
            with torch.no_grad():
                found = (gf.predict(model, asked).softmax(1), model(asked).logits.softmax(1))
            for shares in found:
                assert shares.shape == (queries * len(VALUES), way)
                good = torch.isfinite(shares).all(1) & ((shares.sum(1) - 1).abs() < 1e-5)
                bad = [
                    what
                    for what, own in zip(VALUES, good.split(queries), strict=True)
                    if not bool(own.all())
                ]
                assert not bad, (bad, way, shot, queries, unlabeled, dtype)


@pytest.mark.usefixtures("unchecked")
def test_one_class_is_refused_before_any_work():
    with pytest.raises(ValueError, match="at least 2 classes"):
        gf.Episode.single(
            torch.zeros(3, 2), torch.tensor([0, 0, -1]), torch.tensor([False, False, True]), 1
        )
    with pytest.raises(ValueError, match="at least two classes"):
        gf.FewShotClassifier("prototypical").fit(np.zeros((3, 2)), ["a", "a", "a"])


ALONE = [name for name, method in sorted(gf.METHODS.items()) if not method.needs_training]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ALONE)
def test_classifier_returns_finite_probabilities(name, dtype):
    for what, values in VALUES.items():
        X = values(9).numpy().astype(dtype)
        y = [0, 1, 2, 0, 1, 2, *([-1] * 3 if gf.METHODS[name].unlabeled else [0, 1, 2])]
        classifier = gf.FewShotClassifier(
            name,
            transductive=not gf.METHODS[name].inductive,
            arguments=REQUIRED.get(name),
        ).fit(X, y)
        shares = classifier.predict_proba(X)
        assert np.isfinite(shares).all(), what
        np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)
        assert np.isfinite(classifier.similarity(X)).all(), what


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_magnitude_bound_is_exact_below_and_keeps_the_direction_above(dtype):
    sizes = torch.tensor(
        [1e-30, 1, 1e6, 1e9, LARGEST[dtype], LARGEST[dtype] * 2**20], dtype=torch.float64
    )
    x = (normal(6) * sizes[:, None]).to(dtype)
    out = clamp_magnitude(x)
    assert torch.equal(out[:4], x[:4])
    assert float(out.abs().max()) <= LARGEST[dtype] * 1.01
    unit = [
        torch.nn.functional.normalize(v[5:].double() / v[5:].double().abs().max(), dim=1)
        for v in (x, out)
    ]
    torch.testing.assert_close(
        unit[0], unit[1], atol=1e-2 if dtype == torch.bfloat16 else 1e-6, rtol=0
    )


def test_magnitude_bound_does_not_change_gradients():
    x = normal(4).requires_grad_()
    clamp_magnitude(x).square().sum().backward()
    assert torch.equal(x.grad, 2 * x.detach())


def test_extreme_query_does_not_change_other_inductive_predictions():
    """The bound applies per item."""
    x, y = normal(6).float(), torch.tensor([0, 1, 2, -1, -1, -1])
    wild = x.clone()
    wild[5] *= 1e30
    model = gf.create("prototypical", encoder=gf.backbones.identity(DIM))
    one, other = (model(gf.Episode.single(v, y, y < 0, 3)).logits for v in (x, wild))
    assert torch.equal(one[:2], other[:2])
    assert bool(torch.isfinite(other).all())
