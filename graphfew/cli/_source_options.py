"""The options of commands that read a source of items, from the declarations of `SourceOptions`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from graphfew.errors import ConfigurationError
from graphfew.labeling.source_options import SourceOption, SourceOptions

_DELIMITER_NAMES = {
    "tab": "\t",
    "\\t": "\t",
    "comma": ",",
    "semicolon": ";",
}


def source_parameters() -> list[inspect.Parameter]:
    """The declared fields of `SourceOptions` as parameters of a command."""
    hints = get_type_hints(SourceOptions, include_extras=True)
    parameters = []
    for field in dataclasses.fields(SourceOptions):
        hint = hints[field.name]
        if get_origin(hint) is Annotated:
            value_type, declared = get_args(hint)
            parameters.append(_parameter(field, value_type, declared))
    return parameters


def source_options(values: Mapping[str, Any], *, require_labels: bool = True) -> SourceOptions:
    """Build the record from the values of a command.

    Args:
        values: by name of the field.
        require_labels: whether items of two classes must have a label.

    Raises:
        ConfigurationError: a value is invalid.
    """
    values = dict(values)
    # Repeatable options that are not given are empty lists, or None.
    for name in ("text_columns", "features_columns"):
        values[name] = tuple(values.get(name) or ())
    delimiter, decimal = values.get("delimiter"), values.get("decimal")
    if delimiter is not None:
        values["delimiter"] = _DELIMITER_NAMES.get(delimiter, delimiter)
        if len(values["delimiter"]) != 1:
            raise ConfigurationError(
                f"--delimiter is {delimiter!r}; give one character, or tab, comma or semicolon"
            )
    if decimal not in (None, "point", "comma"):
        raise ConfigurationError(f"--decimal is {decimal!r}; give point or comma")
    return SourceOptions(**values, require_labels=require_labels)


def _parameter(
    field: dataclasses.Field[Any], value_type: Any, declared: SourceOption
) -> inspect.Parameter:
    declaration = typer.Option(
        declared.flag,
        help=declared.help,
        metavar=declared.metavar,
        show_default=declared.shown or field.default not in (None, False),
        rich_help_panel=declared.panel,
    )
    if field.name in ("text_columns", "features_columns", "unlabeled_marks"):
        value_type = list[str] | None
    elif field.name == "decimal":
        # Checked in `source_options`: not every version of typer reads Literal.
        value_type = str | None
    default = None if field.default == () else field.default
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[value_type, declaration],
    )
