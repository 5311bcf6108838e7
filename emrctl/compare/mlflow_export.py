"""Export of runs to an MLflow server: parameters, metrics, tags and files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl import redact
from emrctl.compare import records
from emrctl.errors import EmrctlError, UnavailableError
from emrctl.runs.record import Run
from emrctl.runs.store import RunFiles
from emrctl.runs.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

RUN_TAG = "emrctl.run"
_STATUS = {"COMPLETED": "FINISHED", "CANCELLED": "KILLED"}
_FILES = (RunFiles.RECORD, RunFiles.METRICS, RunFiles.RESULT)
# MLflow's limits: names have these characters, a parameter at most 6,000, a request 100 parameters.
_NOT_IN_NAMES = re.compile(r"[^\w./ -]")
_MAX_PARAMETER, _MAX_BATCH = 6000, 100


@dataclass(frozen=True)
class Exported:
    """A run with the id that MLflow gave it; `known` if it was exported before."""

    run: str
    mlflow_run: str
    known: bool = False


def export(workspace: Workspace, runs: Sequence[Run], uri: str) -> Iterator[Exported]:
    """Export finished runs to the MLflow server at `uri`; yield each when it is complete.

    The MLflow experiment is that of the run's trial, else the project. A run that was exported
    completely is not exported again. Raises `UnavailableError` if the server does not answer or
    rejects a request.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    try:
        for run in runs:
            if run.finished:
                yield _export(workspace, run, client)
    except MlflowException as error:
        raise UnavailableError(
            f"MLflow at {redact.text(uri)}: {redact.text(str(error))}",
            hint="Check the address and that the server is running.",
        ) from error


def _export(workspace: Workspace, run: Run, client: MlflowClient) -> Exported:
    from mlflow.entities import Metric, Param

    experiment = _experiment(client, run.trial.experiment if run.trial else run.project)
    name = run.id.replace("'", "")
    query = f"tags.`{RUN_TAG}` = '{name}' and attributes.status != 'RUNNING'"
    for known in client.search_runs([experiment], query):
        return Exported(run.id, known.info.run_id, known=True)
    record = records.load_record(workspace, run)
    created = client.create_run(
        experiment, start_time=_ms(run.started or run.created), tags=_tags(run), run_name=run.id
    ).info.run_id
    now = _ms(run.ended or run.created)
    parameters = [Param(_name(k), v[:_MAX_PARAMETER]) for k, v in record.traits().items()]
    for start in range(0, len(parameters), _MAX_BATCH):
        client.log_batch(created, params=parameters[start : start + _MAX_BATCH])
    metrics = [Metric(_name(key), number, now, 0) for key, number in _metrics(record)]
    for start in range(0, len(metrics), _MAX_BATCH):
        client.log_batch(created, metrics=metrics[start : start + _MAX_BATCH])
    files = workspace.store.files(run.id)
    for file in _FILES:
        body = files.find(file)
        if body is not None:
            client.log_text(created, body.decode(errors="replace"), Path(file).name)
    # Last: a run that was interrupted before is exported again.
    ended = _ms(run.ended or run.started or run.created)
    client.set_terminated(created, _STATUS.get(run.state, "FAILED"), ended)
    return Exported(run.id, created)


def _experiment(client: MlflowClient, name: str) -> str:
    found: Any = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name))
    if found.lifecycle_stage != "active":
        hint = "Restore it in MLflow, or delete it permanently."
        raise EmrctlError(f"the MLflow experiment '{name}' is deleted", hint=hint)
    return str(found.experiment_id)


def _tags(run: Run) -> Mapping[str, str]:
    own = {
        RUN_TAG: run.id,
        "emrctl.state": run.state,
        "emrctl.target": run.target,
        "emrctl.cluster": run.cluster.id,
        "emrctl.failure": run.failure or "",
        "emrctl.configuration": run.trial.cell if run.trial else "",
        "mlflow.source.git.commit": run.commit.id if run.commit else "",
    }
    return {key: value for key, value in {**run.tags, **own}.items() if value}


def _metrics(record: records.RunRecord) -> Iterator[tuple[str, float]]:
    for figure in records.FIGURES:
        value = figure.of(record)
        if value is not None:
            yield figure.key, float(value)
    for name, number in record.result_numbers.items():
        yield f"result.{name}", float(number)


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("_", text)[:250]


def _ms(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)
