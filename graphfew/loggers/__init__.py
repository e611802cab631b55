"""Loggers of training runs: TensorBoard, Weights & Biases and MLflow.

Start with `open_logger`, for your own training loop; `graphfew train --logger` uses it too.
"""

from graphfew.loggers.opening import check_logger, open_logger
from graphfew.loggers.protocol import RunLogger, RunRequest

__all__ = ["RunLogger", "RunRequest", "check_logger", "open_logger"]
