"""Every public name has a complete docstring, and its example runs."""

import doctest
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from matplotlib import pyplot

import graphfew as gf
from graphfew.methods import registry

PACKAGES = [name for name in gf.__all__ if isinstance(getattr(gf, name), ModuleType)]
PACKAGES += ["core", "dask", "estimators", "serialization"]
SECTIONS = [
    "Formula",
    "Args",
    "Attributes",
    "Returns",
    "Yields",
    "Raises",
    "Example",
    "Source",
    "Deviations",
]
HEADER = re.compile(rf"^({'|'.join(SECTIONS)}):$", re.MULTILINE)
MOST_LINES = 8


def public_objects() -> dict[str, object]:
    """Public functions and classes by the full name of their definition."""
    found = {}
    for package in [gf, *(getattr(gf, name) for name in PACKAGES)]:
        for name in getattr(package, "__all__", ()):
            value = getattr(package, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return found


OBJECTS = public_objects()
NAMES = sorted(OBJECTS)
MODULES = sorted(module.name for module in pkgutil.walk_packages(gf.__path__, "graphfew."))
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def sections(value: object) -> list[str]:
    return HEADER.findall(inspect.getdoc(value) or "")


def returns_something(function: object) -> bool:
    signature = inspect.signature(function)
    return signature.return_annotation not in (None, "None", inspect.Signature.empty)


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory and a copy of the registry."""
    methods = dict(registry.METHODS)
    monkeypatch.chdir(tmp_path)
    yield
    pyplot.close("all")
    registry.METHODS.clear()
    registry.METHODS.update(methods)


@pytest.mark.parametrize("name", NAMES)
def test_public_docstring_is_complete(name):
    value = OBJECTS[name]
    text = inspect.getdoc(value)
    assert text, "no docstring"
    found = sections(value)
    assert found == sorted(found, key=SECTIONS.index), f"sections out of order: {found}"
    assert "Example" in found, "no Example section"
    if inspect.isfunction(value) and returns_something(value):
        assert {"Returns", "Yields"} & {*found}, "no Returns section"
    examples = doctest.DocTestParser().get_examples(text)
    assert examples, "the Example section has no doctest"
    lines = sum(example.source.count("\n") for example in examples)
    assert lines <= MOST_LINES, f"the example has {lines} lines"


@pytest.mark.parametrize("name", NAMES)
def test_public_example_runs(name, isolated):
    value = OBJECTS[name]
    names = dict(vars(sys.modules[value.__module__]))
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(value), names, name, None, None)
    assert_runs(test)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_methods_and_internal_functions_run(name, isolated):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"needs {error.name}")
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        if test.name not in OBJECTS:
            assert_runs(test)


def assert_runs(test: doctest.DocTest) -> None:
    output: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=output.append)
    assert not output, "".join(output)


def test_facade_is_small():
    assert len(gf.__all__) <= 48
