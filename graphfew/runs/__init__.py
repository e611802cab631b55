"""Training runs in a folder: configuration, metrics, checkpoints, resuming."""

from graphfew.runs.build import build, find_device, load_split
from graphfew.runs.config import Schedule, TrainConfig, ratios, settings, span
from graphfew.runs.factory import check_mode, label, resolve_checkpoint
from graphfew.runs.fit import TrainingProgress, ValidationEvent, ValidationRecord, fit
from graphfew.runs.run_dir import Run, versions, write_json
from graphfew.runs.runner import Interrupted, PreparedRun, execute, finished, prepare, reopen
from graphfew.runs.state import TrainingState

__all__ = [
    "Interrupted",
    "PreparedRun",
    "Run",
    "Schedule",
    "TrainConfig",
    "TrainingProgress",
    "TrainingState",
    "ValidationEvent",
    "ValidationRecord",
    "build",
    "check_mode",
    "execute",
    "find_device",
    "finished",
    "fit",
    "label",
    "load_split",
    "prepare",
    "ratios",
    "reopen",
    "resolve_checkpoint",
    "settings",
    "span",
    "versions",
    "write_json",
]
