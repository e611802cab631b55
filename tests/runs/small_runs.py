"""A run that takes a fraction of a second, and how its files are looked at."""

import json

OPTIONS = {
    "method": "egnn",
    "data": "digits",
    "split": "all",
    "validate": "all",
    "way": "3",
    "query": "varied:1-6",
    "encoder_arguments": {"width": 4},
    "arguments": {"layers": 1, "width": 8, "p": 0.3},
    "steps": 7,
    "batch": 2,
    "halve_every": 2,
    "validate_every": 3,
    "validate_tasks": 4,
    "validate_way": "3",
    "validate_query": "2",
}
SAME = ("metrics.jsonl", "best.safetensors", "last.safetensors")


def stopping_after(asked):
    """A `stop` that says so from its question number `asked` on, counted from 0."""
    left = iter(range(asked))
    return lambda: next(left, None) is None


def same_files(a, b):
    """Which files of two runs are the same bytes."""
    return {name: (a / name).read_bytes() == (b / name).read_bytes() for name in SAME}


def lines(out):
    """The metrics of a run."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
