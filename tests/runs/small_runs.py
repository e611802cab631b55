"""A run that takes a fraction of a second, and helpers to inspect its files."""

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


def stop_after(n_checks):
    """A `should_stop` that returns True from call number `n_checks` on, counted from 0."""
    calls = iter(range(n_checks))
    return lambda: next(calls, None) is None


def same_files(a, b):
    """Whether each file of two runs has the same bytes."""
    return {name: (a / name).read_bytes() == (b / name).read_bytes() for name in SAME}


def lines(out):
    """The metrics of a run."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
