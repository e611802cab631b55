"""The tables of pages, by the name in their marker `<!-- table: NAME -->`; every figure comes from a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docs.made import choices, methods, order, traps

TABLES: Mapping[str, Callable[[], str]] = {
    "methods": methods.index,
    "choices": choices.table,
    "losses": choices.losses,
    "choices-text": choices.text,
    "fewrel": choices.fewrel,
    "pile": traps.pile,
    "architecture": order.table,
    **{f"trap-{name}": made for name, made in traps.TABLES.items()},
}
