"""Logits of prototype methods without graphs equal those of the graphs; layouts are shared safely."""

from __future__ import annotations

import pytest
import torch

import graphfew as gf

DIM = 6
METHODS = ("prototypical", "simpleshot", "bd_cspn")


def make_task(counts: tuple[int, ...], n_queries: int, *, shuffle: bool = False) -> gf.Episode:
    generator = torch.Generator().manual_seed(sum(counts) + n_queries)
    labels = [torch.full((count,), index) for index, count in enumerate(counts)]
    y = torch.cat([*labels, torch.full((n_queries,), -1)])
    if shuffle:
        y = y[torch.randperm(len(y), generator=generator)]
    x = torch.randn(len(y), DIM, generator=generator).double()
    return gf.Episode.single(x, y, y < 0, way=len(counts))


BATCHES = {
    "equal": [make_task((2, 2, 2), 4), make_task((3, 2, 1), 4)],
    "shuffled": [make_task((2, 2, 2), 4, shuffle=True), make_task((3, 2, 1), 4)],
    "one size": [make_task((2, 2, 2), 4), make_task((3, 2, 2), 3)],
    "ragged": [make_task((2, 1, 2), 3), make_task((1, 1, 1), 5, shuffle=True)],
    "mixed ways": [make_task((2, 1), 3), make_task((1, 1, 1), 2)],
}


@pytest.mark.parametrize("batch", list(BATCHES))
@pytest.mark.parametrize("method", METHODS)
def test_values_and_gradients_equal_those_of_the_graphs(method: str, batch: str) -> None:
    episode = gf.collate(BATCHES[batch])
    model = gf.create(method, encoder=gf.backbones.identity(DIM)).double()
    x = episode.x.clone().requires_grad_()
    out = model(episode.encode(lambda _: x))
    results = []
    for logits in (out.logits, model.readout(out.graphs[-1])):
        finite = logits.isfinite()
        weight = torch.arange(logits.numel()).view_as(logits).double().sin()
        gradient = torch.autograd.grad((weight * logits)[finite].sum(), x, retain_graph=True)
        results.append((logits, *gradient))
    for direct, from_graph in zip(*results, strict=True):
        torch.testing.assert_close(direct, from_graph, rtol=1e-9, atol=1e-10)


def test_inference_mode_leaves_nothing_that_training_cannot_use() -> None:
    episode = make_task((4, 3, 2), 5)
    model = gf.create("simpleshot", encoder=gf.backbones.identity(DIM)).double()
    with torch.inference_mode():
        expected = model(episode).logits.clone()
    x = episode.x.clone().requires_grad_()
    logits = model(episode.encode(lambda _: x)).logits
    logits.sum().backward()
    torch.testing.assert_close(logits, expected)


def test_layouts_follow_labels_that_change_in_place() -> None:
    query = torch.tensor([False, False, True])
    x, y = torch.eye(3), torch.tensor([0, 1, -1])
    episode = gf.Episode.single(x, y, query, way=2)
    before = episode.layout.y
    y[:2] = torch.tensor([1, 0])
    assert before.tolist() == [0, 1, -1]
    assert episode.layout.y.tolist() == [1, 0, -1]
    model = gf.create("prototypical", encoder=gf.backbones.identity(3))
    fresh = gf.Episode.single(x, y.clone(), query, way=2)
    assert torch.equal(model(episode).logits, model(fresh).logits)
