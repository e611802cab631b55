"""Networks of pairs: in training all pairs, in evaluation folded and a block at a time, with the same answers."""

import pytest
import torch
from episodes import identity_model, task

import graphfew as gf
from graphfew import pair_net
from graphfew.evaluate import predict

BATCHES = {"equal": [task(1, 3, (2,), 4), task(2, 3, (2,), 4)], "ragged": [task(1, 3, (2,), 4), task(2, 3, (1,), 2)]}


@pytest.fixture(params=["egnn", "gnn"])
def name(request):
    return request.param


def built(name, **arguments):
    return identity_model(name, **{"transductive": True, **({"way": 3} if name == "gnn" else {}), **arguments})


def nets(model):
    return [layer.edge_net if hasattr(layer, "edge_net") else layer.adjacency.net for layer in model.layers.children()]


def rows_seen(monkeypatch):
    """The rows of every call of a folded network, as they come."""
    rows, fold = [], pair_net.folded

    def counted(net):
        run = fold(net)
        return lambda given: (rows.append(len(given)), run(given))[1]

    monkeypatch.setattr(pair_net, "folded", counted)
    return rows


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_evaluation_in_blocks_gives_the_same_answers(name, tasks, monkeypatch):
    model, batch = built(name), gf.collate(tasks)
    plain = model(batch)
    monkeypatch.setattr(pair_net, "block", lambda *_: 7)
    rows = rows_seen(monkeypatch)
    ours = model(batch)
    assert max(rows) == 7
    assert torch.allclose(ours.logits, plain.logits, rtol=0, atol=1e-10)
    for mine, other in zip(ours.graphs, plain.graphs, strict=True):
        assert torch.allclose(mine.edges, other.edges, rtol=0, atol=1e-10)


def test_training_sees_all_pairs(name, monkeypatch):
    model, batch = built(name).train(), gf.collate(BATCHES["equal"])
    monkeypatch.setattr(pair_net, "block", lambda *_: 7)
    rows = []
    for net in nets(model):
        net.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    model(batch)
    assert rows == [sum(n * (n - 1) // 2 for n in batch.sizes)] * 3


@pytest.mark.parametrize("transductive", [True, False])
def test_declared_batch_statistics_are_those_of_all_pairs(name, transductive, monkeypatch):
    """Norms may be in training mode where the layers are not."""
    model, batch = built(name, transductive=transductive), gf.collate(BATCHES["equal"][:1])
    with gf.evaluating(model, transductive_bn=True):
        plain = model(batch).logits
        monkeypatch.setattr(pair_net, "block", lambda *_: 7)
        assert torch.equal(predict(model, batch), plain)


def test_a_folded_network_is_the_network(name):
    for net in nets(built(name)):
        rows = torch.randn(50, net[0].in_features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        kept = rows.clone()
        assert torch.allclose(pair_net.folded(net)(rows), net(rows), rtol=0, atol=1e-12)
        assert torch.equal(rows, kept)


def test_a_folded_network_takes_the_precision_of_autocast(name):
    net = nets(built(name))[0].float()
    rows = torch.rand(50, net[0].in_features, generator=torch.Generator().manual_seed(1))
    whole = pair_net.folded(net)(rows)
    with torch.autocast("cpu", torch.bfloat16):
        low = pair_net.folded(net)(rows)
    assert low.dtype == torch.float32
    assert 0 < (low - whole).abs().max() < 0.05 * whole.abs().max()


def test_gradients_pass_a_folded_network(name):
    model, batch = built(name), gf.collate(BATCHES["equal"])
    grads = []
    for fold in (True, False):
        model.zero_grad()
        with pytest.MonkeyPatch.context() as patch:
            if not fold:
                patch.setattr(pair_net, "frozen", lambda _: False)
            model(batch).logits.square().sum().backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert grads[0].abs().max() > 0
    assert torch.allclose(*grads, rtol=1e-8, atol=1e-8)


def test_what_one_query_asks_of_the_last_layer_are_its_own_edges(name, monkeypatch):
    model, batch = built(name, transductive=False), gf.collate(BATCHES["equal"])
    rows = rows_seen(monkeypatch)
    with torch.no_grad():
        encoded = model.encode(batch).inductive()
        ours = model.answer(encoded)
    n, graphs = encoded.sizes[0], encoded.tasks
    shared = 2 * (6 * 5 // 2 + 6 * 4)  # pairs of two tasks' 6 supports, and of each with its 4 queries
    every = graphs * n * (n - 1) // 2
    assert rows[-1] == graphs * n
    assert sum(rows[:-1]) == (shared + every if name == "gnn" else 2 * every)
    assert torch.allclose(ours, model(batch).logits, rtol=0, atol=1e-10)


def test_blocks_fit_in_cache_and_are_never_tiny():
    net = nets(built("egnn"))[0]
    rows = pair_net.block(net, torch.zeros(1))
    assert rows >= 64
    assert rows & (rows - 1) == 0
    wide = torch.nn.Sequential(torch.nn.Linear(10**6, 10**6, device="meta"))
    assert pair_net.block(wide, torch.zeros(1)) == 64
