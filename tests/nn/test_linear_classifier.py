"""Logits of linear classifiers without graphs equal those that are read from the graphs."""

from __future__ import annotations

import pytest
import torch

import graphfew as gf

DIM = 6
METHODS = ("anil", "ridge", "zero_head")


def _task(counts: tuple[int, ...], n_queries: int, *, shuffle: bool = False) -> gf.Episode:
    generator = torch.Generator().manual_seed(sum(counts) + n_queries)
    labels = [torch.full((count,), index) for index, count in enumerate(counts)]
    y = torch.cat([*labels, torch.full((n_queries,), -1)])
    if shuffle:
        y = y[torch.randperm(len(y), generator=generator)]
    x = torch.randn(len(y), DIM, generator=generator).double()
    return gf.Episode.single(x, y, y < 0, way=len(counts))


BATCHES = {
    "equal": [_task((2, 2, 2), 4), _task((3, 2, 1), 4)],
    "shuffled": [_task((2, 2, 2), 4, shuffle=True), _task((3, 2, 1), 4, shuffle=True)],
    "ragged": [_task((2, 1, 2), 3), _task((1, 1, 1), 5), _task((2, 2, 1), 3, shuffle=True)],
}


@pytest.mark.parametrize("batch", list(BATCHES))
@pytest.mark.parametrize("method", METHODS)
def test_values_and_gradients_equal_those_of_the_graphs(method: str, batch: str) -> None:
    episode = gf.collate(BATCHES[batch])
    way = {"way": 3} if method == "anil" else {}
    model = gf.create(method, encoder=gf.backbones.identity(DIM), **way).double()
    x = episode.x.clone().requires_grad_()
    out = model(episode.encode(lambda _: x))
    inputs = [x, *(weight for weight in model.parameters() if weight.requires_grad)]
    results = []
    for logits in (out.logits, model.readout(out.graphs[-1])):
        weight = torch.arange(logits.numel()).view_as(logits).double().sin()
        loss = (weight * logits).sum()
        results.append((logits, *torch.autograd.grad(loss, inputs)))
    for direct, from_graph in zip(*results, strict=True):
        torch.testing.assert_close(direct, from_graph, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(model.predict_logits(model.encode(episode)), out.logits)


def test_mixed_ways_have_no_logits_for_absent_classes() -> None:
    episode = gf.collate([_task((1, 2), 3), _task((1, 1, 1, 2), 2), _task((2, 2, 1), 1)])
    model = gf.create("zero_head", encoder=gf.backbones.identity(DIM))
    out = model(episode)
    torch.testing.assert_close(out.logits, model.readout(out.graphs[-1]))
    absent = torch.isneginf(out.logits).sum(1)
    assert absent.tolist() == [2, 2, 2, 0, 0, 1]


def test_graphs_are_computed_when_they_are_read() -> None:
    embedded = []

    def embed(episode: gf.Episode) -> gf.Graph:
        embedded.append(episode)
        return gf.nn.class_mean_graph(episode)

    model = gf.create("ridge", encoder=gf.backbones.identity(DIM)).double()
    model.embed = embed
    out = model(_task((2, 2), 3))
    assert not embedded
    assert len(out.graphs) == 2
    assert out.graphs[1:][0] is out.graphs[-1]
    assert len(embedded) == 1


def test_transformed_features_are_predicted_from_graphs() -> None:
    episode = _task((2, 2), 3)
    model = gf.create("ridge", encoder=gf.backbones.identity(DIM)).double()
    doubled = model.with_transform(lambda encoded: encoded.encode(lambda x: 2 * x))
    twice = episode.encode(lambda x: 2 * x)
    torch.testing.assert_close(doubled(episode).logits, model(twice).logits)
