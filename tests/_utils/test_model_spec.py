import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from graphfew._utils.model_spec import ModelSpec


@pytest.mark.parametrize(
    "value", [None, True, 3, 0.5, "a", [1, [2, {"k": None}]], {"a": {"b": [{"c": 1}]}}]
)
def test_takes_any_json_value_however_deep(value: Any) -> None:
    assert ModelSpec("name", {"key": value}).arguments == {"key": value}


def test_is_frozen_and_compares_by_value() -> None:
    recipe = ModelSpec("name", {"key": 1})
    assert recipe == ModelSpec("name", {"key": 1})
    assert recipe != ModelSpec("name", {"key": 2})
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("arguments", [{"key": object()}, {1: 2}])
def test_the_type_check_of_the_tests_is_on(arguments: Mapping[str, Any]) -> None:
    with pytest.raises(TypeError):
        ModelSpec("name", arguments)
