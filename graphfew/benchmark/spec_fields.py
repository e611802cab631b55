"""Types that benchmark specs are made of, and the error that names a spec's file and key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from graphfew.data import DATASETS
from graphfew.errors import ConfigurationError
from graphfew.methods.registry import METHODS

T = TypeVar("T")
Location = tuple[str | int, ...]
MAX_VALUE_LENGTH = 80


class SpecError(ConfigurationError):
    """A benchmark spec, or what it refers to, is invalid.

    Args:
        path: the spec's file.
        location: keys and indices that lead to the invalid value, such as `("train", 0, "steps")`.
        message: what is invalid and what is allowed.

    Attributes:
        path: the argument `path`.
        key: the location as text, such as `train[0].steps`; None for the whole file.
    """

    def __init__(self, path: Path, location: Location, message: str) -> None:
        self.path = path
        key = format_location(location) or None
        super().__init__(f"{path}: {key}: {message}" if key else f"{path}: {message}", key)


class SpecModel(BaseModel):
    """Base of all tables of a spec: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(
        # Strict, because TOML has types: text instead of a number is a mistake, not a spelling.
        strict=True,
        frozen=True,
        arbitrary_types_allowed=True,
        populate_by_name=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _reject_unknown_keys(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            raise PydanticCustomError("table", "give a table")
        # `extra="forbid"` of pydantic would report the key, but not the most similar one.
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in values:
            if key not in known:
                context = {"key": key, "hint": suggest(str(key), known)}
                raise PydanticCustomError("unknown_key", "unknown key; {hint}", context)
        return values


class SettingsFilter(SpecModel):
    """Values of settings, each one or several; None leaves a setting open."""

    def matches(self, settings: object) -> bool:
        """Return whether every given value includes the attribute of that name."""
        for name in type(self).model_fields:
            allowed = getattr(self, name)
            if allowed is not None and getattr(settings, name) not in allowed:
                return False
        return True


def suggest(word: str, known: Iterable[str]) -> str:
    """Return the most similar known word as a question, or the list of known words."""
    names = sorted(known)
    similar = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
    if similar:
        return f"did you mean {similar[0]!r}?"
    return f"expected one of: {', '.join(names) or 'none'}"


def format_location(location: Location) -> str:
    """Return `("train", 0, "steps")` as `train[0].steps`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".")


def validate(model: type[T], path: Path, content: Mapping[str, Any]) -> T:
    """Return the content of a file as a model, or raise its first error as a `SpecError`."""
    try:
        return model.model_validate(content)  # type: ignore[attr-defined, no-any-return]
    except ValidationError as error:
        # Only the first: later errors are often its consequences.
        raise _spec_error(path, error.errors(include_url=False)[0]) from error


def _spec_error(path: Path, error: Mapping[str, Any]) -> SpecError:
    location, context, kind = error["loc"], error.get("ctx", {}), error["type"]
    if kind == "missing":
        return SpecError(path, location, "this key is required")
    if kind == "unknown_key":
        return SpecError(path, (*location, context["key"]), error["msg"])
    message = error["msg"].replace("Input should be", "it must be")
    if kind == "value_error":
        # Readers of single values name the option "it".
        message = str(context["error"]).removeprefix(f"it is {error['input']!r}; ")
    # A table would be quoted with all its keys, which hides the message.
    value = repr(error["input"])
    if not isinstance(error["input"], dict) and len(value) <= MAX_VALUE_LENGTH:
        message = f"{value} is invalid; {message}"
    return SpecError(path, location, message)


def one_of(known: Callable[[], Collection[str]]) -> AfterValidator:
    """Return a validator that accepts the names that `known()` returns at validation time."""

    def check(name: str) -> str:
        if name not in known():
            raise ConfigurationError(suggest(name, known()))
        return name

    return AfterValidator(check)


def _to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)


def _entries(value: Any) -> Any:
    if not isinstance(value, list):
        raise ConfigurationError("give an array of tables, each under a header in double brackets")
    return tuple(value)


# A single value is a grid with one point.
OneOrMore = Annotated[tuple[T, ...], BeforeValidator(_to_tuple), Field(min_length=1)]
# Single brackets, [train] instead of [[train]], give a table instead of an array.
Entries = Annotated[tuple[T, ...], BeforeValidator(_entries)]
# Functions, since users may register methods and data sets after this module is imported.
MethodName = Annotated[str, one_of(lambda: METHODS)]
DatasetName = Annotated[str, one_of(lambda: DATASETS)]
# Names of files and of folders.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Arguments = dict[str, JsonValue]
Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
