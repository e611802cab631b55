"""One labeled utterance per intent and a pile of unlabeled ones; and what to do with utterances of no known intent.

Test items are answered one by one, by nearest class means of the labeled items and by `pool_prototypes`, which also
sees a pile of 20 items per intent. It prints means over draws, and the paired difference with its 95 % interval: the
accuracy with all intents known; that with half of them known, so that half of the pile is distractors; and how well
`similarity` tells test items from out-of-scope ones (area under the ROC curve). Then, with an `unknown_threshold` that
95 % of the pile lies above: test items answered rightly, test items refused, and out-of-scope ("strange") ones refused.

The data are features of CLINC150's utterances, FOLDER/clinc150/minilm_embeddings.npz (150 intents; arrays x, y, split
and oos). Without them it runs on scikit-learn's digits as pixels: 0 to 7 are the intents, 8 and 9 out of scope.

Run: python examples/intents.py [FOLDER], or set GRAPHFEW_DATA to the folder.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score
from torch import nn

import graphfew as gf

FILE = Path("clinc150") / "minilm_embeddings.npz"


class Utterances(NamedTuple):
    """Items to draw labels and pile from, items to test on, and items of no intent."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    strange: np.ndarray


def read(root: str | None) -> Utterances:
    """CLINC150's features where they are, else digits."""
    folder = root or os.environ.get("GRAPHFEW_DATA")
    if folder and (Path(folder) / FILE).is_file():
        content = np.load(Path(folder) / FILE, allow_pickle=False)
        x, strange = (content[name].astype(np.float32) for name in ("x", "oos"))
        y = np.unique(content["y"], return_inverse=True)[1]
        train, test = (content["split"] == name for name in ("train", "test"))
    else:
        print(f"no {FILE} in {folder or 'GRAPHFEW_DATA, which is not set'}: digits instead")
        pixels = gf.data.encode(gf.data.digits(), nn.Flatten(), progress=False)
        x, y = pixels.x.numpy(), pixels.y.numpy()
        x, y, strange = x[y < 8], y[y < 8], x[y >= 8]
        train, test = (np.arange(len(y)) % 2 == part for part in (0, 1))
    return Utterances(x[train], y[train], x[test], y[test], strange)


def draw(data: Utterances, known: int, pile: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One labeled item of each of `known` intents, and `pile` unlabeled ones, label -1, of every intent."""
    rng = np.random.default_rng(seed)
    items = [
        rng.permutation(np.flatnonzero(data.y == c)) for c in rng.permutation(np.unique(data.y))
    ]
    labeled = np.array([own[0] for own in items[:known]])
    unlabeled = np.concatenate([own[1 : 1 + pile] for own in items])
    return data.x[np.concatenate([labeled, unlabeled])], np.append(
        data.y[labeled], np.full(len(unlabeled), -1)
    )


def measure(data: Utterances, known: int, seed: int, pile: int) -> dict[str, float]:
    """Accuracy and area under the curve of both methods, and what the threshold does."""
    x, y = draw(data, known, pile, seed)
    ours = gf.FewShotClassifier("pool_prototypes", batch_size=5000).fit(x, y)
    nearest = gf.FewShotClassifier("prototypical").fit(x[y >= 0], y[y >= 0])
    asked = np.isin(data.test_y, ours.classes_)
    test_x, test_y = data.test_x[asked], data.test_y[asked]
    both, own = (
        np.concatenate([test_x, data.strange]),
        np.arange(len(test_x) + len(data.strange)) < len(test_x),
    )
    found = {}
    for name, method in (("pool", ours), ("nearest", nearest)):
        found[name] = float((method.predict(test_x) == test_y).mean())
        found[f"{name} area"] = float(roc_auc_score(own, method.similarity(both).max(1)))
    ours.set_params(
        unknown_threshold=float(np.quantile(ours.similarity(x[y < 0]).max(1), 0.05)),
        unknown_label=-1,
    )
    answers = ours.predict(both)
    return {
        **found,
        "right": float((answers[own] == test_y).mean()),
        "refused": float((answers[own] == -1).mean()),
        "strange refused": float((answers[~own] == -1).mean()),
    }


def main(
    root: str | None = None, draws: int = 5, pile: int = 20
) -> dict[str, dict[str, np.ndarray]]:
    """Figures of every draw, with all intents known and with half of them."""
    data = read(root)
    known = {"all known": len(np.unique(data.y)), "half known": len(np.unique(data.y)) // 2}
    runs = {
        name: [measure(data, count, seed, pile) for seed in range(draws)]
        for name, count in known.items()
    }
    return {
        name: {key: np.array([run[key] for run in own]) for key in own[0]}
        for name, own in runs.items()
    }


if __name__ == "__main__":
    figures = main(*sys.argv[1:2])
    every = figures["all known"]
    print(f"{'':12}  nearest class mean  pool prototypes  difference")
    areas = {"pool": every["pool area"], "nearest": every["nearest area"]}
    for title, found in {**figures, "out of scope": areas}.items():
        ours, nearest = found["pool"], found["nearest"]
        gap, half = gf.evaluation.t_interval(ours - nearest)
        print(
            f"{title:12}  {nearest.mean():18.1%}  {ours.mean():15.1%}  {100 * gap:+.1f} ± {100 * half:.1f} points"
        )
    print(
        "threshold",
        *(f"{key} {every[key].mean():.1%}" for key in ("right", "refused", "strange refused")),
        sep="  ",
    )
