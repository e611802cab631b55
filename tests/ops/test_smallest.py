"""The blocked search finds what a sort finds."""

import pytest
import torch

from graphfew.ops import smallest as module
from graphfew.ops.smallest import smallest


@pytest.mark.parametrize("n", [64, 65, 127, 128, 200, 1000])
@pytest.mark.parametrize("k", [1, 3, 15])
def test_values_and_columns(n, k, monkeypatch):
    monkeypatch.setattr(module, "MIN_COLUMNS", 0)
    monkeypatch.setattr(module, "BLOCK", 8)
    table = torch.randn(20, n, generator=torch.Generator().manual_seed(n))
    # Neighbors of one block, and infinite distances of nodes to themselves.
    table[:, 3:6] -= 9
    table[torch.arange(20), torch.arange(20)] = torch.inf
    values, columns = smallest(table, k)
    expected = table.sort(1)
    assert torch.equal(values, expected.values[:, :k])
    assert torch.equal(columns, expected.indices[:, :k])


def test_equal_values_are_all_found(monkeypatch):
    monkeypatch.setattr(module, "MIN_COLUMNS", 0)
    table = torch.zeros(2, 500)
    values, columns = smallest(table, 5)
    assert (values == 0).all()
    assert all(len(set(row)) == 5 for row in columns.tolist())


def test_more_values_than_blocks():
    table = torch.randn(2, module.MIN_COLUMNS, generator=torch.Generator().manual_seed(0))
    k = module.MIN_COLUMNS - 1
    assert torch.equal(smallest(table, k)[0], table.sort(1).values[:, :k])
