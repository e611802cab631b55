"""Train and evaluate in two processes, then in one: `python two_processes.py FILE` writes both.

In float64, because float32 rounding errors grow with every step of Adam.
"""

import json
import sys
from pathlib import Path

import torch

import graphfew as gf
from graphfew.training.distributed import SINGLE_PROCESS
from graphfew.training.fabric import launch

STEPS, BATCH, TASKS = 50, 4, 37


def build_model():
    """A model with batch norm over images, nodes and pairs of nodes."""
    encoder = gf.backbones.conv4(width=8)
    return gf.create("egnn", encoder=encoder, layers=2, width=8).double()


class DoubleTasks:
    """Tasks in float64."""

    def __init__(self, tasks):
        self.tasks = tasks

    def batch(self, indices):
        episode, target = self.tasks.batch(indices)
        return episode.to(torch.float64), target

    def describe(self):
        return self.tasks.describe()


def train(process_group):
    model, tasks = (
        build_model(),
        DoubleTasks(gf.Tasks(gf.data.glyphs("train"), way=5, shot=1, query=2, seed=3)),
    )
    steps = gf.train(
        model, tasks, loss=gf.edge_loss, batch=BATCH, steps=STEPS, process_group=process_group
    )
    return model, [(step.loss, step.accuracy) for step in steps]


def evaluate(model, process_group):
    tasks = DoubleTasks(gf.Tasks(gf.data.glyphs("val"), way=5, shot=1, query=3, seed=4))
    result = gf.evaluate(model, tasks, TASKS, batch=4, process_group=process_group)
    return result.to_json()


def main(out):
    torch.set_num_threads(1)
    process_group = launch(2)
    model, losses = train(process_group)
    weights = torch.cat([value.double().flatten() for value in model.state_dict().values()])
    equal = all(torch.equal(weights, other) for other in process_group.gather(weights))
    result = evaluate(model, process_group)
    if process_group.rank:
        return
    _, single_losses = train(SINGLE_PROCESS)
    out.write_text(
        json.dumps(
            {
                "size": process_group.size,
                "losses": losses,
                "single_losses": single_losses,
                "equal_weights": equal,
                "result": result,
                "single_result": evaluate(model, SINGLE_PROCESS),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
