"""The library's modules in their order, each with the first line of its docstring."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from docs.generate import methods

ROOT = Path(__file__).parents[2]


def order() -> tuple[str, ...]:
    """The order that the tests enforce: a module may import those before it alone."""
    tree = ast.parse((ROOT / "tests" / "project" / "test_imports.py").read_text(encoding="utf-8"))
    found = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "ORDER" for target in node.targets)
    ]
    return tuple(ast.literal_eval(found[0]))


def line(module: str) -> str:
    """The first line of a module's docstring."""
    spec = importlib.util.find_spec(f"graphfew.{module}")
    if spec is None or spec.origin is None:
        raise ValueError(
            f"graphfew.{module} has no source; the ORDER of tests/project/test_imports.py names it"
        )
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def table() -> str:
    """The modules, lowest first."""
    return methods.table(
        ["module", "what it is"], [[f"`{module}`", line(module)] for module in order()]
    )
