"""An encoder in two stages: it is trained on all base classes, then on tasks; then test-time augmentation.

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


def train_on_classes(encoder: gf.backbones.Backbone, data: gf.Dataset, steps: int) -> None:
    """Classify all base classes, with augmentation, linear warmup and cosine decay."""
    augmentation = gf.data.augment.affine()
    batches = gf.training.ClassificationBatches(data, seed=0, augment=augmentation)
    classifier = gf.training.Classifier(encoder, encoder.out_dim, batches.classes)
    warmup = max(1, steps // 20)

    def scheduler(optimizer: torch.optim.Optimizer) -> LRScheduler:
        cosine = CosineAnnealingLR(optimizer, steps)
        linear = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
        return ChainedScheduler([cosine, linear], optimizer=optimizer)

    training_steps = gf.train(
        classifier,
        batches,
        loss=gf.class_loss,
        optimizer=partial(torch.optim.AdamW, lr=3e-3, weight_decay=0.01),
        scheduler=scheduler,
        batch=64,
        steps=steps,
    )
    for step in training_steps:
        if step.index % 100 == 99:
            print(f"classes: step {step.index + 1}, loss {step.loss:.2f}")


def train_on_tasks(model: gf.GraphMethod, data: gf.Dataset, steps: int) -> gf.GraphMethod:
    """Train on tasks with many classes; return the moving average of the weights."""
    tasks = gf.Tasks(data, way=20, shot=1, query=3, seed=1)
    tasks = gf.data.AugmentedTasks(tasks, gf.data.augment.affine(), seed=1)
    average = gf.training.ema(model, decay=0.99)
    cosine = partial(CosineAnnealingLR, T_max=steps)
    for step in gf.train(model, tasks, loss=gf.node_loss, batch=1, steps=steps, scheduler=cosine):
        average.update_parameters(model)
        if step.index % 100 == 99:
            print(f"tasks: step {step.index + 1}, loss {step.loss:.2f}")
    averaged: gf.GraphMethod = average.module
    return averaged


def main(steps: int = 300, tasks: int = 200) -> dict[str, gf.Result]:
    """Accuracy on characters of unseen scripts after each stage."""
    train, unseen = gf.data.glyphs(split="train"), gf.data.glyphs(split="test")
    test = gf.Tasks(unseen, way=20, shot=1, query=5, seed=2)
    model = gf.create("prototypical", encoder=gf.backbones.conv4(width=32, seed=0))
    results = {"random weights": gf.evaluate(model, test, n=tasks)}
    train_on_classes(model.encoder, train, steps)
    results["trained on classes"] = gf.evaluate(model, test, n=tasks)
    average = train_on_tasks(model, train, steps)
    results["then on tasks"] = gf.evaluate(average, test, n=tasks)
    augmented = gf.backbones.affine_tta(average.encoder, copies=8)
    head = gf.create("prototypical", encoder=augmented)
    results["with 8 augmented copies"] = gf.evaluate(head, test, n=tasks)
    return results


if __name__ == "__main__":
    for name, result in main().items():
        print(f"{name:24} {result}")
