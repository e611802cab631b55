"""One label per intent and a set of unlabeled utterances, CLINC150: `python -m benchmarks.unlabeled_set.run`.

Labeled and unlabeled items come from the train split; every utterance of the test split is predicted
alone. The hyperparameters of `pool_prototypes` were chosen with queries of the val split. Each result
(classes, method) is a JSON file, written when it is complete; existing ones are skipped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from sklearn.metrics import roc_auc_score

import graphfew as gf
from benchmarks import files

RESULTS = Path("benchmarks/unlabeled_set/results")
UNLABELED_PER_INTENT = 20
Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Utterances:
    """CLINC150 as features `[n, 384]` and intents `[n]` of each split, and out-of-scope features."""

    x: Mapping[str, Array]
    y: Mapping[str, Array]
    out_of_scope: Array


@dataclasses.dataclass(frozen=True)
class Row:
    """A method with its arguments, and whether it uses the unlabeled items."""

    name: str
    method: str
    uses_unlabeled: bool = True
    balanced: bool = False
    head: str | None = None

    def build(self, way: int) -> gf.FewShotClassifier:
        """The classifier for `way` classes."""
        arguments = None
        if self.balanced:
            arguments = {"prior_weight": 1.0, "outlier_threshold": None}
            arguments["n_components"] = way - 1
        head_arguments = {"inv_regularization": 3.0} if self.head else None
        return gf.FewShotClassifier(
            self.method,
            arguments=arguments,
            head=self.head,
            head_arguments=head_arguments,
            batch_size=5000,
        )


ROWS = (
    Row("nearest class mean, labels only", "prototypical", uses_unlabeled=False),
    Row("label propagation", "label_propagation"),
    Row("label spreading", "label_spreading"),
    Row("pool prototypes", "pool_prototypes"),
    Row("pool prototypes, balanced prior", "pool_prototypes", balanced=True),
    Row("pool prototypes, then linear head", "pool_prototypes", head="linear_head"),
    Row(
        "pool prototypes, balanced prior, then linear head",
        "pool_prototypes",
        balanced=True,
        head="linear_head",
    ),
)


def folder(root: str | None) -> Path:
    """The folder of the data sets: `root`, or `GRAPHFEW_DATA`. Raises ValueError if both are unset."""
    folder = root or os.environ.get("GRAPHFEW_DATA")
    if not folder:
        raise ValueError(
            "the benchmark needs a folder with clinc150/; give --root, or set GRAPHFEW_DATA"
        )
    return Path(folder)


def read(root: Path) -> Utterances:
    """The features from `clinc150/minilm_embeddings.npz`."""
    content = np.load(root / "clinc150" / "minilm_embeddings.npz", allow_pickle=False)
    _, y = np.unique(content["y"], return_inverse=True)
    own = {name: content["split"] == name for name in ("train", "val", "test")}
    return Utterances(
        {name: content["x"][mask].astype(np.float32) for name, mask in own.items()},
        {name: y[mask] for name, mask in own.items()},
        content["oos"].astype(np.float32),
    )


def draw(data: Utterances, known: int, seed: int) -> tuple[Array, Array, Array]:
    """Items and labels to fit (-1: unlabeled, from all intents), and the known intents."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(150)
    items = {c: rng.permutation(np.flatnonzero(data.y["train"] == c)) for c in order.tolist()}
    support = np.array([items[c][0] for c in order[:known].tolist()])
    unlabeled = np.concatenate([items[c][1 : 1 + UNLABELED_PER_INTENT] for c in order.tolist()])
    labels = np.concatenate([order[:known], np.full(len(unlabeled), -1)])
    return data.x["train"][np.concatenate([support, unlabeled])], labels, order[:known]


def measure(row: Row, data: Utterances, known: int, seed: int, split: str) -> dict[str, Any]:
    """Accuracy, AUROC against out-of-scope utterances, and the accuracy-coverage curve."""
    x, y, classes = draw(data, known, seed)
    rows = slice(None) if row.uses_unlabeled else y >= 0
    fitted = row.build(known).fit(x[rows], y[rows])
    known_intent = np.isin(data.y[split], classes)
    queries, truth = data.x[split][known_intent], data.y[split][known_intent]
    right = fitted.predict(queries) == truth
    inside, outside = (fitted.similarity(items).max(1) for items in (queries, data.out_of_scope))
    return {
        "seed": seed,
        "accuracy": float(right.mean()),
        "auroc": float(
            roc_auc_score(
                np.arange(len(inside) + len(outside)) < len(inside),
                np.concatenate([inside, outside]),
            )
        ),
        "coverage": coverage(right, inside, outside),
    }


def coverage(right: Array, inside: Array, outside: Array) -> list[list[float]]:
    """`[accepted fraction of in-scope items, accuracy among all accepted items]` at 20 thresholds.

    The thresholds accept 5, 10, ..., 100 % of the in-scope items; accepted out-of-scope items count
    as errors.
    """
    curve = []
    for share in np.linspace(0.05, 1, 20):
        threshold = np.quantile(inside, 1 - share)
        answered = inside >= threshold
        wrong = int((outside >= threshold).sum())
        curve.append(
            [float(answered.mean()), float((right & answered).sum() / (answered.sum() + wrong))]
        )
    return curve


def main() -> None:
    """Run the missing results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", help="folder with clinc150/; default: GRAPHFEW_DATA")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--split", default="test", choices=("val", "test"))
    given = parser.parse_args()
    data = read(folder(given.root))
    cells = [(known, row) for known in (150, 75) for row in ROWS]
    with Progress() as progress:
        bar = progress.add_task("unlabeled set", total=len(cells) * given.draws)
        for known, row in cells:
            name = "".join(c if c.isalnum() else "-" for c in row.name.lower())
            path = given.out / f"{known}-{name}.json"
            if path.exists():
                progress.advance(bar, given.draws)
                continue
            draws = []
            for seed in range(given.draws):
                progress.update(bar, description=path.stem)
                draws.append(measure(row, data, known, seed, given.split))
                progress.advance(bar)
            content = {
                "command": "python -m benchmarks.unlabeled_set.run",
                "name": row.name,
                "known": known,
                "split": given.split,
                "pile_per_intent": UNLABELED_PER_INTENT,
                **summary(draws),
                "draws": draws,
            }
            files.write(path, json.dumps(content, separators=(",", ":")) + "\n")


def summary(draws: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over draws with half of the 95 % t-interval."""
    (mean, half), (area, area_half) = (
        gf.evaluation.t_interval([d[key] for d in draws]) for key in ("accuracy", "auroc")
    )
    return {"mean": mean, "half_width": half, "auroc": area, "auroc_half_width": area_half}


if __name__ == "__main__":
    main()
