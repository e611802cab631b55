"""The report of `graphfew label` as one HTML file, which needs no network and no script."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from graphfew.errors import DatasetError
from graphfew.labeling.item_images import ImageItem, item_image
from graphfew.labeling.label_sources import LabelSource
from graphfew.labeling.label_table import LabelTable
from graphfew.labeling.report_content import ReportContent, ReportItem, report_content

THUMBNAIL_SIDE = 160
_MAX_TEXT = 400
_JPEG_QUALITY = 80


def write_report(table: LabelTable, features: NDArray[Any], path: Path, encoder: str = "") -> None:
    """Write a page on labels: counts, and the items to look at.

    It shows the number of items of each class, the least confident predictions, items unlike every
    class, given labels that contradict their neighbors, and what to label next.

    Args:
        table: the labels.
        features: `[n, F]` the encoded items.
        path: the file, which is overwritten.
        encoder: name of the encoder.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile, numpy as np, graphfew as gf
        >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 1.0]])
        >>> items = gf.labeling.LabelSource(("0", "1", "2"), x, "features", ("<cat>", "dog", None))
        >>> table = gf.labeling.label_items(items, x, gf.FewShotClassifier())
        >>> path = Path(tempfile.mkdtemp(), "report.html")
        >>> write_report(table, x, path)
        >>> "&lt;cat&gt;" in path.read_text()
        True
    """
    path.write_text(render_report(report_content(table, features), encoder), encoding="utf-8")


def render_report(content: ReportContent, encoder: str = "") -> str:
    """Return the page of a content."""
    source = content.table.items
    return (
        _environment()
        .get_template("report.html")
        .render(
            content=content,
            source=source,
            encoder=encoder,
            sections=_sections(content),
            largest=max(count.n_items for count in content.classes),
            thumbnail=functools.partial(_thumbnail, source),
            text=functools.partial(_text, source),
        )
    )


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("graphfew.labeling", "templates"),
        # Texts and names of classes may contain HTML.
        autoescape=True,
        # A misspelled variable is an error instead of an empty cell.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _sections(content: ReportContent) -> list[tuple[str, str, str, tuple[ReportItem, ...]]]:
    """Anchor, title, explanation and items of each section."""
    single = "Labels of classes with only one label are not checked."
    return [
        (
            "next",
            "What to label next",
            "Labels of these items are expected to help most. Give them in a table of corrections, "
            "or run graphfew annotate.",
            content.suggestions,
        ),
        (
            "conflicts",
            "Possible label errors",
            f"Given labels that contradict those of the nearest items: {content.n_conflicts} of "
            f"{content.n_checked} that were checked. {single}",
            content.conflicts,
        ),
        (
            "confidence",
            "Least confident predictions",
            "The most probable class with its probability, and the second one.",
            content.least_confident,
        ),
        (
            "unlike",
            "Unlike every class",
            "Items with the lowest similarity to their nearest class. They may belong to a class "
            "that has no label yet; --unknown-threshold labels them unknown.",
            content.unlike_classes,
        ),
    ]


def _thumbnail(source: LabelSource, item: ReportItem) -> str | None:
    """The image of an item as a data URL; None for other items."""
    if source.kind != "image":
        return None
    try:
        image = item_image(cast(ImageItem, source.items[item.row]), THUMBNAIL_SIDE)
    except DatasetError:
        # The file may have changed since it was encoded; its name is shown all the same.
        return None
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _text(source: LabelSource, item: ReportItem) -> str | None:
    if source.kind != "text":
        return None
    text = str(source.items[item.row])
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
