"""What a spec calls its benchmark, where the spec is at hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from graphfew.benchmark.toml import parsed


@dataclasses.dataclass(frozen=True)
class Title:
    """A benchmark's title, a longer text about it, and the row that differences are taken to."""

    title: str
    about: str = ""
    compare_with: str | None = None


def title_of(name: str, specs: Path | None) -> Title:
    """From `<specs>/<name>.toml`; the name itself where there is no such file or it cannot be read."""
    path = specs / f"{name}.toml" if specs is not None else None
    if path is None or not path.is_file():
        return Title(name)
    try:
        content = parsed(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return Title(name)
    row = content.get("compare_with")
    return Title(
        str(content.get("title", name)),
        str(content.get("about", "")),
        None if row is None else str(row),
    )
