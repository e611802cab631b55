"""Training runs in a folder: configuration, metrics, checkpoints, resuming and evaluation.

Start reading at `runner.execute`; `config.TrainConfig` and `schedule.Schedule` declare the options.
"""

from graphfew.runs.build import build_state, load_split, resolve_device
from graphfew.runs.checkpoints import checkpoint_label, resolve_checkpoint
from graphfew.runs.config import TrainConfig
from graphfew.runs.environment import versions
from graphfew.runs.evaluation import EvaluationRow, evaluate_checkpoints
from graphfew.runs.event_logging import log_events
from graphfew.runs.factory import check_mode
from graphfew.runs.fit import TrainingEvent, TrainingProgress, ValidationRecord, fit
from graphfew.runs.option_catalog import training_options
from graphfew.runs.options import Option, parse_key_values, parse_ratios
from graphfew.runs.run_dir import RunDir, write_json
from graphfew.runs.runner import PreparedRun, TrainingInterrupted, execute, prepare, resume
from graphfew.runs.schedule import Schedule
from graphfew.runs.state import TrainingState

__all__ = [
    "EvaluationRow",
    "Option",
    "PreparedRun",
    "RunDir",
    "Schedule",
    "TrainConfig",
    "TrainingEvent",
    "TrainingInterrupted",
    "TrainingProgress",
    "TrainingState",
    "ValidationRecord",
    "build_state",
    "check_mode",
    "checkpoint_label",
    "evaluate_checkpoints",
    "execute",
    "fit",
    "load_split",
    "log_events",
    "parse_key_values",
    "parse_ratios",
    "prepare",
    "resolve_checkpoint",
    "resolve_device",
    "resume",
    "training_options",
    "versions",
    "write_json",
]
