"""A measurement in a process of its own, whose memory nothing else has touched."""

from __future__ import annotations

import json
import resource
import subprocess
import sys


def peak() -> int:
    """The largest resident set so far, in bytes; Linux counts it in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def alone(module: str, *arguments: str) -> dict[str, float]:
    """The figures that `python -m module` prints as JSON."""
    out = subprocess.run(
        [sys.executable, "-m", module, *arguments], check=True, capture_output=True, text=True
    ).stdout
    return json.loads(out)  # type: ignore[no-any-return]
