"""Tracking of a job's result with MLflow, where MLFLOW_TRACKING_URI is set.

MLflow's own variables configure it: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME (default: the name
of the job) and those of its credentials.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

_NOT_IN_NAMES = re.compile(r"[^\w\-. /:]")
_MAX_BATCH, _MAX_PARAMETERS, _MAX_TEXT = 1000, 100, 500  # MLflow's limits
Point = tuple[str, float, int]  # name, value, step


def is_enabled() -> bool:
    """Return whether results are sent to MLflow."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI"))


def log_result(result: Mapping[str, Any], application_id: str) -> None:
    """Log a result as a run of MLflow: its arguments, numbers, series of numbers, and itself.

    Nothing is raised if MLflow does not accept it, because the job's work is done: the reason is
    printed to stderr.
    """
    import mlflow
    from mlflow.entities import Metric, Param
    from mlflow.exceptions import MlflowException

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, value, step in points(result)]
    arguments = {name: str(value)[:_MAX_TEXT] for name, value in result["arguments"].items()}
    parameters = [Param(_name(name), value) for name, value in arguments.items()]
    try:
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", result["job"]))
        client = mlflow.MlflowClient()
        with mlflow.start_run(run_name=f"{result['job']} {application_id}") as run:
            mlflow.set_tags({"job": result["job"], "spark.app.id": application_id})
            for start in range(0, len(metrics), _MAX_BATCH):
                client.log_batch(run.info.run_id, metrics=metrics[start : start + _MAX_BATCH])
            client.log_batch(run.info.run_id, params=parameters[:_MAX_PARAMETERS])
            mlflow.log_dict(dict(result), "result.json")
    except (MlflowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        print(f"{result['job']}: warning: MLflow: {reason}", file=sys.stderr, flush=True)


def points(result: Mapping[str, Any]) -> Iterator[Point]:
    """Yield the numbers of a result: durations by step, and figures, by dotted name.

    The items of a list of numbers, e.g. the losses of logreg, are steps of one metric.
    """
    numbers = {"total_s": result["total_s"], "step_s": result["steps_s"], **result["figures"]}
    yield from _points("", numbers)


def _points(name: str, value: Any, step: int = 0) -> Iterator[Point]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _points(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, (list, tuple)):
        if all(isinstance(item, (int, float)) for item in value):
            for number, item in enumerate(value):
                yield from _points(name, item, number)
    elif isinstance(value, (int, float)):
        yield _name(name), float(value), step


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("_", text)[:250]
