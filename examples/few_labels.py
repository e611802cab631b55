"""Partially labeled shots: what the unlabeled ones are worth.

Tasks are 5-way 5-shot, and 20, 40, 60 or 100 % of the shots of each class are labeled. `soft_k_means`, which moves
prototypes toward nearby unlabeled shots, is evaluated twice on the same tasks: with the unlabeled shots, and without
them (`in_mode(unlabeled=False)`), which makes it a prototypical network. Every query is predicted alone, so any gain
comes from the shots. The encoder is trained as a prototypical network for a few seconds.

For each labeled fraction, the script prints both accuracies on unseen characters and their paired difference. The
fewer shots are labeled, the more the others help; if all are labeled, the difference is 0.

The data set is Omniglot: FOLDER/omniglot/images_background.zip and images_evaluation.zip (decoded once). Without these
files it is glyphs, printed characters that the library renders.

Run: python examples/few_labels.py [FOLDER], or set GRAPHFEW_DATA to the folder.
"""

import os
import sys
from pathlib import Path

import graphfew as gf

ARCHIVES = ("images_background.zip", "images_evaluation.zip")
LABELED_RATIOS = (0.2, 0.4, 0.6, 1.0)


def load_data(root: str | None) -> tuple[gf.Dataset, gf.Dataset]:
    """Training characters and unseen ones: Omniglot if its archives exist, otherwise glyphs."""
    folder = root or os.environ.get("GRAPHFEW_DATA")
    if folder is None:
        print("GRAPHFEW_DATA is not set: using glyphs instead")
        return gf.data.glyphs("train"), gf.data.glyphs("test")
    omniglot = Path(folder) / "omniglot"
    missing = [name for name in ARCHIVES if not (omniglot / name).is_file()]
    if missing:
        print(f"{omniglot} does not contain {' and '.join(missing)}: using glyphs instead")
        return gf.data.glyphs("train"), gf.data.glyphs("test")
    test = gf.data.omniglot(omniglot, "test", rotations=False)
    return gf.data.omniglot(omniglot, "train"), test


def encode(train: gf.Dataset, test: gf.Dataset, steps: int) -> gf.Dataset:
    """Features of the test characters, from an encoder that is trained on the others."""
    model = gf.create("prototypical", encoder=gf.backbones.conv4(width=32, seed=0))
    tasks = gf.Tasks(train, way=10, shot=1, query=3, seed=1)
    for step in gf.train(model, tasks, loss=gf.node_loss, batch=4, steps=steps):
        if step.index % 50 == 49:
            print(f"step {step.index + 1}: loss {step.loss:.2f}, accuracy {step.accuracy:.2f}")
    return gf.data.encode(test, model.encoder)


def main(root: str | None = None, tasks: int = 300, steps: int = 150) -> dict[float, gf.Comparison]:
    """For each labeled fraction: with the unlabeled shots compared with dropping them."""
    features = encode(*load_data(root), steps)
    semi = gf.create("soft_k_means", encoder=gf.backbones.identity(features.x.shape[1]))
    labeled_only = semi.in_mode(unlabeled=False)
    gains = {}
    for ratio in LABELED_RATIOS:
        source = gf.Tasks(features, way=5, shot=5, query=5, labeled_ratio=ratio, seed=2)
        gains[ratio] = gf.compare(semi, labeled_only, source, n=tasks)
    return gains


if __name__ == "__main__":
    gains = main(*sys.argv[1:2])
    print("labeled  with unlabeled  without  difference")
    for ratio, gain in gains.items():
        print(f"{ratio:7.0%}  {gain.a.mean:14.1%}  {gain.b.mean:7.1%}  {gain}")
