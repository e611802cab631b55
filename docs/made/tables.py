"""The tables of pages, by the name in their marker `<!-- table: NAME -->`; every figure comes from a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docs.made import methods

TABLES: Mapping[str, Callable[[], str]] = {"methods": methods.index}
