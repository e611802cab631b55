"""Forms that pages send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

from graphfew.errors import InvalidInputError

MAX_FORM_BYTES = 256_000


async def read_form(request: Request) -> Mapping[str, Sequence[str]]:
    """Read the fields of a form in the encoding of HTML forms without files.

    Args:
        request: the request.

    Returns:
        The values of each field.

    Raises:
        InvalidInputError: the form is too long, incomplete, or not in this encoding.
    """
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM_BYTES:
                raise InvalidInputError(f"the form has more than {MAX_FORM_BYTES} bytes; send less")
    except ClientDisconnect as error:
        raise InvalidInputError("the connection ended within the form; send it again") from error
    try:
        return parse_qs(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=500
        )
    except ValueError as error:
        raise InvalidInputError(f"the form cannot be read ({error}); reload the page") from error


def field(form: Mapping[str, Sequence[str]], name: str) -> str:
    """Return the value of a field without blanks at its ends, "" if it is absent."""
    return form.get(name, ("",))[0].strip()


def integer(form: Mapping[str, Sequence[str]], name: str, limit: int) -> int:
    """Return a field as a number from 0 to below a limit.

    Raises:
        InvalidInputError: it is not such a number.
    """
    return parse_index(field(form, name), name, limit)


def parse_index(text: str, name: str, limit: int) -> int:
    """Parse a number from 0 to below a limit.

    Raises:
        InvalidInputError: it is not such a number.
    """
    # `isdecimal` alone accepts digits of other scripts, and `int` accepts blanks and signs.
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) < limit):
        raise InvalidInputError(f"{name} is {text[:20]!r}; it must be a number below {limit}")
    return int(text)
