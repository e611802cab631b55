"""Leases: an item that one page shows is not offered to another one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable

LEASE_SECONDS = 300.0


@dataclasses.dataclass(frozen=True)
class Lease:
    """An item that a page shows.

    Attributes:
        annotator: id of the page.
        expires: time by the clock of `Leases`.
        is_check: the item was drawn at random.
        on_grid: the item is one of several on the page.
    """

    annotator: str
    expires: float
    is_check: bool = False
    on_grid: bool = False


class Leases:
    """The leases of one server, in memory; they end by themselves when a page is closed.

    Args:
        clock: returns seconds.

    Example:
        >>> leases = Leases()
        >>> leases.take([3], "me")
        >>> leases.is_free(3, "me"), leases.is_free(3, "you")
        (True, False)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_item: dict[int, Lease] = {}

    def is_free(self, item: int, annotator: str) -> bool:
        """Return whether an item can be shown to an annotator."""
        lease = self._by_item.get(item)
        return lease is None or lease.annotator == annotator or lease.expires <= self._clock()

    def take(
        self, items: Iterable[int], annotator: str, *, is_check: bool = False, on_grid: bool = False
    ) -> None:
        """Give items to an annotator, instead of those it had."""
        self.release(annotator)
        expires = self._clock() + LEASE_SECONDS
        for item in items:
            self._by_item[item] = Lease(annotator, expires, is_check, on_grid)

    def of(self, annotator: str) -> dict[int, Lease]:
        """Return the items of an annotator."""
        now = self._clock()
        return {
            item: lease
            for item, lease in self._by_item.items()
            if lease.annotator == annotator and lease.expires > now
        }

    def release(self, annotator: str) -> None:
        """End all leases of an annotator."""
        self._by_item = {i: v for i, v in self._by_item.items() if v.annotator != annotator}
