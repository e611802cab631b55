"""Matplotlib figures as inline SVG with the page's fonts and colors, in light and dark mode."""

from __future__ import annotations

import base64
import io
import re
from contextlib import AbstractContextManager
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

# Placeholders for the colors of the page; each is replaced by its CSS variable.
INK, LINE, PAPER = "#010203", "#a1a2a3", "#fdfcfb"
SERIES = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#e69f00", "#56b4e9", "#8a6d00", "#6a3d9a"),
)
# Lines also differ without color, for print and for color blindness.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":", "-", "--", "-.", ":")
MAX_LABEL = 40
VARIABLES = {
    INK: "currentColor",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    **{color: f"var(--s{number})" for number, color in enumerate(SERIES, 1)},
}
STYLE: Final[Any] = {
    # Text instead of outlines: it can be selected, searched, and has the font of the page.
    "svg.fonttype": "none",
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.alpha": 0.45,
    "grid.linewidth": 0.7,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.axisbelow": True,
}


def shorten(name: str) -> str:
    """Return a label that leaves room for the plot."""
    return name if len(name) <= MAX_LABEL else f"{name[: MAX_LABEL - 1]}…"


def report_style(*, grid: bool = True) -> AbstractContextManager[None]:
    """Return a context in which figures have the style of the report."""
    return mpl.rc_context({**STYLE, "axes.grid": grid})


def inline_svg(figure: Figure, name: str, description: str) -> Markup:
    """Return the figure as an `<svg>` element; the same figure gives the same text.

    Args:
        figure: drawn in `report_style()`.
        name: unique on the page; it prefixes the ids in the element.
        description: the figure in words, for screen readers.
    """
    buffer = io.StringIO()
    # Ids are random and the date is that of today by default; a report that is made again from
    # the same records must not change.
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    # The metadata contain the version of matplotlib.
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    text = text[text.index("<svg") :].strip()
    # Ids are global on a page, and every figure starts to count at one.
    text = re.sub(r'(id="|href="#|url\(#)', rf"\1{name}-", text)
    # Matplotlib accepts no CSS variables. The page switches between light and dark mode with
    # them, so unusual colors stand in until here.
    for color, variable in VARIABLES.items():
        text = text.replace(color, variable)
    # The element is written again: a fixed width in points does not fit narrow screens.
    head, _, body = text.partition(">")
    box = re.search(r'viewBox="[^"]+"', head)
    width = re.search(r'width="([\d.]+)pt"', head)
    # Points to CSS pixels.
    size = f"max-width:{float(width[1]) * 4 / 3:.0f}px" if width else ""
    start = Markup('<svg role="img" aria-label="{}" style="{}" class="plot" {}>').format(
        description,
        size,
        Markup(
            'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            + (box[0] if box else "")
        ),
    )
    return start + Markup("<title>{}</title>").format(description) + Markup(body)


def embedded_image(content: bytes, kind: str, description: str) -> Markup:
    """Return an `<img>` that contains its bytes; `kind` is png or svg+xml."""
    data = base64.b64encode(content).decode()
    template = Markup('<img src="data:image/{};base64,{}" alt="{}" class="picture">')
    return template.format(kind, data, description)


def captioned(picture: Markup, caption: str) -> Markup:
    """Return a picture with a caption."""
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(picture, escape(caption))
