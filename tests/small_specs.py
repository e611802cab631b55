"""A spec that runs in seconds, and what is left of a record without times."""

import dataclasses

from graphfew.benchmark import (
    ProgressDisplay,
    RunOptions,
    load_spec,
    read_records,
    run_benchmarks,
)

HEAD = """name = "small"
title = "Glyphs, very little"

[data]
name = "glyphs"

[test]
n_tasks = 4
batch = 2
"""
TRAIN = """
[[train]]
name = "proto"
method = "prototypical"
encoder_arguments = { width = 4 }
steps = 4
batch = 2
seeds = [0, 1]
validate_every = 2
validate_tasks = 4
save_every = 1
"""
DRAW = """
[[tasks]]
way = [3, 5]
shot = 1
query = 2
"""
ROWS = """
[[row]]
train = "proto"

[[row]]
name = "propagation"
method = "label_propagation"
encoder_from = "proto"
mode = ["inductive", "transductive"]
only = { way = 5 }
"""
SMALL = HEAD + TRAIN + DRAW + ROWS
# Four cells of the first row and four of the second.
CELLS = 8


def written(folder, text=SMALL, name="small.toml"):
    """The file of a spec."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def spec(folder, text=SMALL):
    """The spec, read."""
    return load_spec(written(folder, text))


@dataclasses.dataclass(frozen=True)
class RecordingDisplay:
    """Records the messages, warnings and steps of a benchmark run."""

    messages: list = dataclasses.field(default_factory=list)
    warnings: list = dataclasses.field(default_factory=list)
    steps: list = dataclasses.field(default_factory=list)

    def progress_display(self):
        return ProgressDisplay(
            self.messages.append,
            self.warnings.append,
            lambda schedule, start: _Bar(self.steps.append),
            lambda total: _Bar(lambda *what: None),
        )

    def done(self):
        """The lines of finished cells."""
        return [line for line in self.messages if " tasks, " in line]


class _Bar:
    def __init__(self, function):
        self.function = function

    def __enter__(self):
        return self.function

    def __exit__(self, *error):
        return None


def run_spec(folder, text=SMALL, stop=lambda: False, display=None, out=None, **options):
    """Run a spec in a folder; return the recorded display."""
    display = display or RecordingDisplay()
    run_benchmarks(
        [spec(folder, text)],
        RunOptions(out or folder / "out", **options),
        display.progress_display(),
        stop,
    )
    return display


def records(folder, name="small"):
    """The records of a results file, without times and places; no line may be unreadable."""
    found, faults = read_records(folder / f"{name}.jsonl")
    assert faults == ()
    return [timeless(record) for record in found]


def timeless(record):
    """A record without what differs from run to run."""
    kept = ("name", "method", "seed", "steps", "tasks", "device")
    training = tuple({key: part[key] for key in kept} for part in record.training)
    return dataclasses.replace(
        record, seconds=1.0, peak_memory=None, time="", command="", commit=None, training=training
    )
