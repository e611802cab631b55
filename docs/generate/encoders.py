"""Tables of the accuracy of encoders, from the record of `benchmarks.encoders`."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from docs.generate import methods

RESULTS = Path(__file__).parents[2] / "benchmarks" / "encoders" / "results.json"
TEXTS = ("clinc150", "fewrel")
IMAGES = ("cifar100", "omniglot", "digits")
TITLES = {
    "clinc150": "CLINC150, utterances",
    "fewrel": "FewRel, sentences",
    "cifar100": "CIFAR-100, photos",
    "omniglot": "Omniglot, drawn characters",
    "digits": "handwritten digits",
}


def results() -> dict[str, dict[str, Any]]:
    """Return the setting and the accuracy of each draw, by data set."""
    content: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return content


def mean(data: str, encoder: str) -> float:
    """Return the mean accuracy in % of an encoder on a data set."""
    return 100 * statistics.mean(results()[data]["accuracy"][encoder])


def texts() -> str:
    """Return the accuracy on texts."""
    return _table(TEXTS)


def images() -> str:
    """Return the accuracy on images."""
    return _table(IMAGES)


def _table(names: tuple[str, ...]) -> str:
    encoders = list(results()[names[0]]["accuracy"])
    rows = []
    for name in names:
        setting = results()[name]
        labels = f"{setting['n_classes']} classes, {setting['n_labeled']} labels each"
        n_unlabeled = setting["n_classes"] * setting["n_unlabeled"]
        measured = setting["accuracy"]
        cells = [f"{mean(name, e):.1f}" if e in measured else "–" for e in encoders]
        rows.append([TITLES[name], labels, f"{n_unlabeled:,}", *cells])
    return methods.table(["data", "labeled", "unlabeled items", *encoders], rows)
