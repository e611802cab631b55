"""MLflow, through its client, which has no global active run."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping
from typing import Any, final

from graphfew._utils.model_spec import JSON
from graphfew.loggers.logger_protocol import RunRequest

EXPERIMENT = "graphfew"
# MLflow's limits of one request and of one value.
MAX_PARAMETERS, MAX_CHARACTERS = 100, 500


@final
class _MlflowLogger:
    """A `RunLogger` on a run of an MLflow server or folder."""

    def __init__(self, mlflow: Any, client: Any, run_id: str) -> None:
        self._mlflow = mlflow
        self._client = client
        self.run_id = run_id

    def log(self, values: Mapping[str, float], step: int, /) -> None:
        now = int(1000 * time.time())
        create = self._mlflow.entities.Metric
        metrics = [create(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def close(self, *, succeeded: bool) -> None:
        self._client.set_terminated(self.run_id, status="FINISHED" if succeeded else "FAILED")


def open_mlflow(request: RunRequest) -> _MlflowLogger:
    """Start or continue a run at `MLFLOW_TRACKING_URI`, in `MLFLOW_EXPERIMENT_NAME`."""
    # An optional package.
    mlflow: Any = importlib.import_module("mlflow")
    client = mlflow.MlflowClient()
    if request.run_id is not None:
        client.update_run(request.run_id, status="RUNNING")
        return _MlflowLogger(mlflow, client, request.run_id)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    experiment = client.get_experiment_by_name(name)
    experiment_id = (
        client.create_experiment(name) if experiment is None else experiment.experiment_id
    )
    run_id = str(client.create_run(experiment_id, run_name=request.name).info.run_id)
    parameters = _parameters(mlflow, request.config)
    for first in range(0, len(parameters), MAX_PARAMETERS):
        client.log_batch(run_id, params=parameters[first : first + MAX_PARAMETERS])
    return _MlflowLogger(mlflow, client, run_id)


def _parameters(mlflow: Any, config: Mapping[str, JSON]) -> list[Any]:
    create = mlflow.entities.Param
    return [create(name, str(value)[:MAX_CHARACTERS]) for name, value in config.items()]
