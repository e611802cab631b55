import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from graphfew._utils.model_spec import ModelSpec


@pytest.mark.parametrize(
    "value", [None, True, 3, 0.5, "a", [1, [2, {"k": None}]], {"a": {"b": [{"c": 1}]}}]
)
def test_accepts_nested_json(value: Any) -> None:
    assert ModelSpec("name", {"key": value}).arguments == {"key": value}


def test_is_frozen_and_compares_by_value() -> None:
    spec = ModelSpec("name", {"key": 1})
    assert spec == ModelSpec("name", {"key": 1})
    assert spec != ModelSpec("name", {"key": 2})
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("arguments", [{"key": object()}, {1: 2}])
def test_type_checks_are_on_in_tests(arguments: Mapping[str, Any]) -> None:
    with pytest.raises(TypeError):
        ModelSpec("name", arguments)
