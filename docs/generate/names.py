"""Public names and the modules that define them, for the reference pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import graphfew as gf

API = Path(__file__).parents[1] / "api"
MARKER = re.compile(r"^<!-- names: (.+) -->$", re.MULTILINE)
REST = "*"
MODULES = (
    *(name for name in gf.__all__ if isinstance(getattr(gf, name), ModuleType)),
    "data.augment",
)
# Functions and classes have `__module__`; other values are listed here.
VALUES = {
    "gf.METHODS": "graphfew.methods.registry.METHODS",
    "gf.backbones.BACKBONES": "graphfew.backbones.BACKBONES",
    "gf.data.DATASETS": "graphfew.data.catalog.DATASETS",
    "gf.data.SPLITS": "graphfew.data.catalog.SPLITS",
}


def public() -> tuple[str, ...]:
    """All public names except modules: `gf.create`, `gf.data.glyphs`, ..."""
    return tuple(f"gf.{name}" for name in _all() if not isinstance(value(f"gf.{name}"), ModuleType))


def modules() -> tuple[str, ...]:
    """The public modules: `gf.data`, ..."""
    return tuple(f"gf.{name}" for name in gf.__all__ if isinstance(value(f"gf.{name}"), ModuleType))


def value(name: str) -> Any:
    """The object with this public name."""
    found: Any = gf
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found


def definition(name: str) -> str:
    """The full path of a name's definition, such as `graphfew.evaluation.accuracy.evaluate`.

    Raises:
        KeyError: the name is neither a class nor a function, and not in `VALUES`.
    """
    found = value(name)
    if inspect.isclass(found) or inspect.isfunction(found):
        return f"{found.__module__}.{found.__qualname__}"
    if name not in VALUES:
        raise KeyError(
            f"{name} is no class or function; say in docs/generate/names.py where it is defined"
        )
    return VALUES[name]


def home(name: str) -> str:
    """The sub-package that defines a name, such as `evaluation` or `data`."""
    return definition(name).split(".")[1]


def claimed() -> frozenset[str]:
    """The sub-packages that have a reference page."""
    return frozenset(
        module
        for path in sorted(API.glob("*.md"))
        for found in MARKER.findall(path.read_text("utf-8"))
        for module in found.split()
        if module != REST
    )


def of_modules(wanted: Sequence[str]) -> tuple[str, ...]:
    """The public names defined in these sub-packages, each by its shortest name.

    `*` means all sub-packages without a page.
    """
    homes = {name: home(name) for name in public()}
    order = [m for m in wanted if m != REST]
    if REST in wanted:
        order += sorted(set(homes.values()) - claimed())
    short: dict[str, str] = {}
    for name in homes:
        path = definition(name)
        if path not in short or name.count(".") < short[path].count("."):
            short[path] = name
    return tuple(name for module in order for name in short.values() if homes[name] == module)


def directives(wanted: Sequence[str]) -> str:
    """mkdocstrings blocks for the names of these sub-packages, with public names as headings."""
    blocks = [
        f"::: {definition(name)}\n    options:\n      heading: {name}\n      toc_label: {name}"
        for name in of_modules(wanted)
    ]
    return "\n\n".join(blocks)


def _all() -> Iterator[str]:
    yield from gf.__all__
    for path in MODULES:
        module = value(f"gf.{path}")
        own = getattr(module, "__all__", None) or [
            name
            for name, found in vars(module).items()
            if not name.startswith("_")
            and inspect.isfunction(found)
            and found.__module__ == module.__name__
        ]
        yield from (f"{path}.{name}" for name in own)
