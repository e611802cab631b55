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
    "gf.labeling.PredictClasses": "graphfew.labeling.active.labeling_state.PredictClasses",
    "gf.labeling.STRATEGIES": "graphfew.labeling.active.strategies.STRATEGIES",
    "gf.labeling.informative_uncertain_items": (
        "graphfew.labeling.active.field_covariance.informative_uncertain_items"
    ),
    "gf.labeling.Strategy": "graphfew.labeling.active.labeling_state.Strategy",
}


def public() -> tuple[str, ...]:
    """Return all public names except modules: `gf.create`, `gf.data.glyphs`, ..."""
    return tuple(f"gf.{name}" for name in _all() if not isinstance(value(f"gf.{name}"), ModuleType))


def modules() -> tuple[str, ...]:
    """Return the public modules: `gf.data`, ..."""
    return tuple(f"gf.{name}" for name in gf.__all__ if isinstance(value(f"gf.{name}"), ModuleType))


def value(name: str) -> Any:
    """Return the object with a public name."""
    current: Any = gf
    for attribute in name.split(".")[1:]:
        current = getattr(current, attribute)
    return current


def definition(name: str) -> str:
    """Return the full path of a name's definition, such as `graphfew.evaluation.accuracy.evaluate`.

    Raises:
        KeyError: if the name is neither a class nor a function, and not in `VALUES`.
    """
    documented = value(name)
    if inspect.isclass(documented) or inspect.isfunction(documented):
        return f"{documented.__module__}.{documented.__qualname__}"
    if name not in VALUES:
        raise KeyError(
            f"{name} is neither a class nor a function; add its module to VALUES in "
            "docs/generate/names.py"
        )
    return VALUES[name]


def home(name: str) -> str:
    """Return the sub-package that defines a name, such as `evaluation` or `data`."""
    return definition(name).split(".")[1]


def packages_with_page() -> frozenset[str]:
    """Return the sub-packages that have a reference page."""
    packages: set[str] = set()
    for path in API.glob("*.md"):
        for marker in MARKER.findall(path.read_text("utf-8")):
            packages.update(marker.split())
    return frozenset(packages - {REST})


def of_modules(packages: Sequence[str]) -> tuple[str, ...]:
    """Return the public names defined in these sub-packages, each in its shortest form.

    `*` means all sub-packages without a page.
    """
    homes = {name: home(name) for name in public()}
    order = [package for package in packages if package != REST]
    if REST in packages:
        order += sorted(set(homes.values()) - packages_with_page())
    shortest: dict[str, str] = {}
    for name in homes:
        path = definition(name)
        if path not in shortest or name.count(".") < shortest[path].count("."):
            shortest[path] = name
    return tuple(name for package in order for name in shortest.values() if homes[name] == package)


def directives(packages: Sequence[str]) -> str:
    """Return mkdocstrings blocks for these sub-packages, with public names as headings."""
    blocks = [
        f"::: {definition(name)}\n    options:\n      heading: {name}\n      toc_label: {name}"
        for name in of_modules(packages)
    ]
    return "\n\n".join(blocks)


def _all() -> Iterator[str]:
    yield from gf.__all__
    for path in MODULES:
        module = value(f"gf.{path}")
        exported = getattr(module, "__all__", None) or [
            name
            for name, member in vars(module).items()
            if not name.startswith("_")
            and inspect.isfunction(member)
            and member.__module__ == module.__name__
        ]
        yield from (f"{path}.{name}" for name in exported)
