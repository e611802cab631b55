"""Fifty thousand items, three labels per class: the labels reach the rest in seconds, on a sparse neighbor graph.

The items are made: Gaussian clusters around 20 random directions in 32 dimensions, wide enough to overlap, float32.
`FewShotClassifier` fits all of them, label -1 where there is none, and says in `transduction_` what it settled. A table
of all pairs would take 10 GB: `label_spreading` solves tasks of more than 3,000 nodes on the graph of their nearest
neighbors, and `pool_prototypes` needs no edges between items.

It prints for each method the seconds that `fit` took and how many unlabeled items are right, next to nearest class
means of the labeled items alone. The clusters are round, which suits class means that move to their items; spreading
asks only that neighbors are of one class, whatever the shape.

Run: python examples/many_items.py [ITEMS]
"""

import sys
import time

import numpy as np

import graphfew as gf

METHODS = ("label_spreading", "pool_prototypes")


def clusters(
    items: int, classes: int = 20, dim: int = 32, width: float = 0.25, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Features `[items, dim]` and classes `[items]`."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(classes, dim))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    y = rng.integers(classes, size=items)
    return (centers[y] + width * rng.normal(size=(items, dim))).astype(np.float32), y


def hide(y: np.ndarray, labels: int) -> np.ndarray:
    """The classes with all but the first `labels` of each made unknown, -1."""
    known = np.concatenate([np.flatnonzero(y == c)[:labels] for c in np.unique(y)])
    return np.where(np.isin(np.arange(len(y)), known), y, -1)


def main(items: int = 50_000, labels: int = 3) -> dict[str, tuple[float, float]]:
    """Seconds and accuracy on the unlabeled items of each method, nearest class means first."""
    x, y = clusters(items)
    given = hide(y, labels)
    known, unknown = given >= 0, given < 0
    start = time.perf_counter()
    answers = gf.FewShotClassifier("prototypical").fit(x[known], given[known]).predict(x[unknown])
    found = {
        "nearest class mean": (time.perf_counter() - start, float((answers == y[unknown]).mean()))
    }
    for method in METHODS:
        start = time.perf_counter()
        settled = gf.FewShotClassifier(method).fit(x, given).transduction_
        found[method] = (time.perf_counter() - start, float((settled == y)[unknown].mean()))
    return found


if __name__ == "__main__":
    for name, (seconds, accuracy) in main(*map(int, sys.argv[1:2])).items():
        print(f"{name:20} {seconds:6.1f} s  {accuracy:.1%}")
