"""Command-line options generated from the declarations of training options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar

import typer

from graphfew.runs import Option, parse_key_values

Command = TypeVar("Command", bound=Callable[..., None])


def option_parameter(
    option: Option,
    *,
    default: Any = None,
    default_text: str | None = None,
    help: str | None = None,
    required: bool = False,
    multiple: bool = False,
    panel: bool = True,
) -> inspect.Parameter:
    """Build the parameter of a typer command for an option.

    Args:
        option: the declaration.
        default: value of an option that is not given; None lets the command detect that.
        default_text: the default that `--help` shows; None for the declared one.
        help: help text; None for the declared one.
        required: the option must be given.
        multiple: the option may be given several times.
        panel: list the option under the heading of its group.
    """
    declaration = typer.Option(
        option.flag,
        help=option.help if help is None else help,
        metavar=option.metavar,
        show_default=_shown_default(option, default_text),
        rich_help_panel=option.group if panel else None,
    )
    # Tables are given as repeated KEY=VALUE texts, which `given_options` parses.
    value_type: Any = list[str] if option.type is dict or multiple else option.type
    # None marks an option that is not given, unlike one that repeats the default: a resumed run
    # compares the given ones with its configuration.
    if required:
        default = inspect.Parameter.empty
    elif default is None:
        value_type = value_type | None
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[value_type, declaration],
    )


def _shown_default(option: Option, default_text: str | None) -> str | bool:
    """The default in `--help`; False shows none."""
    text = default_text or option.default_text
    if text is not None:
        return text
    # `is False`, not `==`: a default of 0 equals False and must be shown.
    if option.default is None or option.default is False or option.default == {}:
        return False
    return str(option.default)


def with_parameters(
    parameters: Iterable[inspect.Parameter],
) -> Callable[[Command], Command]:
    """Decorate a command: its `**options` become these parameters, which typer then reads."""

    def decorate(command: Command) -> Command:
        # typer needs annotations as objects; `from __future__ import annotations` makes them text.
        signature = inspect.signature(command, eval_str=True)
        # Keyword-only, because options with and without default are in any order.
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in signature.parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        # Generated parameters first: panels of `--help` are in the order of the declarations.
        merged = signature.replace(parameters=[*parameters, *own])
        # typer reads `inspect.signature`, which prefers `__signature__` to the function's own.
        command.__signature__ = merged  # type: ignore[attr-defined]
        return command

    return decorate


def given_options(values: Mapping[str, Any], declared: Mapping[str, Option]) -> dict[str, Any]:
    """Select the options that were given, with `key=value` texts parsed.

    Args:
        values: values by option name; None or an empty list if not given.
        declared: the declarations by name.
    """
    given = {}
    for name, value in values.items():
        if value is None:
            continue
        if declared[name].type is dict:
            # A repeatable option that is not given may arrive as an empty list.
            if value:
                given[name] = parse_key_values(value)
            continue
        given[name] = value
    return given
