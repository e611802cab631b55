"""Loggers of training runs: TensorBoard, Weights & Biases and MLflow.

Start with `open_logger`, for your own training loop; `graphfew train --logger` uses it too.
"""

from graphfew.loggers.logger_protocol import RunLogger, RunRequest
from graphfew.loggers.opening import check_logger, open_logger

__all__ = ["RunLogger", "RunRequest", "check_logger", "open_logger"]
