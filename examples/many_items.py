"""50,000 items with three labels per class, labeled in seconds on a sparse neighbor graph.

The items are synthetic: overlapping Gaussian clusters around 20 random directions in 32 dimensions, float32.
`FewShotClassifier` fits all of them, with label -1 for the unlabeled ones, and stores their labels in `transduction_`.
A matrix of all pairs would need 10 GB: `label_spreading` solves tasks with more than 3,000 nodes on a nearest-neighbor
graph, and `pool_prototypes` needs no edges between items.

For each method, the script prints the seconds of `fit` and the accuracy on the unlabeled items, next to nearest class
means of the labeled items alone. Round clusters suit class means; label spreading only assumes that neighbors have the
same class, whatever the shape of the clusters.

Run: python examples/many_items.py [ITEMS]
"""

import sys
import time

import numpy as np

import graphfew as gf

METHODS = ("label_spreading", "pool_prototypes")


def make_clusters(
    n_items: int, n_classes: int = 20, dim: int = 32, std: float = 0.25, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Features `[n_items, dim]` and classes `[n_items]`."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(n_classes, dim))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    y = rng.integers(n_classes, size=n_items)
    noise = std * rng.normal(size=(n_items, dim))
    return (centers[y] + noise).astype(np.float32), y


def hide_labels(y: np.ndarray, per_class: int) -> np.ndarray:
    """The classes, with -1 for all but the first `per_class` items of each."""
    labeled = np.concatenate([np.flatnonzero(y == c)[:per_class] for c in np.unique(y)])
    return np.where(np.isin(np.arange(len(y)), labeled), y, -1)


def main(n_items: int = 50_000, per_class: int = 3) -> dict[str, tuple[float, float]]:
    """Seconds and accuracy on the unlabeled items of each method, nearest class means first."""
    x, y = make_clusters(n_items)
    labels = hide_labels(y, per_class)
    labeled, unlabeled = labels >= 0, labels < 0
    start = time.perf_counter()
    baseline = gf.FewShotClassifier("prototypical").fit(x[labeled], labels[labeled])
    accuracy = float((baseline.predict(x[unlabeled]) == y[unlabeled]).mean())
    results = {"nearest class mean": (time.perf_counter() - start, accuracy)}
    for method in METHODS:
        start = time.perf_counter()
        classifier = gf.FewShotClassifier(method).fit(x, labels)
        seconds = time.perf_counter() - start
        correct = classifier.transduction_[unlabeled] == y[unlabeled]
        results[method] = (seconds, float(correct.mean()))
    return results


if __name__ == "__main__":
    for name, (seconds, accuracy) in main(*map(int, sys.argv[1:2])).items():
        print(f"{name:20} {seconds:6.1f} s  {accuracy:.1%}")
