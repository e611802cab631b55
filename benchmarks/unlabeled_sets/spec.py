"""The spec of the suite, read from TOML."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPEC = Path("benchmarks/specs/unlabeled-pools.toml")


@dataclasses.dataclass(frozen=True)
class MethodRow:
    """A method of the suite: a `FewShotClassifier` or a baseline.

    Attributes:
        name: name in records and tables.
        features: what the method does to the features, for readers.
        method: method of `FewShotClassifier`; None is its default.
        arguments: arguments of the method.
        unlabeled: whether the classifier is fitted to the unlabeled items too.
        baseline: name of a baseline in `baselines.BASELINES`; None is a `FewShotClassifier`.
        single: whether the method counts for the oracle, the best single method of a setting.
        reference: whether the method is one of the baselines that no method should be below.
    """

    name: str
    features: str
    method: str | None = None
    arguments: Mapping[str, Any] | None = None
    unlabeled: bool = True
    baseline: str | None = None
    single: bool = True
    reference: bool = False


@dataclasses.dataclass(frozen=True)
class SuiteSpec:
    """Data sets, settings and methods.

    Attributes:
        name: name of the suite, and of its records file.
        title: title for tables.
        about: text below the title.
        seed: seed of all draws.
        draws: number of draws of each setting.
        cap: largest number of items of a set, where every class can keep its minimum.
        datasets: names in `datasets.LOADERS`.
        shots: numbers of labels per class.
        balances: names in `settings.BALANCES`.
        outlier_kinds: kinds of outliers that are added to the natural balance.
        outlier_share: share of outliers in a set, where there are enough.
        methods: the methods.
    """

    name: str
    title: str
    about: str
    seed: int
    draws: int
    cap: int
    datasets: tuple[str, ...]
    shots: tuple[int, ...]
    balances: tuple[str, ...]
    outlier_kinds: tuple[str, ...]
    outlier_share: float
    methods: tuple[MethodRow, ...]


def read_spec(path: Path = SPEC) -> SuiteSpec:
    """Read a spec.

    Raises:
        ValueError: a key is unknown or missing, or two methods have the same name.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    rows = content.pop("method", [])
    try:
        methods = tuple(MethodRow(**row) for row in rows)
        lists = {key: tuple(value) for key, value in content.items() if isinstance(value, list)}
        spec = SuiteSpec(**{**content, **lists}, methods=methods)
    except TypeError as error:
        raise ValueError(f"{path} is not a spec of the suite: {error}") from error
    names = [row.name for row in methods]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ValueError(f"{path} has several methods named {', '.join(duplicates)}; rename them")
    return spec
