"""Plot accuracy against coverage with out-of-scope queries: `python -m benchmarks.unlabeled_set.plot`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.unlabeled_set.run import RESULTS

STYLES = {
    "nearest class mean, labels only": ("-", "o"),
    "label spreading": ("-.", "^"),
    "pool prototypes": ("--", "s"),
    "pool prototypes, balanced prior": (":", "D"),
}


def main() -> None:
    """Plot the mean curve of each method over draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for path in sorted(given.results.glob("150-*.json")):
        content = json.loads(path.read_text())
        if content["name"] in STYLES:
            line, marker = STYLES[content["name"]]
            accepted, correct = (
                100 * np.array([draw["coverage"] for draw in content["draws"]]).mean(0).T
            )
            label = f"{content['name']} (AUROC {content['auroc']:.3f})"
            axes.plot(accepted, correct, line, marker=marker, markersize=4, label=label)
    axes.set(
        xlabel="accepted in-scope utterances, %",
        ylabel="accuracy among all accepted, %",
        title="CLINC150, one label per intent, with out-of-scope utterances",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(given.results / "coverage.png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
