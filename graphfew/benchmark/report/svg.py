"""Pictures of matplotlib as inline SVG that follows the page: its colors, its fonts, light and dark."""

from __future__ import annotations

import base64
import io
import re
from contextlib import AbstractContextManager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from graphfew.benchmark.report.html import Markup, tag

# Colors that stand for the page's own; each is replaced by its variable.
INK, LINE, PAPER = "#010203", "#a1a2a3", "#fdfcfb"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d00", "#6a3d9a")
LONGEST = 40
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":", "-", "--", "-.", ":")
_VARIABLES = {
    INK: "currentColor",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    **{color: f"var(--s{number})" for number, color in enumerate(SERIES, 1)},
}
_STYLE: Final[Any] = {
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


def short(name: str) -> str:
    """A name cut so that a label leaves room for the plot."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def styled(*, grid: bool = True) -> AbstractContextManager[None]:
    """Within it, figures are drawn in the report's style."""
    return mpl.rc_context({**_STYLE, "axes.grid": grid})


def inline(figure: Figure, name: str, description: str) -> Markup:
    """The figure as an `<svg>` element that carries its description; `name` keeps its inner references its own.

    The same figure gives the same text.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    text = text[text.index("<svg") :].strip()
    text = re.sub(r'(id="|href="#|url\(#)', rf"\1{name}-", text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, variable)
    head, _, body = text.partition(">")
    box = re.search(r'viewBox="[^"]+"', head)
    width = re.search(r'width="([\d.]+)pt"', head)
    size = f"max-width:{float(width[1]) * 4 / 3:.0f}px" if width else ""
    label = tag("title", description).text
    attributes = tag(
        "svg", role="img", aria_label=description, style=size, class_="plot"
    ).text.partition("></svg>")[0]
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return Markup(f"{attributes} {spaces} {box[0] if box else ''}>{label}{body}")


def embedded(content: bytes, kind: str, description: str) -> Markup:
    """A picture as an `<img>` that holds its bytes; `kind` is png or svg+xml."""
    data = base64.b64encode(content).decode()
    return tag("img", src=f"data:image/{kind};base64,{data}", alt=description, class_="picture")


def framed(picture: Markup, caption: str) -> Markup:
    """A picture with its caption under it."""
    return tag("figure", picture, tag("figcaption", caption))
