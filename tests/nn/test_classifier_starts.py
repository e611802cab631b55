"""Initial classifiers, and their names in specs."""

import pytest
import torch
from episodes import task

import graphfew as gf
from graphfew.core.dense_batch import dense_task
from graphfew.core.supports import gather_supports
from graphfew.nn.classifier_starts import (
    CLASSIFIER_STARTS,
    imprinted_rows,
    own_rows,
    prototype_rows,
)


@pytest.mark.parametrize("name", CLASSIFIER_STARTS)
def test_shapes_and_equal_rows(name):
    supports = gather_supports(dense_task(task(1, 3, (1, 2), 2)))
    start = CLASSIFIER_STARTS[name](supports.x.shape[2], 3).double()
    weights = start(supports)
    assert weights.weight.shape == (1, 3, supports.x.shape[2])
    assert weights.bias.shape == (1, 3)
    assert weights.weight.dtype == torch.float64
    rows_are_equal = bool((weights.weight[0] == weights.weight[0, 0]).all())
    assert rows_are_equal == (name == "zero_rows")
    other = torch.equal(
        start(gather_supports(dense_task(task(2, 3, (1, 2), 2)))).weight, weights.weight
    )
    assert other != start.uses_features


def test_prototype_rows_predict_as_nearest_class_means():
    e = task(1, 3, (1, 2), 4)
    dense = dense_task(e)
    logits = prototype_rows(5)(gather_supports(dense)).logits(dense.x)[0, e.query]
    expected = gf.create("prototypical", encoder=gf.backbones.identity(5)).double()(e).logits
    assert torch.allclose(logits.softmax(1), expected.softmax(1), rtol=0, atol=1e-12)


def test_own_rows_need_a_way():
    with pytest.raises(ValueError, match="a weight vector for each class; pass way="):
        own_rows(3)
    with pytest.raises(gf.errors.InvalidInputError, match="way must be at least 2, got -1"):
        own_rows(3, way=-1)


def test_imprinted_rows_predict_as_imprinting_for_features_of_equal_length():
    e = task(1, 3, (1, 2), 4).encode(lambda x: 7 * torch.nn.functional.normalize(x, dim=1))
    dense = dense_task(e)
    logits = imprinted_rows(5).double()(gather_supports(dense)).logits(dense.x)[0, e.query]
    expected = gf.create("imprinting", encoder=gf.backbones.identity(5)).double()(e).logits
    assert torch.allclose(logits, expected, rtol=0, atol=1e-12)
