"""The text form of query samplers.

`parse_queries` reads what `str(sampler)` returns, and a shorter form that needs no quotes in a
shell: `"15"` for `"balanced(15)"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from graphfew.data.int_range import IntRange
from graphfew.data.query_protocols import QuerySampler
from graphfew.data.query_sampling import (
    balanced,
    dirichlet,
    effective_classes,
    mixture,
    multinomial,
    one_per_class,
    single,
    single_class,
    varied,
)

KNOWN_FORMS = (
    "5 or balanced:5 (per class; 1-15 for a range), one-per-class, single, single-class:75, "
    "multinomial:25, dirichlet:75:2.0, varied:1-75, effective:5-10:75 (75 queries of 5 to 10 "
    "classes), and several joined by + for a mixture (single+varied:1-75)"
)


def parse_queries(text: str) -> QuerySampler:
    """Read a query sampler from text.

    Args:
        text: the form that `str` of a sampler returns, such as `"dirichlet(2.0, 75)"`, or the short
            form of the command
            line: `"5"`, `"balanced:1-15"`, `"one-per-class"`, `"single"`, `"single-class:75"`,
                `"multinomial:25"`,
            `"dirichlet:75:2.0"`, `"varied:1-75"`, `"effective:5-10"` (75 queries of 5 to 10 of the
            classes) or `"effective:5-10:64"`. Several joined by `+` are a mixture:
            `"single+varied:1-75"`.

    Returns:
        The sampler; `parse_queries(str(sampler)) == sampler` for every sampler of this module.

    Raises:
        ValueError: `text` has another form; the message lists the known ones.

    Example:
        >>> str(parse_queries("15"))
        'balanced(15)'
        >>> parse_queries("dirichlet:75:0.5") == parse_queries("dirichlet(0.5, 75)")
        True
    """
    try:
        samplers = [_parse_sampler(part.strip()) for part in text.split("+")]
    except (TypeError, ValueError) as error:
        # Both can be as long as the input, which may come from an untrusted file.
        shown, reason = repr(text)[:200], str(error)[:200]
        raise ValueError(
            f"cannot read the queries {shown} ({reason}); known forms: {KNOWN_FORMS}"
        ) from error
    return samplers[0] if len(samplers) == 1 else mixture(*samplers)


def _parse_sampler(text: str) -> QuerySampler:
    stored = _STORED_FORM.fullmatch(text)
    if stored is not None:
        name = stored[1]
        arguments = [argument.strip() for argument in stored[2].split(",")]
        if name == "dirichlet":
            # The stored form has the concentration first, the short form and the function have the
            # total first.
            arguments.reverse()
    else:
        name, *arguments = text.split(":")
    # A bare number or range, such as 5 or 1-15, is the argument of `balanced`.
    if name not in _SAMPLERS:
        name, arguments = "balanced", [name, *arguments]
    max_arguments, build = _SAMPLERS[name]
    if len(arguments) > max_arguments:
        raise ValueError(f"{name} takes at most {max_arguments} values")
    return build(*arguments)


def _parse_float_range(text: str) -> tuple[float, float]:
    match = _FLOAT_RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a range such as 0.5-100")
    low, high = match.groups()
    return float(low), float(low if high is None else high)


_STORED_FORM = re.compile(r"([a-z-]+)\((.*)\)")
_FLOAT_RANGE = re.compile(r"([^-]+)(?:-([^-]+))?")

# The largest number of values that each name takes, and the function that reads them.
_SAMPLERS: dict[str, tuple[int, Callable[..., QuerySampler]]] = {
    "balanced": (1, lambda per_class: balanced(IntRange.parse(per_class))),
    "one-per-class": (0, one_per_class),
    "single": (0, single),
    "single-class": (1, lambda total: single_class(IntRange.parse(total))),
    "multinomial": (1, lambda total: multinomial(IntRange.parse(total))),
    "dirichlet": (
        2,
        lambda total, concentration="2.0": dirichlet(IntRange.parse(total), float(concentration)),
    ),
    "varied": (
        2,
        lambda total="1-75", concentration="0.5-100": varied(
            IntRange.parse(total), _parse_float_range(concentration)
        ),
    ),
    "effective": (
        2,
        lambda classes, total="75": effective_classes(
            IntRange.parse(classes), IntRange.parse(total)
        ),
    ),
}
