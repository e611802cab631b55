"""Print the differences between compiled and plain methods as JSON.

A separate process for `test_compile.py`, without the shape checks, which cannot be compiled.
"""

import json
import sys

import torch
from episodes import identity_model, task

import graphfew as gf

# Two layers: the first differs from the others. More of them only take longer to compile.
METHODS = {
    "egnn": {"layers": 2, "width": 6},
    "gnn": {"way": 3, "width": 6, "growth": 4, "transductive": True},
    "dpgn": {"generations": 2},
    "epnet": {},
    "tpn": {},
    "label_propagation": {},
}
TRAINED = ("egnn", "gnn")
BATCH = gf.collate([task(1, 3, (2,), 4), task(2, 3, (2,), 4)])
RAGGED = gf.collate([task(1, 3, (2,), 4), task(2, 3, (2,), 6)])


def compiled(model):
    """The compiled model; raises an error at a graph break."""
    torch._dynamo.reset()
    return torch.compile(model.forward_encoded, fullgraph=True, backend="aot_eager")


def difference(one, other):
    return float((one - other).abs().max())


def answers(name):
    """Largest differences of logits and of the last edges."""
    model = identity_model(name, **METHODS[name]).eval()
    with torch.no_grad():
        ours, plain = compiled(model)(BATCH), model.forward_encoded(BATCH)
    return [
        difference(ours.logits, plain.logits),
        difference(ours.graphs[-1].edges, plain.graphs[-1].edges),
    ]


def ragged(name):
    """Largest difference of logits on tasks of mixed size; graph breaks are allowed."""
    model = identity_model(name, **METHODS[name]).eval()
    torch._dynamo.reset()
    with torch.no_grad():
        run = torch.compile(model.forward_encoded, backend="aot_eager")
        return difference(run(RAGGED).logits, model.forward_encoded(RAGGED).logits)


def training(name):
    """Largest differences of gradients and of running statistics after a step, and the largest gradient."""
    grads, statistics = [], []
    for whole in (True, False):
        model = identity_model(name, **METHODS[name]).train()
        run = compiled(model) if whole else model.forward_encoded
        run(BATCH).logits.square().sum().backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
        statistics.append(torch.cat([b.double().flatten() for b in model.buffers()]))
    return [difference(*grads), difference(*statistics), float(grads[0].abs().max())]


if __name__ == "__main__":
    json.dump(
        {
            "answers": {name: answers(name) for name in METHODS},
            "ragged": {name: ragged(name) for name in TRAINED},
            "training": {name: training(name) for name in TRAINED},
        },
        sys.stdout,
    )
