"""The records file: one JSON line per run, and one per set with the results of its methods."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.unlabeled_sets.settings import Setting
from benchmarks.unlabeled_sets.spec import MethodRow, SuiteSpec

RESULTS = Path("benchmarks/unlabeled_sets/results")
# Fields of a method that do not change its predictions.
PRESENTATION = ("name", "features", "single", "reference")


@dataclasses.dataclass(frozen=True)
class Sample:
    """A draw of a setting."""

    setting: Setting
    draw: int


@dataclasses.dataclass(frozen=True)
class Records:
    """The content of a records file.

    Attributes:
        results: measures by sample and by the method's name; the last ones if there are several.
        keys: the keys of these results, in the same form.
        runs: command, commit, versions and machine of each run.
    """

    results: Mapping[Sample, Mapping[str, Mapping[str, float]]]
    keys: Mapping[Sample, Mapping[str, str]]
    runs: tuple[Mapping[str, Any], ...]


def records_path(spec: SuiteSpec, folder: Path = RESULTS) -> Path:
    """Return the path of a spec's records."""
    return folder / f"{spec.name}.jsonl"


def result_key(spec: SuiteSpec, row: MethodRow, code_version: str) -> str:
    """Return a digest of everything but the sample that a result depends on."""
    method = dataclasses.asdict(row)
    for name in PRESENTATION:
        del method[name]
    content = [spec.seed, spec.cap, spec.outlier_share, method, code_version]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def read_records(path: Path) -> Records:
    """Read a records file; a missing file has no results.

    Raises:
        ValueError: a complete line is not JSON.
    """
    results: dict[Sample, dict[str, Mapping[str, float]]] = {}
    keys: dict[Sample, dict[str, str]] = {}
    runs = []
    for line in _complete_lines(path):
        content = json.loads(line)
        if "command" in content:
            runs.append(content)
            continue
        sample = Sample(Setting(**content["setting"]), content["draw"])
        results.setdefault(sample, {}).update(content["methods"])
        keys.setdefault(sample, {}).update(content["keys"])
    return Records(results, keys, tuple(runs))


def remove_incomplete_line(path: Path) -> None:
    """Remove the last line if an interruption left it without its end."""
    if path.exists():
        content = path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        if complete != content:
            path.write_bytes(complete)


def append_line(path: Path, content: Mapping[str, Any]) -> None:
    """Append one JSON line; folders above the file are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(content, separators=(",", ":")) + "\n")


def _complete_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]
