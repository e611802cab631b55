"""Few of the shots are labeled: what the unlabeled ones are worth.

Tasks are 5-way 5-shot, and of each class's shots 20, 40, 60 or 100 % keep their label. `soft_k_means`, which moves
prototypes to the unlabeled shots that are near them, is asked twice on the same tasks: with the unlabeled shots, and
with them dropped, `in_mode(unlabeled=False)`, where it is a prototypical network. Every query is answered alone, so
what is gained comes from the shots. The encoder is trained as a prototypical network for a few seconds.

It prints, for each share, both accuracies on unseen characters and their paired difference. The fewer shots are
labeled, the more the others help; where all are, nothing can be gained, and the difference is 0.

The data are Omniglot's archives, FOLDER/omniglot/images_background.zip and images_evaluation.zip (decoded once).
Without them it runs on glyphs, printed characters that the library draws.

Run: python examples/few_labels.py [FOLDER], or set GRAPHFEW_DATA to the folder.
"""

import os
import sys
from pathlib import Path

import graphfew as gf

ARCHIVES = ("images_background.zip", "images_evaluation.zip")
SHARES = (0.2, 0.4, 0.6, 1.0)


def read(root: str | None) -> tuple[gf.Dataset, gf.Dataset]:
    """Characters to train on and unseen ones: Omniglot's where its archives are, else glyphs."""
    folder = root or os.environ.get("GRAPHFEW_DATA")
    place = Path(folder or "") / "omniglot"
    missing = [name for name in ARCHIVES if not folder or not (place / name).is_file()]
    if missing:
        print(
            f"no {' and '.join(missing)} in {place if folder else 'GRAPHFEW_DATA, which is not set'}: glyphs instead"
        )
        return gf.data.glyphs("train"), gf.data.glyphs("test")
    return gf.data.omniglot(place, "train"), gf.data.omniglot(place, "test", rotations=False)


def encode(train: gf.Dataset, test: gf.Dataset, steps: int) -> gf.Dataset:
    """The test characters as features of an encoder trained on the others."""
    model = gf.create("prototypical", encoder=gf.backbones.conv4(width=32, seed=0))
    source = gf.Tasks(train, way=10, shot=1, query=3, seed=1)
    for step in gf.train(model, source, loss=gf.node_loss, batch=4, steps=steps):
        if step.index % 50 == 49:
            print(f"step {step.index + 1}: loss {step.loss:.2f}, accuracy {step.accuracy:.2f}")
    return gf.data.encode(test, model.encoder)


def main(root: str | None = None, tasks: int = 300, steps: int = 150) -> dict[float, gf.Comparison]:
    """For each labeled share: with against without the unlabeled shots."""
    features = encode(*read(root), steps)
    semi = gf.create("soft_k_means", encoder=gf.backbones.identity(features.x.shape[1]))
    labeled_only = semi.in_mode(unlabeled=False)
    sources = {
        share: gf.Tasks(features, way=5, shot=5, query=5, labeled_ratio=share, seed=2)
        for share in SHARES
    }
    return {
        share: gf.compare(semi, labeled_only, source, n=tasks) for share, source in sources.items()
    }


if __name__ == "__main__":
    gains = main(*sys.argv[1:2])
    print("labeled  with unlabeled  without  difference")
    for share, gain in gains.items():
        print(f"{share:8.0%}  {gain.a.mean:15.1%}  {gain.b.mean:7.1%}  {gain}")
