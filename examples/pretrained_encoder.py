"""An encoder in two stages: it learns to tell all base classes apart, then tasks tune it; then copies are averaged.

Run: python examples/pretrained_encoder.py
"""

from functools import partial

import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
)

import graphfew as gf


def classes(encoder: gf.backbones.Backbone, data: gf.Dataset, steps: int) -> None:
    """All base classes at once, on jittered images; the rate warms up, then falls along a cosine."""
    items = gf.training.ClassificationBatches(data, seed=0, augment=gf.data.augment.affine())
    learner = gf.training.Classifier(encoder, encoder.out_dim, items.classes)
    warmup = max(1, steps // 20)

    def scheduler(optimizer: torch.optim.Optimizer) -> LRScheduler:
        schedules = [
            CosineAnnealingLR(optimizer, steps),
            LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup),
        ]
        return ChainedScheduler(schedules, optimizer=optimizer)

    for step in gf.train(
        learner,
        items,
        loss=gf.class_loss,
        optimizer=partial(torch.optim.AdamW, lr=3e-3, weight_decay=0.01),
        scheduler=scheduler,
        batch=64,
        steps=steps,
    ):
        if step.index % 100 == 99:
            print(
                f"classes: step {step.index + 1}, loss {step.loss:.2f}, accuracy {step.accuracy:.2f}"
            )


def tune(model: gf.GraphMethod, data: gf.Dataset, steps: int) -> gf.GraphMethod:
    """Train on tasks with many classes; return the moving average of the weights."""
    tasks = gf.data.AugmentedTasks(
        gf.Tasks(data, way=20, shot=1, query=3, seed=1), gf.data.augment.affine(), seed=1
    )
    average = gf.training.ema(model, decay=0.99)
    cosine = partial(CosineAnnealingLR, T_max=steps)
    for step in gf.train(model, tasks, loss=gf.node_loss, batch=1, steps=steps, scheduler=cosine):
        average.update_parameters(model)
        if step.index % 100 == 99:
            print(
                f"tasks: step {step.index + 1}, loss {step.loss:.2f}, accuracy {step.accuracy:.2f}"
            )
    averaged: gf.GraphMethod = average.module
    return averaged


def prototypes(seed: int = 0) -> gf.GraphMethod:
    """Prototypes on a small encoder."""
    return gf.create("prototypical", encoder=gf.backbones.conv4(width=32, seed=seed))


def main(steps: int = 300, tasks: int = 200) -> dict[str, gf.Result]:
    """Accuracy on characters of unseen scripts after each stage."""
    train, unseen = gf.data.glyphs(split="train"), gf.data.glyphs(split="test")
    test = gf.Tasks(unseen, way=20, shot=1, query=5, seed=2)
    model = prototypes()
    results = {"as drawn": gf.evaluate(model, test, n=tasks)}
    classes(model.encoder, train, steps)
    results["classes"] = gf.evaluate(model, test, n=tasks)
    average = tune(model, train, steps)
    results["then tasks"] = gf.evaluate(average, test, n=tasks)
    seen = gf.create("prototypical", encoder=gf.backbones.affine_tta(average.encoder, copies=8))
    results["then 8 copies averaged"] = gf.evaluate(seen, test, n=tasks)
    return results


if __name__ == "__main__":
    for name, result in main().items():
        print(f"{name:24} {result}")
