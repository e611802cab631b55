"""HTML as values: every text is escaped where it becomes markup, so that no name can break a page."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable

_VOID = ("br", "img", "meta")


@dataclasses.dataclass(frozen=True)
class Markup:
    """Text that is HTML already."""

    text: str

    def __str__(self) -> str:
        return self.text


def tag(
    name: str, /, *children: Markup | str | None, **attributes: str | int | bool | None
) -> Markup:
    """An element. Strings are escaped, `None` is left out; `class_` is the attribute `class`, `aria_label` is
    `aria-label`."""
    inside = "".join(_text(child) for child in children if child is not None)
    given = "".join(
        _attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    return Markup(f"<{name}{given}>" if name in _VOID else f"<{name}{given}>{inside}</{name}>")


def join(parts: Iterable[Markup | str], between: str = "") -> Markup:
    """Parts one after another."""
    return Markup(between.join(map(_text, parts)))


def fold(title: Markup | str, *content: Markup | str | None, open_: bool = False) -> Markup:
    """A part that is folded away under its title."""
    return tag("details", tag("summary", title), *content, open=open_ or None)


def scroll(table: Markup, label: str) -> Markup:
    """A table in a container of its own that scrolls sideways, by keyboard too."""
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=label)


def heads(*names: str) -> Markup:
    """A row of column headings."""
    return tag("tr", *(tag("th", name, scope="col") for name in names))


def _text(child: Markup | str) -> str:
    return child.text if isinstance(child, Markup) else html.escape(child, quote=False)


def _attribute(name: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
