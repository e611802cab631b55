"""TOML files, also hostile ones: every fault is one error that names the file."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from graphfew.errors import ConfigurationError, MissingFileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The parser's time grows with the square of the number of parts of a key: 5,000 take ten seconds.
MAX_KEY_PARTS = 100


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; a fault is one error that names the file."""
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; give a TOML file")
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 text ({error.reason}); give a TOML file"
        raise ConfigurationError(f"{path} {reason}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path} is nested too deeply to be read as TOML") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {str(error)[:500]}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of a TOML text; raise ValueError or RecursionError if it is invalid."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") < MAX_KEY_PARTS:
            continue
        # Prose has spaces or ellipses between its dots; a dotted key has neither.
        for part in re.split("[=,{]", line):
            is_key = ".." not in part and " " not in part.strip()
            if is_key and part.count(".") >= MAX_KEY_PARTS:
                message = f"a key in line {number} has {MAX_KEY_PARTS} parts or more"
                raise ConfigurationError(message)
    content: dict[str, Any] = tomllib.loads(text)
    return content
