"""Declaration of training options: each is written once, as a field of a configuration record.

From the declaration come the command line, the checks of configurations and benchmark specs, the
table of the documentation, and what a checkpoint records of its training.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphfew._utils.model_spec import JSON
from graphfew.errors import ConfigurationError

TASK_GROUP, MODEL_GROUP = "Tasks", "Model"
TRAINING_GROUP, VALIDATION_GROUP = "Training", "Validation"
TYPE_NAMES: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    dict: "a table",
}
_METADATA = "graphfew_option"


@dataclasses.dataclass(frozen=True)
class Option:
    """Declaration of one option.

    Attributes:
        help: one sentence for `--help` and the documentation.
        group: heading under which it is listed.
        flag: command-line flag; `--name` by default. A pair `--a/--b` sets it to true or false.
        choices: the values allowed; empty for any.
        minimum: smallest value allowed.
        exclusive: the bounds of an open interval.
        parse: parser of its text form, called with the text to check it.
        metavar: placeholder in `--help`.
        default_text: the default in words, if the value is not descriptive.
        recorded: recorded in a checkpoint's provenance if it differs from the default.
        name, type, nullable, default: those of the field.

    Example:
        >>> from graphfew.runs import training_options
        >>> steps = training_options()["steps"]
        >>> steps.flag, steps.type, steps.minimum
        ('--steps', <class 'int'>, 0)
        >>> steps.parse_value("12")
        12
    """

    help: str
    group: str
    flag: str = ""
    choices: tuple[str, ...] = ()
    minimum: int | float | None = None
    exclusive: tuple[float, float] | None = None
    parse: Callable[[str], object] | None = None
    metavar: str | None = None
    default_text: str | None = None
    recorded: bool = False
    name: str = ""
    type: type = str
    nullable: bool = False
    default: Any = None

    def check(self, value: Any) -> None:
        """Check a value of a configuration.

        Raises:
            ConfigurationError: if the type, range or text form is wrong; its key is the option.
        """
        if value is None and self.nullable:
            return
        self._check_type(value)
        if self.choices and value not in self.choices:
            expected = ", ".join(self.choices)
            raise self._error(f"{self.name} is {value!r}; expected one of {expected}")
        # Written as `not >=`, so that NaN is rejected too.
        if self.minimum is not None and not value >= self.minimum:
            raise self._error(f"{self.name} is {value}; it must be at least {self.minimum:g}")
        if self.exclusive is not None:
            low, high = self.exclusive
            if not low < value < high:
                raise self._error(
                    f"{self.name} is {value}; it must be above {low} and below {high}"
                )
        if self.parse is not None:
            try:
                self.parse(value)
            except ValueError as error:
                raise self._error(str(error)) from error

    def parse_value(self, value: Any) -> Any:
        """Convert a value of a command line or a spec to the option's type, and check it.

        Args:
            value: text, or a number, Boolean or table of a JSON or TOML file.

        Returns:
            The value for the configuration.

        Raises:
            ConfigurationError: if it cannot be converted or is not allowed.

        Example:
            >>> from graphfew.runs import training_options
            >>> training_options()["way"].parse_value(5)
            '5'
        """
        # `isinstance(True, int)` holds, but `way=true` is a mistake and not the number 1.
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.type is str and is_number:
            # `:g` turns the 5.0 of a spec into "5", which the parser of ranges accepts.
            value = f"{value:g}" if isinstance(value, float) else str(value)
        elif self.type is float and is_number:
            value = float(value)
        elif self.type in (int, float) and isinstance(value, str):
            with contextlib.suppress(ValueError):  # `check` reports it
                value = self.type(value)
        self.check(value)
        return value

    def _check_type(self, value: Any) -> None:
        """Raise unless the value has the option's type; Booleans are not numbers here."""
        # An integer is a valid float, as in `--lr 1`, but not the other way round.
        allowed = (int, float) if self.type is float else (self.type,)
        if self.type is dict:
            allowed = (Mapping,)
        is_wrong_bool = isinstance(value, bool) and self.type is not bool
        if is_wrong_bool or not isinstance(value, allowed):
            shown = str(value)[:80]
            raise self._error(
                f"{self.name} is {shown!r}, of type {type(value).__name__}; "
                f"it must be {TYPE_NAMES[self.type]}"
            )

    def _error(self, message: str) -> ConfigurationError:
        return ConfigurationError(message, key=self.name)


def declare(default: Any, help: str, group: str, **declaration: Any) -> Any:
    """Declare a dataclass field as an option.

    Args:
        default: the default value; a type such as `dict` makes an empty one.
        help: one sentence.
        group: heading under which the option is listed.
        declaration: other fields of `Option`.
    """
    metadata = {_METADATA: Option(help, group, **declaration)}
    if default is dict:
        return dataclasses.field(default_factory=dict, metadata=metadata)
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def declared_options(record: type) -> dict[str, Option]:
    """Collect the options that a dataclass declares, by name and in order."""
    # Annotations are text in modules with `from __future__ import annotations`.
    hints = typing.get_type_hints(record)
    options = {}
    for field in dataclasses.fields(record):
        declaration = field.metadata.get(_METADATA)
        if declaration is None:
            continue
        value_type, nullable = _value_type(hints[field.name])
        default = field.default
        if default is dataclasses.MISSING:
            default = None
        options[field.name] = dataclasses.replace(
            declaration,
            name=field.name,
            type=value_type,
            nullable=nullable,
            default={} if value_type is dict else default,
            flag=declaration.flag or "--" + field.name.replace("_", "-"),
        )
    return options


def _value_type(annotation: Any) -> tuple[type, bool]:
    """The type of an annotation such as `int | None`, and whether None is allowed."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [part for part in typing.get_args(annotation) if part is not type(None)]
        return members[0], True
    # A generic alias, such as Mapping[str, JSON]; tables are the only kind that options use.
    if typing.get_origin(annotation) is not None:
        return dict, False
    return annotation, False


def parse_ratios(text: str) -> tuple[float, ...]:
    """Parse ratios with commas between them.

    Args:
        text: such as `"0.2,1"`.

    Returns:
        The numbers, here `(0.2, 1.0)`.

    Raises:
        ConfigurationError: if a part is not a number.

    Example:
        >>> from graphfew.runs import parse_ratios
        >>> parse_ratios("0.2,1")
        (0.2, 1.0)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(
            f"labeled_ratio is {text!r}; give a ratio such as 0.2, or several such as 0.2,0.4,1",
            key="labeled_ratio",
        ) from error


def parse_key_values(pairs: Iterable[str]) -> dict[str, JSON]:
    """Parse `key=value` texts.

    Args:
        pairs: texts; a value is read as JSON if possible, else taken as text.

    Returns:
        The values by key.

    Raises:
        ConfigurationError: if a text has no `=`, or a key is given twice.

    Example:
        >>> from graphfew.runs import parse_key_values
        >>> parse_key_values(["width=8", "metric=cosine"])
        {'width': 8, 'metric': 'cosine'}
    """
    values: dict[str, JSON] = {}
    for pair in pairs:
        # `partition`, because the value may contain `=` too.
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise ConfigurationError(f"{pair!r} does not have the form key=value")
        value = _parse_json_or_text(text)
        if key in values:
            raise ConfigurationError(
                f"{key} is given twice, as {values[key]!r} and {text!r}; give it once", key=key
            )
        values[key] = value
    return values


def _parse_json_or_text(text: str) -> JSON:
    # JSON first, so that 3, true and [1, 2] keep their types; other text needs no quotes.
    try:
        value: JSON = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value
