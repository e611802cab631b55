"""`graphfew methods` and `graphfew data`: what the library knows by name."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

from rich.table import Table

from graphfew.cli import screen
from graphfew.data import cache, catalogue
from graphfew.registry import METHODS

SPLITS = {
    "omniglot": "train, train-mirrored, val, trainval, test, background, evaluation, small1, small2",
    "glyphs": "train, val, test",
    "fewrel": "train, val, test, all",
}


def methods() -> None:
    """The methods: source, modes, and what they can be asked."""
    table = Table()
    for name in ("method", "source", "modes", "trained with", "way", "shot", "unlabelled nodes"):
        table.add_column(name)
    for name, method in sorted(METHODS.items()):
        modes = [mode for mode in ("inductive", "transductive") if getattr(method, mode)]
        table.add_row(name, method.source, ", ".join(modes), getattr(method.loss, "__name__", "needs no training"),
                      "fixed" if method.fixed_way else "any", "fixed" if method.fixed_shot else "any",
                      "used" if method.unlabelled else "refused")
    screen.console().print(table)


def data() -> None:
    """The data sets: splits, what they are, and whether they are on this computer. Downloads nothing."""
    table = Table()
    for name in ("data set", "splits", "what it is", "where"):
        table.add_column(name)
    for name, loader in catalogue.items():
        what = (inspect.getdoc(loader) or "").split("\n\n")[0].replace("\n", " ").replace("`", "").replace("[", r"\[")
        table.add_row(name, SPLITS.get(name, "all"), what, _where(name))
    screen.console().print(table)


def _where(name: str) -> str:
    if name not in ("omniglot", "fewrel"):
        return "comes with the library"
    if name == "fewrel":
        own = Path(os.environ.get("GRAPHFEW_DATA", "")) / name
        return f"here: {own}" if list(own.glob("*.json")) else "not here; give --root, a folder with its JSON files"
    places = [cache.folder(), *([Path(os.environ["GRAPHFEW_DATA"]) / name] if os.environ.get("GRAPHFEW_DATA") else [])]
    found = [str(place) for place in reversed(places) if list(place.glob("images_*.zip"))]
    looked = " and ".join(map(str, reversed(places)))
    return f"here: {found[0]}" if found else f"not here (looked in {looked}); downloaded at first use, or give --root"
