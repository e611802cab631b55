"""The packages in import order, each with the first line of its docstring."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from docs.generate import methods

ROOT = Path(__file__).parents[2]


def order() -> tuple[str, ...]:
    """The import order that the tests enforce: a package may import only those before it."""
    tree = ast.parse((ROOT / "tests" / "project" / "test_imports.py").read_text(encoding="utf-8"))
    found = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "ORDER" for target in node.targets)
    ]
    return tuple(ast.literal_eval(found[0]))


def line(module: str) -> str:
    """The first paragraph of a package's docstring."""
    spec = importlib.util.find_spec(f"graphfew.{module}")
    if spec is None or spec.origin is None:
        raise ValueError(
            f"graphfew.{module} has no source; the ORDER of tests/project/test_imports.py names it"
        )
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def table() -> str:
    """The packages, lowest first."""
    return methods.table(
        ["package", "content"], [[f"`{module}`", line(module)] for module in order()]
    )
