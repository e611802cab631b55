"""Matplotlib figures as inline SVG with the page's fonts and colors, in light and dark mode."""

from __future__ import annotations

import base64
import io
import re
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

STYLE = Path(__file__).parent / "templates" / "plot.mplstyle"
# Placeholders for the colors of the page; each is replaced by its CSS variable.
INK, LINE = "#010203", "#a1a2a3"
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
    **{color: f"var(--s{number})" for number, color in enumerate(SERIES, 1)},
}
ELEMENT = Markup(
    '<svg role="img" aria-label="{description}" style="max-width:{width:.0f}px" class="plot" '
    'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'viewBox="{box}"><title>{description}</title>{body}'
)


def shorten(name: str) -> str:
    """Return a label that leaves room for the plot."""
    return name if len(name) <= MAX_LABEL else f"{name[: MAX_LABEL - 1]}…"


def report_style() -> AbstractContextManager[None]:
    """Return a context in which figures have the style of the report."""
    return mpl.rc_context(fname=STYLE)


def inline_svg(figure: Figure, name: str, description: str) -> Markup:
    """Return the figure as an `<svg>` element, whose ids start with `name`."""
    text = save_svg(figure, name, transparent=True).decode()
    # The metadata contain the version of matplotlib.
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Ids are global on a page, and every figure starts to count at one.
    text = re.sub(r'(id="|href="#|url\(#)', rf"\1{name}-", text)
    # Matplotlib accepts no CSS variables. The page switches between light and dark mode with
    # them, so unusual colors stand in until here.
    for color, variable in VARIABLES.items():
        text = text.replace(color, variable)
    # The element is written again: a fixed width in points does not fit narrow screens.
    match = re.search(r'<svg [^>]*?width="([\d.]+)pt"[^>]*viewBox="([^"]+)"[^>]*>', text)
    assert match is not None
    # Points to CSS pixels.
    width = float(match[1]) * 4 / 3
    body = Markup(text[match.end() :].strip())
    return ELEMENT.format(description=description, width=width, box=match[2], body=body)


def save_svg(figure: Figure, salt: str, *, transparent: bool = False) -> bytes:
    """Return the figure as an SVG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    # Ids are random and the date is that of today by default.
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=transparent, metadata={"Date": None})
    return buffer.getvalue()


def embedded_image(content: bytes, kind: str, description: str) -> Markup:
    """Return an `<img>` that contains its bytes; `kind` is png or svg+xml."""
    data = base64.b64encode(content).decode()
    template = Markup('<img src="data:image/{};base64,{}" alt="{}" class="picture">')
    return template.format(kind, data, description)


def captioned(picture: Markup, caption: str) -> Markup:
    """Return a picture with a caption."""
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(picture, caption)
