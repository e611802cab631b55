"""An encoder in two stages: it learns to tell all base classes apart, then tasks tune it; then copies are averaged.

Run: python examples/pretrained_encoder.py
"""

import graphfew as gf


def classes(encoder: gf.backbones.Backbone, data: gf.Dataset, steps: int) -> None:
    """All base classes at once, on jittered images; the rate warms up, then falls along a cosine."""
    items = gf.training.ClassificationBatches(data, seed=0, augment=gf.data.augment.affine())
    learner = gf.training.Classifier(encoder, encoder.out_dim, items.classes)
    rate = gf.training.linear_warmup(gf.training.cosine_decay(3e-3, steps), steps // 20)
    for step in gf.train(
        learner,
        items,
        loss=gf.class_loss,
        optimizer=gf.training.adamw(learner, weight_decay=0.01),
        batch=64,
        steps=steps,
        lr=rate,
    ):
        if step.index % 100 == 99:
            print(
                f"classes: step {step.index + 1}, loss {step.loss:.2f}, accuracy {step.accuracy:.2f}"
            )


def tune(model: gf.GraphMethod, average: gf.GraphMethod, data: gf.Dataset, steps: int) -> None:
    """Tasks of many classes; `average` follows the weights from step to step."""
    average.load_state_dict(model.state_dict())
    tasks = gf.data.Augmented(
        gf.Tasks(data, way=20, shot=1, query=3, seed=1), gf.data.augment.affine(), seed=1
    )
    rate = gf.training.cosine_decay(1e-3, steps)
    for step in gf.train(model, tasks, loss=gf.node_loss, batch=1, steps=steps, lr=rate):
        gf.training.follow(average, model, 0.99, step.index + 1)
        if step.index % 100 == 99:
            print(
                f"tasks: step {step.index + 1}, loss {step.loss:.2f}, accuracy {step.accuracy:.2f}"
            )


def prototypes(seed: int = 0) -> gf.GraphMethod:
    """Prototypes on a small encoder."""
    return gf.create("prototypical", encoder=gf.backbones.conv4(width=32, seed=seed))


def main(steps: int = 300, tasks: int = 200) -> dict[str, gf.Result]:
    """Accuracy on characters of unseen scripts after each stage."""
    train, unseen = gf.data.glyphs(split="train"), gf.data.glyphs(split="test")
    test = gf.Tasks(unseen, way=20, shot=1, query=5, seed=2)
    model, average = prototypes(), prototypes()
    results = {"as drawn": gf.evaluate(model, test, n=tasks)}
    classes(model.encoder, train, steps)
    results["classes"] = gf.evaluate(model, test, n=tasks)
    tune(model, average, train, steps)
    results["then tasks"] = gf.evaluate(average, test, n=tasks)
    seen = gf.create("prototypical", encoder=gf.backbones.affine_tta(average.encoder, copies=8))
    results["then 8 copies averaged"] = gf.evaluate(seen, test, n=tasks)
    return results


if __name__ == "__main__":
    for name, result in main().items():
        print(f"{name:24} {result}")
