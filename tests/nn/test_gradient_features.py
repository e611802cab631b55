"""Features of gradients: the formula by cases, and no jump between the cases."""

import math

import torch

from graphfew.nn.gradient_features import log_and_sign


def test_values_by_case():
    x = torch.tensor([3.0, -3.0, 1e-6, -1e-6, 0.0], dtype=torch.float64)
    expected = [
        [math.log(3) / 10, 1],
        [math.log(3) / 10, -1],
        [-1, math.exp(10) * 1e-6],
        [-1, -math.exp(10) * 1e-6],
        [-1, 0],
    ]
    assert torch.allclose(log_and_sign(x, 10.0), torch.tensor(expected, dtype=torch.float64))


def test_cases_meet():
    threshold = math.exp(-7)
    x = torch.tensor([threshold * (1 - 1e-9), threshold * (1 + 1e-9)], dtype=torch.float64)
    below, above = log_and_sign(x, 7.0)
    assert torch.allclose(below, above, atol=1e-8)


def test_largest_numbers_are_finite():
    x = torch.tensor([1e38, -1e38])
    assert torch.isfinite(log_and_sign(x, 10.0)).all()
