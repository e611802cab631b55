"""EGNN, GNN, prototypes and nearest neighbors against loop-written references."""

import numpy as np
import pytest
import torch
from episodes import DIM, identity_model, randomized, task
from reference import egnn, gnn, metric

import graphfew as gf

# Batches of one size take the batched kernels, mixed ones the ragged kernels.
EQUAL = [task(1, 3, (1,), 2), task(2, 3, (1,), 2)]
UNLABELED = [task(3, 3, (2, 1), 2, unlabeled=2), task(4, 3, (1, 3), 3, unlabeled=1)]
MIXED_WAYS = [task(5, 2, (1,), 1), task(6, 4, (1, 2), 3, unlabeled=1), task(7, 6, (1,), 2)]
# Seven nodes each, so that tasks with different ways, shots and queries take the batched kernels.
EQUAL_SIZES = [task(10, 2, (1, 2), 4), task(11, 5, (1,), 2), task(12, 3, (1, 2), 1, unlabeled=2)]
BATCHES = {"equal": EQUAL, "unlabeled": UNLABELED, "mixed": MIXED_WAYS, "equal sizes": EQUAL_SIZES}


def close(actual, expected):
    assert np.abs(actual - expected).max() <= 1e-10


def split_queries(logits, tasks):
    return [
        part[:, : e.way[0]].detach().numpy()
        for part, e in zip(logits.split([e.n_queries[0] for e in tasks]), tasks, strict=True)
    ]


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_egnn_transductive_edges_and_votes(tasks):
    model = identity_model("egnn", width=4)
    out = model(gf.collate(tasks))
    probs = split_queries(out.logits, tasks)
    for t, e in enumerate(tasks):
        edges, scores = egnn.transductive(model, e.x, e.y, e.query)
        assert len(edges) == len(out.graphs) - 1 == 3
        for graph, expected in zip(out.graphs[1:], edges, strict=True):
            close(graph.topology.matrices(graph.edges)[t].detach().numpy(), expected)
        close(np.exp(probs[t]), scores)


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_egnn_inductive_edges_and_votes(tasks):
    model = identity_model("egnn", width=4, transductive=False)
    out = model(gf.collate(tasks))
    probs = split_queries(out.logits, tasks)
    first = 0
    for t, e in enumerate(tasks):
        edges, scores = egnn.inductive(model, e.x, e.y, e.query)
        close(np.exp(probs[t]), scores)
        for q, per_layer in enumerate(edges):
            for graph, expected in zip(out.graphs[1:], per_layer, strict=True):
                close(graph.topology.matrices(graph.edges)[first + q].detach().numpy(), expected)
        first += len(edges)


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_edge_loss(tasks, transductive):
    model = identity_model("egnn", width=4, transductive=transductive)
    targets = [torch.arange(e.n_queries[0]) % e.way[0] for e in tasks]
    actual = gf.edge_loss(model(gf.collate(tasks)), torch.cat(targets))
    expected = []
    for e, target in zip(tasks, targets, strict=True):
        if transductive:
            edges, _ = egnn.transductive(model, e.x, e.y, e.query)
            expected.append(egnn.edge_loss(edges, e.y.tolist(), e.query.tolist(), target.tolist()))
        else:
            context = e.y[~e.query].tolist()
            expected += [
                egnn.edge_loss(edges, [*context, -1], [False] * len(context) + [True], [label])
                for edges, label in zip(
                    egnn.inductive(model, e.x, e.y, e.query)[0], target.tolist(), strict=True
                )
            ]
    assert actual.item() == pytest.approx(np.mean(expected), rel=0, abs=1e-10)


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_random_batches_and_weights(seed, transductive):
    """Ways 2 to 6, unequal shots and unlabeled nodes; the GNN uses the way of the first task."""
    draw = np.random.default_rng(seed)
    first = int(draw.integers(2, 7))

    def random_task(way):
        return task(
            int(draw.integers(1000)),
            way,
            tuple(draw.integers(1, 4, 3).tolist()),
            int(draw.integers(1, 5)),
            unlabeled=int(draw.integers(3)),
        )

    for name, reference, arguments in (
        ("egnn", egnn, {"width": 3}),
        ("gnn", gnn, {"width": 3, "way": first}),
    ):
        tasks = [
            random_task(first),
            *(random_task(first if name == "gnn" else int(draw.integers(2, 7))) for _ in range(2)),
        ]
        model = randomized(
            identity_model(name, transductive=transductive, **arguments), seed=1 + seed
        )
        logits = split_queries(model(gf.collate(tasks)).logits, tasks)
        formula = reference.transductive if transductive else reference.inductive
        for e, actual in zip(tasks, logits, strict=True):
            expected = formula(model, e.x, e.y, e.query)
            close(*((np.exp(actual), expected[1]) if name == "egnn" else (actual, expected)))


OMNIGLOT = {"width": None, "ratios": (2.0, 1.5, 1.0, 1.0)}
VARIANTS = {"mini": {"width": 4}, "omniglot": {**OMNIGLOT, "output_norm": True, "p": 0.3}}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("tasks", [EQUAL, UNLABELED], ids=["equal", "unlabeled"])
def test_gnn_logits(tasks, transductive, variant):
    model = identity_model("gnn", way=3, growth=3, transductive=transductive, **variant)
    actual = split_queries(model(gf.collate(tasks)).logits, tasks)
    formula = gnn.transductive if transductive else gnn.inductive
    for e, logits in zip(tasks, actual, strict=True):
        close(logits, formula(model, e.x, e.y, e.query))


def test_gnn_omniglot_widths():
    model = gf.create("gnn", encoder=gf.backbones.identity(64), way=5, **OMNIGLOT)
    linears = [
        [m for m in step.adjacency.net if isinstance(m, torch.nn.Linear)]
        for step in model.layers.children()
    ]
    assert [[m.out_features for m in net] for net in linears] == [
        [138, 103, 69, 69, 1],
        [234, 175, 117, 117, 1],
        [234, 175, 117, 117, 1],
    ]
    assert [net[0].in_features for net in linears] == [69, 117, 165]


LABELED = [task(8, 3, (1, 2), 3), task(9, 4, (2,), 2)]


@pytest.mark.parametrize(
    ("chosen", "formula"), [(gf.squared_euclidean, metric.squared), (gf.nn.cosine, metric.cosine)]
)
@pytest.mark.parametrize("tasks", [EQUAL, LABELED], ids=["equal", "mixed"])
def test_prototypes_and_nearest_neighbors(tasks, chosen, formula):
    batch = gf.collate(tasks)
    encoder = gf.backbones.identity(DIM)
    means = (
        gf.create("prototypical", encoder=encoder, metric=chosen, scale=3.0).double()(batch).logits
    )
    near = gf.create("nearest_neighbor", encoder=encoder, metric=chosen).double()(batch).logits
    for e, a, b in zip(tasks, split_queries(means, tasks), split_queries(near, tasks), strict=True):
        plain = (e.x.numpy(), e.y.tolist(), e.query.tolist(), formula)
        close(a, metric.prototypes(*plain, scale=3.0))
        close(b, metric.nearest(*plain))


def egnn_pairs(model, graphs):
    return model.layers.get_submodule("0").edge_net, graphs[1].nodes


def gnn_pairs(model, graphs):
    return model.layers.get_submodule("0").adjacency.net, graphs[0].nodes


PAIR_NETS = {
    "egnn": (egnn_pairs, {"width": 4, "layers": 1}),
    "gnn": (gnn_pairs, {"width": 4, "way": 3}),
}


@pytest.mark.parametrize("name", PAIR_NETS)
@pytest.mark.parametrize("tasks", [EQUAL, [*EQUAL, UNLABELED[0]]], ids=["equal", "ragged"])
def test_batch_statistics_count_distinct_pairs(tasks, name):
    find, arguments = PAIR_NETS[name]
    model, untouched = (
        identity_model(name, transductive=True, **arguments).train(),
        identity_model(name, **arguments),
    )
    batch = gf.collate(tasks)
    net, nodes = find(model, model(batch).graphs)
    before = find(untouched, untouched(batch).graphs)[0][1].norm
    pairs, start = [], 0
    for size in batch.sizes:
        pairs += [
            net[0]((nodes[i] - nodes[j]).abs())
            for i in range(start, start + size)
            for j in range(start, i)
        ]
        start += size
    seen = torch.stack(pairs)
    assert torch.allclose(
        net[1].norm.running_mean, 0.9 * before.running_mean + 0.1 * seen.mean(0), rtol=0, atol=1e-10
    )
    # torch keeps the unbiased variance, which here counts each unordered pair once.
    assert torch.allclose(
        net[1].norm.running_var, 0.9 * before.running_var + 0.1 * seen.var(0), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("tasks", [EQUAL, MIXED_WAYS], ids=["equal", "ragged"])
def test_edge_loss_gradcheck(tasks):
    model, batch = identity_model("egnn", width=4, layers=2), gf.collate(tasks)
    target = torch.cat([torch.arange(e.n_queries[0]) % e.way[0] for e in tasks])

    def loss(x):
        return gf.edge_loss(model(batch.encode(lambda old: x)), target)

    assert torch.autograd.gradcheck(loss, batch.x.clone().requires_grad_(), eps=1e-6, atol=1e-6)
