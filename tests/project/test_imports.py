"""The import order of the packages, read from the source."""

import ast
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import graphfew

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "graphfew"
PROJECT = ("graphfew", "tests", "examples", "benchmarks", "docs")

# Lowest first: a package may import those before it only.
ORDER = (
    "errors",
    "_utils",
    "loggers",
    "ops",
    "core",
    "backbones",
    "convert",
    "propagation",
    "nn",
    "data",
    "methods",
    "training",
    "evaluation",
    "serialization",
    "runs",
    "encoders",
    "estimators",
    "export",
    "visualization",
    "labeling",
    "dask",
    "benchmark",
    "cli",
)
PUBLIC_PACKAGES = (
    *(name for name in ORDER if not name.startswith("_")),
    "benchmark.report",
    "labeling.annotation",
)
FREE = ("__init__", "__main__")  # the public face and the command's entry; nobody imports them


def dotted(file: Path, package: Path) -> str:
    """`graphfew/data/tasks.py` is `data.tasks`, `graphfew/data/__init__.py` is `data`."""
    parts = file.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def sources(package: Path) -> dict[str, Path]:
    return {dotted(file, package): file for file in sorted(package.rglob("*.py"))}


def absolute(node: ast.ImportFrom, file: Path, package: Path) -> str:
    """The absolute module of an import."""
    if not node.level:
        return node.module or ""
    here = (package.name, *file.relative_to(package).parent.parts)
    return ".".join([*here[: len(here) - node.level + 1], *([node.module] if node.module else [])])


def imports(file: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every import, including those inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, file, package)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def edges(package: Path) -> Iterator[tuple[str, str, int]]:
    """Importing module, imported module and line, without the package's name."""
    known = sources(package)
    for module, file in known.items():
        for line, name in imports(file, package):
            head, _, rest = name.partition(".")
            if head == package.name:
                yield module, target(rest, known), line


def target(name: str, known: dict[str, Path]) -> str:
    """The longest known module that is a prefix: `data.tasks` for `data.tasks.Tasks`."""
    parts = name.split(".")
    prefixes = (".".join(parts[:k]) for k in range(len(parts), 0, -1))
    return next((p for p in prefixes if p in known), "__init__")


def top(module: str) -> str:
    return module.split(".")[0]


def order_faults(package: Path, order: Sequence[str]) -> list[str]:
    """Imports that violate the order, and files that are not in it."""
    faults = [f"{m}: not in ORDER" for m in sources(package) if top(m) not in (*order, *FREE)]
    for module, imported, line in edges(package):
        if module in FREE or top(module) == top(imported) or top(module) not in order:
            continue
        if top(imported) not in order[: order.index(top(module))]:
            faults.append(f"{module}:{line} imports {imported}")
    return faults


def cycle(package: Path) -> list[str]:
    """The modules of one import cycle, if any. The top-level `__init__` may import everything."""
    graph: dict[str, set[str]] = {module: set() for module in sources(package)}
    for module, imported, _ in edges(package):
        if module not in FREE and not imported.startswith("__"):
            graph[module].add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def cli_faults(package: Path) -> list[str]:
    return [
        f"{m}:{line} imports {i}"
        for m, i, line in edges(package)
        if top(i) == "cli" and top(m) not in ("cli", "__main__")
    ]


def public_faults(files: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Imports of private names of graphfew."""
    packages = [f"graphfew.{name}" for name in PUBLIC_PACKAGES]
    allowed = {"graphfew", *packages, "graphfew.cli.app", *(f"graphfew.{name}" for name in names)}
    return [
        f"{file.name}:{line} imports {name}"
        for file in files
        for line, name in imports(file, file.parent)
        if top(name) == "graphfew"
        and name not in allowed
        and name.rpartition(".")[0] not in packages
    ]


def test_packages_import_only_lower_ones() -> None:
    assert order_faults(PACKAGE, ORDER) == []


def test_no_import_cycles() -> None:
    assert cycle(PACKAGE) == []


def test_only_main_imports_the_command_line() -> None:
    assert cli_faults(PACKAGE) == []


def test_no_utils() -> None:
    assert [f for folder in PROJECT for f in (ROOT / folder).rglob("util*.py")] == []


def test_examples_benchmarks_and_docs_use_public_names() -> None:
    files = [
        f
        for folder in ("examples", "benchmarks", "docs")
        for f in sorted((ROOT / folder).rglob("*.py"))
    ]
    assert public_faults(files, graphfew.__all__) == []


# Tests of the checker, on artificial packages.


def write(folder: Path, **files: str) -> Path:
    for name, text in {"__init__": "", **files}.items():
        path = folder / "graphfew" / (name.replace("__in__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "graphfew"


@pytest.mark.parametrize(
    "text",
    [
        "from graphfew.high import x",
        "from graphfew import high",
        "import graphfew.high",
        "import graphfew.high as h",
        "from .high import x",
        "from . import high",
        "def f():\n    from graphfew.high import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from graphfew.high import x",
        "from graphfew import x",
        "import graphfew",
        "from graphfew import *",
    ],
)
def test_import_of_a_higher_package_is_detected(tmp_path: Path, text: str) -> None:
    package = write(tmp_path, low=text, high="x = 1")
    (fault,) = order_faults(package, ("low", "high"))
    assert fault.startswith("low:")


@pytest.mark.parametrize(
    "text", ["from graphfew.low import x", "from .low import x", "import os", "from os import *"]
)
def test_import_of_a_lower_package_is_allowed(tmp_path: Path, text: str) -> None:
    assert order_faults(write(tmp_path, low="x = 1", high=text), ("low", "high")) == []


def test_package_counts_as_one_entry(tmp_path: Path) -> None:
    package = write(
        tmp_path,
        low="x = 1",
        pack__in____init__="from graphfew.pack.a import x",
        pack__in__a="from ..low import x",
        high="y = 1",
        pack__in__b="from .a import x\nfrom graphfew.high import y",
    )
    assert order_faults(package, ("low", "pack", "high")) == ["pack.b:2 imports high"]


def test_file_that_is_not_in_the_order_is_detected(tmp_path: Path) -> None:
    assert order_faults(write(tmp_path, stray=""), ("low",)) == ["stray: not in ORDER"]


def test_cycle_between_siblings_is_detected(tmp_path: Path) -> None:
    package = write(
        tmp_path,
        pack__in____init__="",
        pack__in__a="from graphfew.pack.b import x",
        pack__in__b="from .a import y",
    )
    assert set(cycle(package)) == {"pack.a", "pack.b"}


def test_import_of_the_command_line_is_detected(tmp_path: Path) -> None:
    package = write(
        tmp_path,
        cli="",
        __main__="from graphfew.cli import app",
        train="from graphfew.cli import app",
    )
    assert cli_faults(package) == ["train:1 imports cli"]


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("import graphfew as gf", True),
        ("from graphfew import Tasks", True),
        ("from graphfew.data import omniglot", True),
        ("import graphfew.backbones", True),
        ("import numpy", True),
        ("from graphfew import data", True),
        ("from graphfew.graph import Graph", False),
        ("import graphfew.train", False),
        ("from graphfew import hidden", False),
        ("from graphfew.data.tasks import Tasks", False),
        ("from graphfew import *", False),
    ],
)
def test_private_names_in_examples_are_detected(tmp_path: Path, text: str, fine: bool) -> None:
    (tmp_path / "example.py").write_text(text, encoding="utf-8")
    assert (public_faults([tmp_path / "example.py"], ["Tasks"]) == []) is fine
