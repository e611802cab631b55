"""The records of active learning: one JSON line per run, and one per curve."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.active_learning.curves import Curve
from benchmarks.unlabeled_sets.records import append_line

RESULTS = Path("benchmarks/active_learning/results/active-learning.jsonl")


@dataclasses.dataclass(frozen=True)
class CurveKey:
    """Which curve: strategy, data set and draw."""

    strategy: str
    dataset: str
    draw: int


def read_curves(path: Path) -> dict[CurveKey, Curve]:
    """Read the records; a missing file has none. The last one of a key counts."""
    curves = {}
    for content in _contents(path):
        if "command" in content:
            continue
        key = CurveKey(content["strategy"], content["dataset"], content["draw"])
        accuracy, found = tuple(content["accuracy"]), tuple(content["classes_found"])
        curves[key] = Curve(accuracy, found, content["seconds"])
    return curves


def append_curve(path: Path, key: CurveKey, curve: Curve) -> None:
    """Append the record of one curve."""
    append_line(path, {**dataclasses.asdict(key), **dataclasses.asdict(curve)})


def _contents(path: Path) -> Iterable[Mapping[str, Any]]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
