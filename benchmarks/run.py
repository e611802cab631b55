"""The benchmarks of `benchmarks/specs`: `python -m benchmarks.run SPEC...` is `graphfew bench SPEC...`."""

from __future__ import annotations

import sys

from graphfew.cli import app


def main() -> None:
    """Run the command with the arguments given."""
    app(["bench", *sys.argv[1:]], prog_name="graphfew")


if __name__ == "__main__":
    main()
