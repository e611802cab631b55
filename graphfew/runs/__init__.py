"""Training runs in a folder: configuration, metrics, checkpoints, resuming."""

from graphfew.runs.build import build, find_device, load_split
from graphfew.runs.carry import Interrupted, Prepared, carry_out, finished, prepare, reopen
from graphfew.runs.config import Schedule, TrainConfig, ratios, settings, span
from graphfew.runs.fit import Moment, Record, Tally, fit
from graphfew.runs.folder import Run, versions, write_json
from graphfew.runs.job import Job
from graphfew.runs.models import best_of, check_mode, label

__all__ = [
    "Interrupted", "Job", "Moment", "Prepared", "Record", "Run", "Schedule", "Tally", "TrainConfig", "best_of", "build",
    "carry_out", "check_mode", "find_device", "finished", "fit", "label", "load_split", "prepare", "ratios", "reopen",
    "settings", "span", "versions", "write_json",
]
