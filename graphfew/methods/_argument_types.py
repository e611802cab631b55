"""Checks of the types of arguments of a method's factory."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from graphfew.errors import InvalidTypeError


def check_argument_types(
    name: str, factory: Callable[..., Any], arguments: Mapping[str, Any]
) -> None:
    """Reject arguments that are not numbers or functions where the factory needs them.

    Arguments whose annotation is neither in `KINDS` nor that of a function are not checked.

    Args:
        name: the method's name.
        factory: the method's factory.
        arguments: some of its keyword arguments.

    Raises:
        InvalidTypeError: an argument has the wrong type.
    """
    parameters = inspect.signature(factory).parameters
    for key, value in arguments.items():
        expected = _violated_type(parameters[key], value)
        if expected is not None:
            raise InvalidTypeError(f"{name} needs {expected} as {key}, got {value!r}")


def _violated_type(parameter: inspect.Parameter, value: Any) -> str | None:
    """Return the type that an argument must have, in words; None if the value is valid."""
    if callable(parameter.default):
        default = getattr(parameter.default, "__name__", "its default")
        return None if callable(value) else f"a function such as {default}"
    annotation = _annotation_text(parameter)
    required = annotation.removesuffix(" | None")
    is_optional = required != annotation
    if required not in KINDS or (value is None and is_optional):
        return None
    is_valid, description = KINDS[required]
    if is_valid(value):
        return None
    return f"{description} or None" if is_optional else description


def _annotation_text(parameter: inspect.Parameter) -> str:
    # Annotations are text in modules with `from __future__ import annotations`.
    annotation = parameter.annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return text.removeprefix("collections.abc.")


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    # Numbers of numpy are included. A bool is an integer in Python, but `steps=True` is a mistake.
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _are_integers(value: Any) -> bool:
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str)
    return is_sequence and all(_is_integer(item) for item in value)


# By annotation: the test of a value, and the name of the type in errors.
KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = MappingProxyType(
    {
        "bool": (_is_bool, "True or False"),
        "int": (_is_integer, "an integer"),
        "float": (_is_number, "a number"),
        "Sequence[int]": (_are_integers, "a sequence of integers"),
    }
)
