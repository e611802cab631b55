"""Connected components against a search, and sums over them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import graphfew as gf
from graphfew.propagation import component_sums, connected_components


def undirected(pairs, nodes):
    one, other = torch.tensor(pairs, dtype=torch.int64).view(-1, 2).unbind(1)
    return gf.from_edges(torch.cat([one, other]), torch.cat([other, one]), nodes)


def searched(pairs, nodes):
    """The smallest node that a depth-first search reaches from each node."""
    neighbors = {i: {i} for i in range(nodes)}
    for i, j in pairs:
        neighbors[i].add(j)
        neighbors[j].add(i)
    smallest = []
    for start in range(nodes):
        reached, left = set(), [start]
        while left:
            node = left.pop()
            reached.add(node)
            left += neighbors[node] - reached
        smallest.append(min(reached))
    return smallest


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 14), st.data())
def test_connected_components_equal_a_search(nodes, data):
    node = st.integers(0, nodes - 1)
    pairs = data.draw(st.lists(st.tuples(node, node), max_size=12))
    found = connected_components(undirected(pairs, nodes)).tolist()
    assert found == searched(pairs, nodes)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_long_paths_need_few_rounds(seed, monkeypatch):
    nodes = 20_000
    order = torch.arange(nodes)
    if seed is not None:
        order = torch.randperm(nodes, generator=torch.Generator().manual_seed(seed))
    path = undirected(torch.stack([order[1:], order[:-1]], dim=1).tolist(), nodes)
    rounds, equal = [], torch.equal
    monkeypatch.setattr(torch, "equal", lambda a, b: rounds.append(1) or equal(a, b))
    assert not connected_components(path).any()
    assert len(rounds) < 25


def test_component_sums_are_equal_within_components():
    component = torch.tensor([0, 1, 0, 3, 1])
    values = torch.arange(10.0).view(5, 2)
    sums = component_sums(values, component)
    assert sums.tolist() == [[4.0, 6.0], [10.0, 12.0], [4.0, 6.0], [6.0, 7.0], [10.0, 12.0]]
