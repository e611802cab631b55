"""mkdocs hooks: method pages, tables from the records, and reference entries."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(
    0, str(Path(__file__).parents[1])
)  # `mkdocs` alone does not have the repository's root there

from docs.generate import methods, names, tables

ROOT = Path(__file__).parents[1]
CHANGELOG = "<!-- changelog -->"
TABLE = re.compile(r"^<!-- table: ([\w-]+) -->$", re.MULTILINE)


def on_config(config: Any) -> Any:
    """Add the method pages to the navigation."""
    for entry in config.nav:
        if "Methods" in entry:
            entry["Methods"] += [{name: f"methods/{name}.md"} for name in methods.names()]
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for name in methods.names():
        files.append(File.generated(config, f"methods/{name}.md", content=methods.page(name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers `<!-- table: NAME -->`, `<!-- names: PACKAGE ... -->` and `<!-- changelog -->`."""
    markdown = markdown.replace(CHANGELOG, changelog())
    markdown = TABLE.sub(lambda found: tables.TABLES[found[1]](), markdown)
    markdown = names.MARKER.sub(lambda found: names.directives(found[1].split()), markdown)
    return markdown.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def changelog() -> str:
    """CHANGELOG.md without its heading."""
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n")[2]
