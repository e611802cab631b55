"""Memory-augmented networks against loops over items, heads and slots."""

import pytest
import torch
from episodes import identity_model, task
from meta_learning import accuracies_before_and_after, assert_matches_loops, lstm_step
from torch.nn import functional as F

import graphfew as gf

SMALL = {"width": 4, "num_slots": 5, "slot_width": 3, "num_heads": 2}
TASKS = {
    "equal": [task(1, 3, (1,), 2), task(2, 3, (1,), 2)],
    "ragged": [task(8, 3, (1, 2), 3), task(9, 3, (2,), 2), task(5, 3, (1,), 1)],
    "equal sizes": [task(10, 3, (1, 2), 4), task(11, 3, (1,), 5)],
}


def slots(net, vector):
    return vector.view(net.num_heads, -1)


def step(net, state, item):
    memory, read_weights, usage, read, hidden, cell = state
    hidden, cell = lstm_step(net.controller, torch.cat([item, read]), hidden, cell)
    keys = slots(net, (net.key.weight @ hidden + net.key.bias).tanh())
    contents = slots(net, (net.content.weight @ hidden + net.content.bias).tanh())
    gates = (net.write_gate.weight @ hidden + net.write_gate.bias).sigmoid()
    ranked = sorted(range(net.num_slots), key=lambda s: usage[s].item())
    writes = []
    for head in range(net.num_heads):
        weights = []
        for s in range(net.num_slots):
            is_least_used = float(s == ranked[head])
            weights.append(gates[head] * read_weights[head][s] + (1 - gates[head]) * is_least_used)
        writes.append(torch.stack(weights))
    memory = [
        (0 * old if s == ranked[0] else old)
        + sum(writes[head][s] * contents[head] for head in range(net.num_heads))
        for s, old in enumerate(memory)
    ]
    reads, values = [], []
    for head in range(net.num_heads):
        similarity = [F.cosine_similarity(keys[head], slot, dim=0) for slot in memory]
        reads.append(torch.stack(similarity).softmax(0))
        values.append(sum(w * slot for w, slot in zip(reads[head], memory, strict=True)))
    usage = [0.95 * usage[s] + sum(r[s] for r in reads + writes) for s in range(net.num_slots)]
    return memory, reads, usage, torch.cat(values), hidden, cell


def loops(model, x, y, query, way):
    net = model.layers[0]
    n_read, width = net.key.weight.shape
    first = x.new_tensor([1.0] + [0.0] * (net.num_slots - 1))
    memory = [x.new_full((n_read // net.num_heads,), 1e-6)] * net.num_slots
    zeros = [x.new_zeros(n) for n in (n_read, width, width)]
    state = (memory, [first] * net.num_heads, list(first), *zeros)
    for i in (i for i in range(len(y)) if y[i] >= 0):
        label = F.one_hot(torch.tensor(y[i]), way)
        state = step(net, state, torch.cat([x[i], label]))
    out = []
    for q in (q for q in range(len(y)) if query[q]):
        *_, read, hidden, _ = step(net, state, torch.cat([x[q], x.new_zeros(way)]))
        out.append(net.output.weight @ torch.cat([hidden, read]) + net.output.bias)
    return torch.stack(out)


@pytest.mark.parametrize("tasks", TASKS.values(), ids=TASKS)
def test_logits_and_gradients(tasks):
    assert_matches_loops(identity_model("mann", way=3, **SMALL), tasks, loops)


def test_more_supports_than_slots_overwrite_the_least_used():
    assert_matches_loops(identity_model("mann", way=3, **SMALL), [task(3, 3, (4,), 2)], loops)


def test_an_item_is_written_to_the_least_used_slot_and_read_at_once():
    net = identity_model("mann", way=3, **SMALL).layers[0]
    net.write_gate.weight.data.zero_()
    net.write_gate.bias.data.fill_(-50.0)
    item = torch.randn(1, 8, dtype=torch.float64)
    before = net.start(item)
    after = net.step(before, item)
    # Slot 0 counts as used at the start; the heads take the slots 1 and 2.
    changed = (after.memory - before.memory).abs().amax(2)[0] > 1e-9
    assert changed.tolist() == [False, True, True, False, False]
    assert torch.allclose(after.read_weights.sum(2), torch.ones(1, 2).double())
    assert (after.read[0] - before.read[0]).abs().max() > 1e-3


def test_supports_form_a_chain_that_ends_at_every_query():
    y = torch.tensor([0, -1, 1, -1, 2])
    e = gf.Episode.single(torch.randn(5, 5), y, y < 0, 3)
    topology = gf.create("mann", encoder=gf.backbones.identity(5), way=3)(e).graphs[0].topology
    assert topology.senders.tolist() == [4, 0, 4, 2]
    assert topology.receivers.tolist() == [1, 2, 3, 4]


def test_training_helps():
    arguments = {"way": 2, "num_slots": 8, "width": 32, "slot_width": 8}
    options = {"way": 2, "shot": 1, "batch": 16, "steps": 160}
    before, after = accuracies_before_and_after("mann", arguments, **options)
    assert after > before + 0.1


def test_invalid_arguments():
    with pytest.raises(ValueError, match=r"must be at least 1, got 0"):
        identity_model("mann", width=0)
    with pytest.raises(ValueError, match=r"num_slots is 2, but each of 4 heads"):
        identity_model("mann", num_slots=2)
    with pytest.raises(ValueError, match=r"built for 5-way tasks and got a 3-way"):
        identity_model("mann")(task(1, 3))
