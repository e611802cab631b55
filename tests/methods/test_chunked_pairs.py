"""Pairwise MLPs: all pairs at once in training, folded and in chunks in evaluation."""

from functools import partial

import pytest
import torch
from episodes import identity_model, task

import graphfew as gf
from graphfew.evaluation.prediction import predict
from graphfew.nn import pair_mlp
from graphfew.ops import cpu_pair_mlp

BATCHES = {
    "equal": [task(1, 3, (2,), 4), task(2, 3, (2,), 4)],
    "ragged": [task(1, 3, (2,), 4), task(2, 3, (1,), 2)],
}


@pytest.fixture(params=["egnn", "gnn"])
def name(request):
    return request.param


def create_model(name, **arguments):
    return identity_model(
        name, **{"transductive": True, **({"way": 3} if name == "gnn" else {}), **arguments}
    )


def pair_nets(model):
    return [
        layer.edge_net if hasattr(layer, "edge_net") else layer.adjacency.net
        for layer in model.layers.children()
    ]


def record_chunk_sizes(monkeypatch):
    """Return a list that collects the number of pairs per call of a folded network."""
    rows, fold = [], pair_mlp.fold

    def counted(net):
        run = fold(net)

        def seen(a, b):
            rows.append(torch.broadcast_shapes(a.shape, b.shape)[:-1].numel())
            return run(a, b)

        return seen

    monkeypatch.setattr(pair_mlp, "fold", counted)
    return rows


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
@pytest.mark.parametrize("chunk_size", [7, 30, 64])
@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_chunked_evaluation_matches_full(name, tasks, chunk_size, grad, monkeypatch):
    model, batch = create_model(name), gf.collate(tasks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_mlp, "is_frozen", lambda _: False)
        plain = model(batch)
    monkeypatch.setattr(pair_mlp, "pairs_per_chunk", lambda *_: chunk_size)
    rows = record_chunk_sizes(monkeypatch)
    with torch.set_grad_enabled(grad):
        actual = model(batch)
    assert max(rows) <= chunk_size
    assert len(rows) > 3 or chunk_size == 64
    assert torch.allclose(actual.logits, plain.logits, rtol=0, atol=1e-10)
    for mine, other in zip(actual.graphs, plain.graphs, strict=True):
        assert torch.allclose(mine.edges, other.edges, rtol=0, atol=1e-10)


def test_training_is_not_chunked(name, monkeypatch):
    model, batch = create_model(name).train(), gf.collate(BATCHES["equal"])
    monkeypatch.setattr(pair_mlp, "pairs_per_chunk", lambda *_: 7)
    rows = []
    for net in pair_nets(model):
        net.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    model(batch)
    assert rows == [sum(n * (n - 1) // 2 for n in batch.sizes)] * 3


@pytest.mark.parametrize("transductive", [True, False])
def test_transductive_batch_norm_uses_all_pairs(name, transductive, monkeypatch):
    """Batch norms can be in training mode while the layers are in evaluation mode."""
    model, batch = create_model(name, transductive=transductive), gf.collate(BATCHES["equal"][:1])
    with gf.nn.eval_mode(model, transductive_bn=True):
        plain = model(batch).logits
        monkeypatch.setattr(pair_mlp, "pairs_per_chunk", lambda *_: 7)
        assert torch.equal(predict(model, batch), plain)


def test_folded_network_matches(name):
    generator = torch.Generator().manual_seed(1)
    for net in pair_nets(create_model(name)):
        a, b = torch.randn(2, 50, net[0].in_features, dtype=torch.float64, generator=generator)
        kept = torch.stack([a, b])
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                run = pair_mlp.fold(net)
                for rows in (20, 50, 30):
                    same = run(a[:rows], b[:rows])
                    assert torch.allclose(same, net((a - b).abs())[:rows], rtol=0, atol=1e-12)
                crossed = run(a[:, None], b[None, :3])
            assert torch.allclose(
                crossed.view(50, 3),
                net((a[:, None] - b[:3]).abs().flatten(0, 1)).view(50, 3),
                rtol=0,
                atol=1e-12,
            )
        assert torch.equal(torch.stack([a, b]), kept)


def test_folded_network_under_autocast(name):
    net = pair_nets(create_model(name))[0].float()
    a, b = torch.rand(2, 50, net[0].in_features, generator=torch.Generator().manual_seed(1))
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            whole = pair_mlp.fold(net)(a, b)
            with torch.autocast("cpu", torch.bfloat16):
                low = pair_mlp.fold(net)(a, b)
        assert low.dtype == torch.float32
        assert 0 < (low - whole).abs().max() < 0.05 * whole.abs().max()


def test_folded_network_gradients(name):
    model, batch = create_model(name), gf.collate(BATCHES["equal"])
    grads = []
    for fold in (True, False):
        model.zero_grad()
        with pytest.MonkeyPatch.context() as patch:
            if not fold:
                patch.setattr(pair_mlp, "is_frozen", lambda _: False)
            model(batch).logits.square().sum().backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert grads[0].abs().max() > 0
    assert torch.allclose(*grads, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_activation_checkpointing_matches(name, tasks):
    found = []
    for recompute in (False, True):
        model, calls = create_model(name, p=0.4), []
        for net in pair_nets(model):
            net.register_forward_pre_hook(lambda *_: calls.append(0))  # noqa: B023
        steps = gf.train(
            model,
            ConstantBatch(gf.collate(tasks)),
            loss=gf.node_loss,
            batch=1,
            steps=3,
            optimizer=partial(torch.optim.Adam, lr=0.01),
            checkpoint_activations=recompute,
        )
        losses = [step.loss for step in steps]
        assert len(calls) == 3 * len(pair_nets(model)) * (1 + recompute)
        assert not any(net.recompute for net in pair_nets(model))
        found.append((losses, model.state_dict()))
    assert found[0][0] == found[1][0]
    assert len(set(found[0][0])) == 3
    for key, value in found[0][1].items():
        assert torch.equal(value, found[1][1][key]), key


class ConstantBatch:
    """A batch source with one fixed batch."""

    def __init__(self, episode):
        self.episode = episode

    def batch(self, indices):
        del indices
        return self.episode, torch.zeros(sum(self.episode.n_queries), dtype=torch.int64)


def test_last_layer_computes_query_edges_only(name, monkeypatch):
    model, batch = create_model(name, transductive=False), gf.collate(BATCHES["equal"])
    rows = record_chunk_sizes(monkeypatch)
    with torch.no_grad():
        encoded = model.encode(batch).inductive()
        actual = model.predict_logits(encoded)
    n, graphs = encoded.sizes[0], encoded.n_tasks
    shared = 2 * (
        6 * 5 // 2 + 6 * 4
    )  # pairs of two tasks' 6 supports, and of each with its 4 queries
    every = graphs * n * (n - 1) // 2
    assert rows[-1] == graphs * n
    assert sum(rows[:-1]) == (shared + every if name == "gnn" else 2 * every)
    assert torch.allclose(actual, model(batch).logits, rtol=0, atol=1e-10)


def test_chunk_size_fits_the_cache():
    net = pair_nets(create_model("egnn"))[0]
    rows = pair_mlp.pairs_per_chunk(net, torch.zeros(1))
    widest = max(m.in_features + m.out_features for m in net if isinstance(m, torch.nn.Linear))
    assert rows >= 64
    assert 1 < rows * widest * 4 / (cpu_pair_mlp.l2_cache_bytes() * torch.get_num_threads()) < 2
    assert pair_mlp.pairs_per_chunk(net, torch.zeros(1, dtype=torch.float64)) <= rows / 2
    wide = torch.nn.Sequential(torch.nn.Linear(10**6, 10**6, device="meta"))
    assert pair_mlp.pairs_per_chunk(wide, torch.zeros(1)) == 64
