"""A digest of the code that a result depends on; comments, docstrings and layout do not count."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import graphfew as gf
from benchmarks.unlabeled_sets.weights import LEAVE_ONE_OUT

SUITE = Path(__file__).parent
PACKAGE = Path(gf.__file__).parent
SHARED = ("datasets", "measures", "settings", "weights")
# What `FewShotClassifier` is made of. Commands, training and plots do not change its predictions.
PREDICTION = (
    "_utils",
    "backbones",
    "core",
    "estimators",
    "evaluation",
    "methods",
    "nn",
    "ops",
    "propagation",
    "serialization",
)


def classifier_version() -> str:
    """Return the version of the suite's code and of all code behind `FewShotClassifier`."""
    files = [path for name in PREDICTION for path in sorted((PACKAGE / name).rglob("*.py"))]
    files += [PACKAGE / "estimators/auto/weights.json", LEAVE_ONE_OUT]
    return _digest([*_suite_files(), *files], ("torch",))


def baseline_version() -> str:
    """Return the version of the suite's code and of scikit-learn."""
    return _digest([*_suite_files(), SUITE / "baselines.py"], ("scikit-learn",))


def normalized_source(text: str) -> str:
    """Return source without comments and docstrings, in one layout."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            # An empty body would not be valid source.
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


def _suite_files() -> list[Path]:
    return [SUITE / f"{name}.py" for name in SHARED]


def _digest(files: Iterable[Path], packages: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        digest.update(normalized_source(path.read_text(encoding="utf-8")).encode())
    for package in packages:
        digest.update(f"{package} {version(package)}".encode())
    return digest.hexdigest()[:12]
