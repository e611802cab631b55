"""`open_logger`: a run of a logger, new or continued, as a context manager."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from graphfew._utils.atomic_io import write_text
from graphfew._utils.model_spec import JSON
from graphfew.errors import ConfigurationError, GraphfewError, MissingDependencyError
from graphfew.loggers._mlflow import open_mlflow
from graphfew.loggers._tensorboard import open_tensorboard
from graphfew.loggers._wandb import open_wandb
from graphfew.loggers.logger_protocol import LogFunction, RunLogger, RunRequest

LOGGERS: Mapping[str, Callable[[RunRequest], RunLogger]] = {
    "tensorboard": open_tensorboard,
    "wandb": open_wandb,
    "mlflow": open_mlflow,
}
# Next to the run's other files: the identifier of the run in each logger.
IDS_FILE = "loggers.json"


def check_logger(name: str) -> None:
    """Check that a logger exists and that its package is installed, without importing it.

    Args:
        name: name of the logger, one of `LOGGERS`; its package has the same name.

    Raises:
        ConfigurationError: the name is unknown.
        MissingDependencyError: the package is not installed.

    Example:
        >>> from graphfew.loggers import check_logger
        >>> check_logger("tensorboards")
        Traceback (most recent call last):
        graphfew.errors.ConfigurationError: unknown logger 'tensorboards'; expected one of ...
    """
    if name not in LOGGERS:
        raise ConfigurationError(
            f"unknown logger {name!r}; expected one of {', '.join(LOGGERS)}", key="logger"
        )
    if importlib.util.find_spec(name) is None:
        raise MissingDependencyError(
            f"the logger {name} needs the package {name}, which is not installed; run: "
            f'pip install "graphfew[{name}]"'
        )


@contextmanager
def open_logger(
    name: str,
    folder: str | Path,
    *,
    config: Mapping[str, JSON] | None = None,
    resume: bool = False,
    start: int = 0,
) -> Iterator[LogFunction]:
    """Open a run in a logger, and close it at the end of the `with` block.

    TensorBoard's files are in `folder/tensorboard`. Weights & Biases and MLflow are configured by
    their own environment variables (`WANDB_PROJECT`, `WANDB_MODE`, `MLFLOW_TRACKING_URI`, ...); the
    default project is `graphfew`.

    Args:
        name: `"tensorboard"`, `"wandb"` or `"mlflow"`.
        folder: folder of the run, created if missing. `loggers.json` in it has the identifier of
            the run in each logger.
        config: configuration of the run, recorded with it.
        resume: continue the run that `folder` has in this logger; a new one if it has none.
        start: number of completed steps; with `resume`, numbers of later steps are replaced.

    Yields:
        The function `log(values, step)`: numbers by name, and the number of completed steps.

    Raises:
        ConfigurationError: the name is unknown, `loggers.json` cannot be read, or the logger cannot
            open the run.
        MissingDependencyError: the package of the logger is not installed.

    Example:
        >>> import tempfile, graphfew as gf
        >>> tasks = gf.Tasks(gf.data.digits(), way=3, query=2)
        >>> model = gf.create("prototypical", encoder=gf.backbones.conv4(width=4))
        >>> steps = gf.train(model, tasks, loss=gf.node_loss, batch=2, steps=3)
        >>> with gf.loggers.open_logger("tensorboard", tempfile.mkdtemp()) as log:
        ...     for step in steps:
        ...         log({"train/loss": step.loss}, step.index + 1)
    """
    check_logger(name)
    target = Path(folder)
    ids = _read_ids(target)
    run_id = ids.get(name) if resume else None
    logger = _open(name, RunRequest(target, config or {}, run_id, start))
    write_text(target / IDS_FILE, json.dumps({**ids, name: logger.run_id}, indent=1) + "\n")
    succeeded = False
    try:
        yield logger.log
        succeeded = True
    finally:
        _close(name, logger, succeeded)


def opened_loggers(folder: Path) -> tuple[str, ...]:
    """Names of the loggers that a run folder has used. Raises ConfigurationError."""
    return tuple(_read_ids(folder))


def _open(name: str, request: RunRequest) -> RunLogger:
    try:
        return LOGGERS[name](request)
    except GraphfewError:
        raise
    # Each package has exceptions of its own, for a missing login or an unreachable server.
    except Exception as error:
        raise ConfigurationError(
            f"{name} cannot open a run ({_reason(error)}); correct its settings, or train without this "
            "logger",
            key="logger",
        ) from error


def _close(name: str, logger: RunLogger, succeeded: bool) -> None:
    try:
        logger.close(succeeded=succeeded)
    # A server that is gone must not replace the result, or the exception, of the block.
    except Exception as error:
        warnings.warn(
            f"{name} could not end the run ({_reason(error)}); it may be shown as unfinished",
            RuntimeWarning,
            stacklevel=2,
        )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _read_ids(folder: Path) -> dict[str, str]:
    path = folder / IDS_FILE
    if not path.is_file():
        return {}
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
        is_valid = all(isinstance(run_id, str) for run_id in ids.values())
    except (ValueError, AttributeError) as error:
        raise _unreadable(path) from error
    if not is_valid:
        raise _unreadable(path)
    return {name: run_id for name, run_id in ids.items() if name in LOGGERS}


def _unreadable(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be read; it maps loggers to run identifiers. Remove it to log to new runs"
    )
