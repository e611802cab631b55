"""Colors, markers and names that all plots share."""

from __future__ import annotations

# The palette of Okabe and Ito, which is distinguishable with most kinds of color blindness. Class
# names carry the same information.
CLASS_COLORS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#B8A800",
    "#000000",
)
NEUTRAL_COLOR = "#777777"
# Their number has no common divisor with the number of colors, so 56 classes look different.
CLASS_MARKERS = ("o", "s", "^", "D", "v", "P", "*")


def class_letter(index: int) -> str:
    """The name of a class without a given name: A to Z, then its number."""
    return chr(ord("A") + index) if index < 26 else str(index)


def class_color(index: int) -> str:
    """The color of a class; colors repeat after 8 classes."""
    return CLASS_COLORS[index % len(CLASS_COLORS)]


def class_marker(index: int) -> str:
    """The marker of a class; markers repeat after 7 classes."""
    return CLASS_MARKERS[index % len(CLASS_MARKERS)]
