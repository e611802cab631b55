"""The examples run, and do what they say."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from graphfew import registry

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def a_registry_of_its_own() -> Iterator[None]:
    """What an example registers is gone after its test."""
    kept = dict(registry.METHODS)
    yield
    registry.METHODS.clear()
    registry.METHODS.update(kept)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_own_features_labels_digits_far_above_chance():
    accuracy = load("own_features").main()
    assert min(accuracy.values()) > 0.6
    assert load("own_features").main() == accuracy


def test_a_new_method_is_one_file():
    result = load("new_method").main(steps=3, tasks=4)
    assert result.a.model["method"] == "soft_neighbours"
    assert result.a.tasks == result.b.tasks
    assert result.difference == pytest.approx(result.a.mean - result.b.mean)
