"""Every operation of `Topology` against loops, forward and backward, with every segment kernel."""

import pytest
import torch
from episodes import task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphfew as gf
from graphfew.nn.layers import metric_edges
from graphfew.ops import segment

# The kernel stays the same for all examples of a test, so the fixture need not be set up for each.
CHECKED = settings(
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SIZES = st.one_of(
    st.tuples(st.integers(1, 5), st.integers(1, 4)).map(lambda t: (t[0],) * t[1]),
    st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple),
)
SEEDS = st.integers(0, 2**16)
SUMS = {
    "torch": segment.segment_sum_torch,
    "torch-scatter": segment.segment_sum_scatter,
    "by width": segment.segment_sum_by_width,
}


@pytest.fixture(params=SUMS, autouse=True)
def kernel(request, monkeypatch):
    """Run each test with every implementation of the segment sum."""
    if request.param != "torch":
        pytest.importorskip("torch_scatter", reason="torch-scatter is not installed")
    monkeypatch.setattr(segment, "segment_sum", SUMS[request.param])


def numbers(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def same(ours, theirs, *inputs):
    """Equal values, and equal gradients of a fixed combination of them."""
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-10)
    if not theirs.requires_grad:  # a loop over no edges at all
        return
    weight = torch.linspace(-1, 2, ours.numel(), dtype=ours.dtype).view_as(ours)
    for a, b in zip(
        *(
            torch.autograd.grad((out * weight).sum(), inputs, allow_unused=True)
            for out in (ours, theirs)
        ),
        strict=True,
    ):
        assert (a is None or not a.any()) if b is None else torch.allclose(a, b, rtol=0, atol=1e-10)


def incoming(topology, node):
    return [e for e in range(len(topology.receivers)) if topology.receivers[e] == node]


def random_edges(seed, nodes, edges):
    generator = torch.Generator().manual_seed(seed)
    senders, receivers = torch.randint(nodes, (2, edges), generator=generator)
    return gf.from_edges(senders, receivers, nodes)


SPECS = st.one_of(
    SIZES, st.tuples(SEEDS, st.integers(1, 7), st.integers(0, 15)).map(lambda t: {"edges": t})
)


def build(spec):
    """Build complete graphs of these sizes, or random edges."""
    return random_edges(*spec["edges"]) if isinstance(spec, dict) else gf.complete_graph(spec)


@CHECKED
@given(SPECS, SEEDS, st.integers(1, 3))
def test_sum_and_broadcast(kernel, spec, seed, channels):
    topology = build(spec)
    edges, values = (
        numbers(seed, len(topology.receivers), channels),
        numbers(seed, topology.num_nodes, channels),
    )
    total = [
        sum((edges[e] for e in incoming(topology, i)), torch.zeros(channels, dtype=torch.float64))
        for i in range(topology.num_nodes)
    ]
    same(topology.sum(edges), torch.stack(total), edges)
    spread = (
        torch.stack([values[int(r)] for r in topology.receivers]) if len(edges) else values[:0] * 1
    )
    same(topology.broadcast(values), spread, values)


@CHECKED
@given(SPECS, SEEDS, st.integers(1, 3))
def test_softmax_and_normalize(kernel, spec, seed, channels):
    topology = build(spec)
    edges = numbers(seed, len(topology.receivers), channels)
    softmaxes, fractions = torch.zeros_like(edges), torch.zeros_like(edges)
    for i in range(topology.num_nodes):
        own = incoming(topology, i)
        if own:
            softmaxes = softmaxes.index_copy(
                0, torch.tensor(own), edges[own].exp() / edges[own].exp().sum(0)
            )
            fractions = fractions.index_copy(
                0, torch.tensor(own), edges[own] / edges[own].abs().sum(0)
            )
    same(topology.softmax(edges), softmaxes, edges)
    same(topology.normalize(edges), fractions, edges)


def test_normalize_of_zeros_and_softmax_of_large_logits(kernel):
    for topology in (gf.complete_graph((2, 2)), gf.complete_graph((2, 3))):
        zeros = torch.zeros(len(topology.receivers), 1)
        assert not topology.normalize(zeros).any()
        soft = topology.softmax(zeros + 1e4)
        assert torch.allclose(topology.sum(soft), torch.ones(topology.num_nodes, 1))


@CHECKED
@given(SPECS, SEEDS, st.integers(1, 3), st.integers(1, 3))
def test_propagate(kernel, spec, seed, channels, width):
    topology = build(spec)
    weights, x = (
        numbers(seed, len(topology.receivers), channels),
        numbers(seed + 1, topology.num_nodes, width),
    )
    rows = [
        torch.cat(
            [
                sum(
                    (weights[e, c] * x[topology.senders[e]] for e in incoming(topology, i)),
                    torch.zeros(width, dtype=torch.float64),
                )
                for c in range(channels)
            ]
        )
        for i in range(topology.num_nodes)
    ]
    same(topology.propagate(weights, x), torch.stack(rows), weights, x)


@CHECKED
@given(SIZES, SEEDS, st.booleans())
def test_apply_pairs_runs_once_per_unordered_pair(kernel, sizes, seed, has_value):
    topology, x, rows = gf.complete_graph(sizes), numbers(seed, sum(sizes), 3), []

    def distance(a, b):
        rows.append(len(a))
        return torch.cat(
            [(a - b).square().sum(1, keepdim=True), (a * b).sum(1, keepdim=True)], dim=1
        )

    ours = topology.apply_pairs(distance, x, self_loop_value=7.0 if has_value else None)
    assert sum(rows) == sum(n * (n - 1) // 2 for n in sizes) + (0 if has_value else sum(sizes))
    values = []
    for r, s in zip(topology.receivers.tolist(), topology.senders.tolist(), strict=True):
        difference = torch.stack([(x[r] - x[s]).square().sum(), (x[r] * x[s]).sum()])
        values.append(torch.full_like(difference, 7.0) if has_value and r == s else difference)
    same(ours, torch.stack(values), x)


@CHECKED
@given(SIZES, SEEDS, st.integers(1, 12), st.booleans())
def test_apply_pairs_in_chunks(kernel, sizes, seed, chunk_size, has_value):
    topology, x, rows = gf.complete_graph(sizes), numbers(seed, sum(sizes), 3), []

    def counted(a, b):
        rows.append(torch.broadcast_shapes(a.shape, b.shape)[:-1].numel())
        return both(a, b)

    loops = 7.0 if has_value else None
    ours = topology.apply_pairs(counted, x, self_loop_value=loops, chunk_size=chunk_size)
    assert max(rows) <= chunk_size
    assert sum(rows) == sum(n * (n - 1) // 2 for n in sizes) + (0 if has_value else sum(sizes))
    plain = topology.apply_pairs(both, x, self_loop_value=loops)
    assert torch.equal(ours, plain)
    same(ours, plain, x)


@CHECKED
@given(SIZES, SEEDS)
def test_pair_differences(kernel, sizes, seed):
    topology, x = gf.complete_graph(sizes), numbers(seed, sum(sizes), 3)
    ours = topology.pair_differences(x)
    assert len(ours) == sum(n * (n - 1) // 2 for n in sizes)
    difference = (x[topology.receivers] - x[topology.senders]).abs()
    same(topology.pairs_to_edges(ours, self_loop_value=0.0), difference, x)
    assert torch.equal(
        topology.pairs_to_edges(ours, self_loop_value=5.0)[topology.is_self_loop],
        torch.full((sum(sizes), 3), 5.0).double(),
    )


def test_pair_differences_gradgradcheck(kernel):
    for sizes in ((5, 5), (4, 4), (2,), (4, 5)):
        x = numbers(3, sum(sizes), 2).requires_grad_()
        values = lambda x, sizes=sizes: gf.complete_graph(sizes).pair_differences(x).square()  # noqa: E731
        assert torch.autograd.gradcheck(values, x)
        assert torch.autograd.gradgradcheck(values, x)


@CHECKED
@given(SIZES, SEEDS, st.integers(1, 12), st.booleans())
def test_apply_pairs_runs_once_per_distinct_pair_of_origins(
    kernel, sizes, seed, chunk_size, has_value
):
    """Nodes with the same origin have the same features, in one graph or in several."""
    nodes = sum(sizes)
    origin = torch.randint(0, nodes, (nodes,), generator=torch.Generator().manual_seed(seed))
    topology, x, rows = gf.complete_graph(sizes), numbers(seed, nodes, 3), []

    def counted(a, b):
        rows.append(torch.broadcast_shapes(a.shape, b.shape)[:-1].numel())
        return both(a, b)

    loops = 7.0 if has_value else None
    ours = topology.apply_pairs(
        counted, x[origin], self_loop_value=loops, chunk_size=chunk_size, origin=origin
    )
    ends = zip(topology.receivers.tolist(), topology.senders.tolist(), strict=True)
    distinct = {tuple(sorted((int(origin[r]), int(origin[s])))) for r, s in ends if r != s}
    assert sum(rows) == len(distinct) + (0 if has_value else nodes)
    same(ours, topology.apply_pairs(both, x[origin], self_loop_value=loops), x)


@CHECKED
@given(SPECS, SEEDS)
def test_select_receivers(kernel, spec, seed):
    topology = build(spec)
    mask = torch.rand(topology.num_nodes, generator=torch.Generator().manual_seed(seed)) < 0.5
    part, indices = topology.select_receivers(mask)
    assert indices.tolist() == [e for e, r in enumerate(topology.receivers.tolist()) if mask[r]]
    assert part.num_nodes == topology.num_nodes
    weights, x = numbers(seed, len(topology.receivers), 2), numbers(seed + 1, topology.num_nodes, 3)
    whole = topology.propagate(weights, x) * mask[:, None]
    assert torch.allclose(part.propagate(weights[indices], x), whole, rtol=0, atol=1e-12)


def test_chunk_size_below_1_raises(kernel):
    for chunk_size in (0, -1):
        with pytest.raises(ValueError, match=f"chunk_size is {chunk_size}; give at least 1 pair"):
            gf.complete_graph((3,)).apply_pairs(both, torch.ones(3, 2), chunk_size=chunk_size)
        with pytest.raises(ValueError, match=f"chunk_size is {chunk_size}; give at least 1 pair"):
            gf.complete_graph((3,)).apply_edges(both, torch.ones(3, 2), chunk_size=chunk_size)


@CHECKED
@given(SPECS, SEEDS)
def test_apply_edges_passes_the_receiver_first(kernel, spec, seed):
    topology = build(spec)
    x = numbers(seed, topology.num_nodes, 2)
    ours = topology.apply_edges(lambda a, b: a - 2 * b, x)
    rows = [
        x[r] - 2 * x[s]
        for r, s in zip(topology.receivers.tolist(), topology.senders.tolist(), strict=True)
    ]
    same(ours, torch.stack(rows) if rows else x[:0] * 1, x)


@CHECKED
@given(SPECS, SEEDS, st.integers(1, 12))
def test_apply_edges_in_chunks(kernel, spec, seed, chunk_size):
    topology, rows = build(spec), []
    x = numbers(seed, topology.num_nodes, 2)

    def counted(a, b):
        rows.append(len(a))
        return a - 2 * b

    ours = topology.apply_edges(counted, x, chunk_size=chunk_size)
    assert max(rows) <= chunk_size
    assert sum(rows) == len(topology.receivers)
    same(ours, topology.apply_edges(lambda a, b: a - 2 * b, x), x)


@pytest.mark.parametrize("width", [1, 2, 15, 16, 40])
def test_segment_sum_and_max_of_any_width(kernel, width):
    counts = torch.tensor([3, 1, 4])
    ptr, index = torch.cat([counts.new_zeros(1), counts.cumsum(0)]), torch.repeat_interleave(counts)
    rows = numbers(5, 8, width)
    runs = torch.split(rows, counts.tolist())
    same(segment.segment_sum(rows, ptr, index), torch.stack([run.sum(0) for run in runs]), rows)
    largest = segment.segment_max(rows, ptr, index)
    assert torch.equal(largest, torch.stack([run.amax(0) for run in runs]))
    assert not largest.requires_grad


def both(a, b):
    return torch.cat([(a - b).square(), a * b], dim=-1)


@CHECKED
@given(st.integers(1, 5), st.integers(1, 4), SEEDS, st.integers(1, 3), st.integers(1, 3))
def test_batched_and_ragged_kernels_agree(kernel, side, tasks, seed, channels, width):
    fast = gf.complete_graph((side,) * tasks)
    order = torch.randperm(len(fast.receivers), generator=torch.Generator().manual_seed(seed))
    order = order[
        torch.argsort(fast.senders[order], stable=True)
    ]  # sorted by sender, unlike a Topology
    ragged = gf.from_edges(fast.senders[order], fast.receivers[order], fast.num_nodes)
    assert (fast.task_size, ragged.task_size) == (side, None)
    for name in ("senders", "receivers", "ptr", "is_self_loop"):
        assert torch.equal(getattr(fast, name), getattr(ragged, name))
    edges, x = (
        numbers(seed, len(fast.receivers), channels),
        numbers(seed + 1, fast.num_nodes, width),
    )
    for name in ("sum", "softmax", "normalize"):
        same(getattr(fast, name)(edges), getattr(ragged, name)(edges), edges)
    same(fast.broadcast(x), ragged.broadcast(x), x)
    same(fast.propagate(edges, x), ragged.propagate(edges, x), edges, x)
    same(fast.apply_edges(both, x), ragged.apply_edges(both, x), x)


@CHECKED
@given(st.integers(2, 5), st.integers(1, 3), SEEDS, st.sampled_from([None, 0.5]))
def test_equal_tasks_agree_with_a_mixed_batch(kernel, side, tasks, seed, loops):
    fast, mixed = gf.complete_graph((side,) * tasks), gf.complete_graph((side,) * tasks + (1,))
    assert mixed.task_size is None
    e, n = len(fast.receivers), fast.num_nodes
    edges, x = numbers(seed, e + 1, 2), numbers(seed + 1, n + 1, 3)
    for name in ("sum", "softmax", "normalize"):
        same(
            getattr(fast, name)(edges[:e]),
            getattr(mixed, name)(edges)[: n if name == "sum" else e],
            edges,
        )
    same(fast.broadcast(x[:n]), mixed.broadcast(x)[:e], x)
    same(fast.propagate(edges[:e], x[:n]), mixed.propagate(edges, x)[:n], edges, x)
    same(
        fast.apply_pairs(both, x[:n], self_loop_value=loops),
        mixed.apply_pairs(both, x, self_loop_value=loops)[:e],
        x,
    )
    for a, b in zip(fast.matrices(edges[:e]), mixed.matrices(edges), strict=False):
        assert torch.equal(a, b)


@CHECKED
@given(SIZES)
def test_complete_graph_and_matrices(kernel, sizes):
    topology = gf.complete_graph(sizes)
    expected, start = [], 0
    for n in sizes:
        expected += [(start + i, start + j) for i in range(n) for j in range(n)]
        start += n
    assert (
        list(zip(topology.receivers.tolist(), topology.senders.tolist(), strict=True)) == expected
    )
    assert topology.is_self_loop.tolist() == [r == s for r, s in expected]
    edges = numbers(0, len(expected), 2)
    matrices = topology.matrices(edges)
    assert [m.shape for m in matrices] == [(n, n, 2) for n in sizes]
    by_hand = torch.stack(
        [matrices[t][i, j] for t, n in enumerate(sizes) for i in range(n) for j in range(n)]
    )
    same(by_hand, edges * 1, edges)


@CHECKED
@given(SEEDS, st.integers(1, 6), st.integers(0, 12))
def test_bipartite_sorts_by_receiver_and_keeps_every_edge(kernel, seed, nodes, edges):
    generator = torch.Generator().manual_seed(seed)
    senders, receivers = torch.randint(nodes, (2, edges), generator=generator)
    topology = gf.from_edges(senders, receivers, nodes)
    assert topology.receivers.tolist() == sorted(receivers.tolist())
    assert sorted(
        zip(topology.senders.tolist(), topology.receivers.tolist(), strict=True)
    ) == sorted(zip(senders.tolist(), receivers.tolist(), strict=True))
    for i in range(nodes):
        assert incoming(topology, i) == list(range(topology.ptr[i], topology.ptr[i + 1]))


def test_invalid_edges_raise(kernel):
    with pytest.raises(ValueError, match="2 senders and 1 receivers"):
        gf.from_edges(torch.tensor([0, 1]), torch.tensor([0]), 2)
    for wrong in (-1, 2):
        for ends in ([0, wrong], [wrong, 0]):
            with pytest.raises(ValueError, match="nodes 0 to 1"):
                gf.from_edges(*torch.tensor(ends)[:, None], 2)
    sparse = gf.from_edges(torch.tensor([0]), torch.tensor([1]), 2)
    for use in (
        lambda: sparse.apply_pairs(gf.nn.cosine, torch.ones(2, 3)),
        lambda: sparse.matrices(torch.ones(1, 3)),
    ):
        with pytest.raises(ValueError, match="not made of complete graphs"):
            use()


def episodes():

    return gf.collate(
        [task(1, 2, (1, 3), 2, unlabeled=1), task(2, 4, (1,), 3), task(3, 3, (2,), 1)]
    )


def test_class_node_graph(kernel):
    e = episodes()
    topology = gf.class_node_graph(e)
    n, edges = (
        len(e.y),
        set(zip(topology.senders.tolist(), topology.receivers.tolist(), strict=True)),
    )
    first = {t: n + sum(e.way[:t]) for t in range(e.n_tasks)}
    task = e.task.tolist()
    expected = {(i, first[task[i]] + int(e.y[i])) for i in range(n) if e.y[i] >= 0}
    expected |= {
        (first[task[q]] + c, q) for q in range(n) if e.query[q] for c in range(e.way[task[q]])
    }
    assert edges == expected
    assert len(topology.senders) == len(expected)
    assert topology.num_nodes == n + sum(e.way)


def test_support_to_query_graph(kernel):
    e = episodes()
    topology = gf.support_to_query_graph(e)
    task = e.task.tolist()
    expected = {
        (s, q)
        for s in range(len(task))
        for q in range(len(task))
        if e.y[s] >= 0 and e.query[q] and task[s] == task[q]
    }
    assert set(zip(topology.senders.tolist(), topology.receivers.tolist(), strict=True)) == expected
    assert len(topology.senders) == len(expected)


BUILDERS = {
    "class nodes": gf.class_node_graph,
    "supports": gf.support_to_query_graph,
    "complete": lambda e: gf.complete_graph(e.sizes),
}
BATCHES = {
    "equal": [task(1, 3, (1, 2), 4), task(2, 3, (1, 2), 4)],
    "one way": [task(1, 3, (1,), 4), task(2, 3, (2,), 2)],
    "one size": [task(1, 3, (1, 2), 3), task(2, 2, (1, 2), 4)],
}


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_inner_products(build, tasks):
    topology = build(gf.collate(tasks))
    x = torch.randn(
        topology.num_nodes, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    x.requires_grad_()
    edges = zip(topology.receivers.tolist(), topology.senders.tolist(), strict=True)
    expected = torch.stack([sum(x[r, k] * x[s, k] for k in range(4)) for r, s in edges])
    ours = topology.inner_products(x)
    assert ours.shape == (len(expected), 1)
    assert torch.allclose(ours[:, 0], expected, rtol=0, atol=1e-12)
    weights = torch.arange(len(expected), dtype=torch.float64)
    (mine,), (theirs,) = (
        torch.autograd.grad((v * weights).sum(), x) for v in (ours[:, 0], expected)
    )
    assert torch.allclose(mine, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_propagate_within_equal_tasks(tasks):
    e = gf.collate(tasks)
    topology = gf.support_to_query_graph(e)
    assert (topology.items_per_task is None) == (len(set(e.sizes)) > 1)
    plain = gf.from_edges(topology.senders, topology.receivers, topology.num_nodes)
    generator = torch.Generator().manual_seed(0)
    x, weights = (
        torch.randn(n, c, dtype=torch.float64, generator=generator, requires_grad=True)
        for n, c in ((topology.num_nodes, 4), (len(topology.senders), 1))
    )
    ours, theirs = topology.propagate(weights, x), plain.propagate(weights, x)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    for mine, other in zip(
        *(torch.autograd.grad(v.square().sum(), (x, weights)) for v in (ours, theirs)), strict=True
    ):
        assert torch.allclose(mine, other, rtol=0, atol=1e-10)


def test_slice_receivers(kernel):
    e = gf.collate(BATCHES["equal"])
    topology = gf.class_node_graph(e)
    x = torch.randn(
        topology.num_nodes, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    weights = torch.rand(
        len(topology.receivers), 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    part = topology.slice_receivers(len(e.y))
    tail = weights[-len(part.receivers) :]
    assert part.num_nodes == sum(e.way)
    assert torch.allclose(
        part.propagate(tail, x), topology.propagate(weights, x)[len(e.y) :], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("metric", [gf.squared_euclidean, gf.nn.cosine])
@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_compare_uses_inner_products(metric, tasks):
    topology = gf.class_node_graph(gf.collate(tasks))
    x = torch.randn(
        topology.num_nodes, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    x[2] = 0
    x.requires_grad_()
    ours, theirs = metric_edges(topology, metric, x), topology.apply_edges(metric, x)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    mine, other = (torch.autograd.grad(v.sum(), x)[0] for v in (ours, theirs))
    assert torch.isfinite(mine).all()
    rows = torch.arange(len(x)) != 2
    assert torch.allclose(mine[rows], other[rows], rtol=0, atol=1e-6)
