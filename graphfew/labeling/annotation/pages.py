"""The pages as HTML."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from graphfew.labeling.annotation import page_data
from graphfew.labeling.annotation.actions import LogEntry
from graphfew.labeling.annotation.export import FORMATS
from graphfew.labeling.annotation.service import AnnotationService

N_GRID = 24
_TAB = re.compile(r"[0-9a-f]{8}")


def new_tab() -> str:
    """Return an id for a browser tab."""
    return secrets.token_hex(4)


def is_tab(text: str) -> bool:
    """Return whether a text is an id of a browser tab."""
    return _TAB.fullmatch(text) is not None


class AnnotationPages:
    """Renders the pages of an annotation.

    Args:
        service: the annotation.
        title: name of the source.
        base: path of all pages, without a final slash.
        positions: returns the positions of all items on the map, `[n, 2]` in `[0, 1]`.
    """

    def __init__(
        self,
        service: AnnotationService,
        title: str,
        base: str,
        positions: Callable[[], NDArray[Any]],
    ) -> None:
        self._service = service
        self._positions = positions
        self._environment = Environment(
            loader=PackageLoader("graphfew.labeling.annotation", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(title=title, base=base)

    def label(self, tab: str, index: int | None = None, error: str = "") -> str:
        """Render the page that shows one item; a given one, or the next one."""
        service = self._service
        is_chosen = index is not None
        if index is None:
            choice = service.next_item(tab)
            index = None if choice is None else choice.item
        else:
            service.take(tab, index)
        snapshot = service.snapshot()
        values: dict[str, Any] = {
            "item": None,
            "likely": [],
            "decisions": [],
            "is_chosen": is_chosen,
        }
        if index is not None:
            values["item"] = page_data.item_view(snapshot, index)
            values["likely"] = page_data.likely_classes(snapshot, index)
            values["decisions"] = page_data.decisions(snapshot, index)
        last = snapshot.state.last_entry_of(tab)
        values["last"] = self._describe(last)
        values["classes"] = sorted(snapshot.state.classes, key=str.casefold)
        return self._render("label.html", tab, error=error, **values)

    def confirm(self, tab: str, class_id: int | None = None, error: str = "") -> str:
        """Render the grid of items that are predicted as one class."""
        snapshot = self._service.snapshot()
        candidates = [view for view in page_data.class_views(snapshot) if view.n_predicted]
        chosen = next((view for view in candidates if view.class_id == class_id), None)
        if chosen is None and candidates:
            certainty = page_data.class_certainty(snapshot)
            chosen = max(candidates, key=lambda view: certainty.get(view.class_id, 0.0))
        grid = self._service.next_grid(tab, chosen.class_id, N_GRID) if chosen else []
        snapshot = self._service.snapshot()
        last = snapshot.state.last_entry_of(tab)
        return self._render(
            "confirm.html",
            tab,
            error=error,
            chosen=chosen,
            candidates=candidates,
            grid=[page_data.item_view(snapshot, item) for item in grid],
            last=self._describe(last),
        )

    def map(self, tab: str) -> str:
        """Render the map of all items."""
        views = page_data.class_views(self._service.snapshot())
        by_size = sorted(views, key=lambda view: -(view.n_labeled + view.n_predicted))
        return self._render("map.html", tab, classes=by_size)

    def map_data(self) -> dict[str, Any]:
        """Return what the map draws."""
        return page_data.map_data(self._service.snapshot(), self._positions())

    def classes(self, tab: str, error: str = "") -> str:
        """Render the table of classes."""
        snapshot = self._service.snapshot()
        last = snapshot.state.last_entry_of(tab)
        return self._render(
            "classes.html",
            tab,
            error=error,
            classes=page_data.class_views(snapshot),
            last=self._describe(last),
        )

    def review(self, tab: str) -> str:
        """Render conflicts, skipped items and recent entries."""
        snapshot = self._service.snapshot()
        conflicts = [
            (page_data.item_view(snapshot, item), page_data.decisions(snapshot, item))
            for item in snapshot.conflicts
        ]
        skipped = [page_data.item_view(snapshot, item) for item in sorted(snapshot.skipped)]
        return self._render(
            "review.html",
            tab,
            conflicts=conflicts,
            skipped=skipped,
            recent=page_data.recent_entries(snapshot),
        )

    def export(self, tab: str) -> str:
        """Render the links to the exported files."""
        return self._render("export.html", tab, formats=list(FORMATS))

    def _describe(self, last: LogEntry | None) -> str:
        return page_data.describe(last, self._service.items.name_of) if last else ""

    def _render(self, template: str, tab: str, error: str = "", **values: Any) -> str:
        snapshot = self._service.snapshot()
        return self._environment.get_template(template).render(
            page=template.removesuffix(".html"),
            tab=tab,
            error=error,
            progress=snapshot.progress,
            seen=snapshot.state.last_number,
            **values,
        )
