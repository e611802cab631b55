"""Measurements in a separate process, for a clean memory peak."""

from __future__ import annotations

import json
import resource
import subprocess
import sys


def peak_memory() -> int:
    """Peak resident set size in bytes; Linux reports KiB, macOS bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def run_in_subprocess(module: str, *arguments: str) -> dict[str, float]:
    """Run `python -m module` and parse the JSON that it prints."""
    out = subprocess.run(
        [sys.executable, "-m", module, *arguments], check=True, capture_output=True, text=True
    ).stdout
    return json.loads(out)  # type: ignore[no-any-return]
