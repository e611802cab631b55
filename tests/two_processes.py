"""Trains and evaluates with two processes, then with one, and writes what each saw: `python two_processes.py FILE`.

In float64: in float32 the first losses agree to 1e-5, and rounding then grows with every step of Adam.
"""

import json
import sys
from pathlib import Path

import torch

import graphfew as gf
from graphfew.training.distributed import SINGLE_PROCESS
from graphfew.training.fabric import launch

STEPS, BATCH, TASKS = 50, 4, 37


def model():
    """Batch norm over images, over nodes and over pairs of nodes."""
    encoder = gf.backbones.conv4(width=8)
    return gf.create("egnn", encoder=encoder, layers=2, width=8).double()


class Double:
    """Tasks in float64."""

    def __init__(self, tasks):
        self.tasks = tasks

    def batch(self, indices):
        episode, target = self.tasks.batch(indices)
        return episode.to(torch.float64), target

    def describe(self):
        return self.tasks.describe()


def trained(workers):
    net, tasks = model(), Double(gf.Tasks(gf.data.glyphs("train"), way=5, shot=1, query=2, seed=3))
    steps = gf.train(
        net, tasks, loss=gf.edge_loss, batch=BATCH, steps=STEPS, lr=1e-3, workers=workers
    )
    return net, [(step.loss, step.accuracy) for step in steps]


def judged(net, workers):
    tasks = Double(gf.Tasks(gf.data.glyphs("val"), way=5, shot=1, query=3, seed=4))
    result = gf.evaluate(net, tasks, TASKS, batch=4, workers=workers)
    return result.to_json()


def main(out):
    torch.set_num_threads(1)
    workers = launch(2)
    net, together = trained(workers)
    weights = torch.cat([value.double().flatten() for value in net.state_dict().values()])
    equal = all(torch.equal(weights, other) for other in workers.gather(weights))
    shared = judged(net, workers)
    if workers.rank:
        return
    _, alone = trained(SINGLE_PROCESS)
    out.write_text(
        json.dumps(
            {
                "size": workers.size,
                "together": together,
                "alone": alone,
                "equal": equal,
                "shared": shared,
                "whole": judged(net, SINGLE_PROCESS),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
