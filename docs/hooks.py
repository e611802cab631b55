"""What mkdocs calls while it builds: pages of methods, tables from the records, and where public names are defined."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # mkdocs does not run from the repository's root everywhere

from docs.made import methods, names, tables

TABLE = re.compile(r"^<!-- table: ([\w-]+) -->$", re.MULTILINE)


def on_config(config: Any) -> Any:
    """The pages of methods in the navigation, below their list."""
    for entry in config.nav:
        if "Methods" in entry:
            entry["Methods"] += [{name: f"methods/{name}.md"} for name in methods.names()]
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """The pages that are made."""
    from mkdocs.structure.files import File

    for name in methods.names():
        files.append(File.generated(config, f"methods/{name}.md", content=methods.page(name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Tables in the place of `<!-- table: NAME -->`, and the reference in that of `<!-- names: MODULE ... -->`."""
    markdown = TABLE.sub(lambda found: tables.TABLES[found[1]](), markdown)
    return names.MARKER.sub(lambda found: names.directives(found[1].split()), markdown)
