"""From a TOML file to the spec of its kind."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from graphfew.benchmark.data_config import Source, read_source
from graphfew.benchmark.semi_supervised import PileSpec, read_pile
from graphfew.benchmark.spec import Spec, read_episodes
from graphfew.benchmark.toml import Table, read_toml

AnySpec = Spec | PileSpec
Reader = Callable[[Table, Source, Mapping[str, Any]], AnySpec]
HEAD = ("name", "kind", "title", "about", "compare_with", "data", "row")
KINDS: Mapping[str, tuple[Reader, tuple[str, ...]]] = {
    "episodes": (read_episodes, ("test", "train", "draw")),
    "pile": (read_pile, ("pile",)),
}


def read_spec(path: Path) -> AnySpec:
    """The spec in a file, checked as far as can be without its data.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the first fault, with file and line.
    """
    table = read_toml(path)
    reader, own = KINDS[table.choice("kind", tuple(KINDS), "episodes")]
    table.allow((*HEAD, *own))
    name = table.text("name")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise table.fault(
            f"name is {name!r}, which is to name a file; use letters, digits, - and _", "name"
        )
    table.need("data")
    named = {
        "path": path,
        "digest": hashlib.sha256(path.read_bytes()).hexdigest(),
        "name": name,
        "title": table.text("title", name),
        "about": table.text("about", ""),
    }
    return reader(table, read_source(table.table("data")), named)
