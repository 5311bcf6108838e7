"""What a finished step left behind, brought into the store: logs, event log, account, result.

All of it is written before the run is marked as finished, so that an interrupted pull is simply
done again.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl import redact
from emrctl.aws.listing import objects
from emrctl.aws.s3 import EVENT_LOG_PREFIX, split_uri
from emrctl.errors import UsageError
from emrctl.runs import collect, outputs
from emrctl.runs.backends import step_failure
from emrctl.runs.backends.base import LogFile, Step, to_iso
from emrctl.runs.store import IMPORTED

if TYPE_CHECKING:
    from emrctl.metrics.model import RunMetrics
    from emrctl.runs.store import Run
    from emrctl.runs.workspace import Workspace

# YARN's ids, and a standalone master's.
_APPLICATION = re.compile(rb"\b(?:application_\d+|app-\d{14})[_-]\d+\b")


def finish(workspace: Workspace, run: Run, step: Step) -> Run:
    """The run as it ended, with everything it left in the store beside it."""
    run = replace(run, state=step.state, ended=step.ended_iso or to_iso(datetime.now(UTC)))
    logs = _step_logs(workspace, run)
    run = replace(run, application_id=_application_id(logs) or run.application_id)
    yarn = collect.collect_yarn(workspace, run)
    run = replace(run, instances_usd=collect.collect_instances(workspace, run))
    logs = _with_containers(workspace, run, logs)
    _save_logs(workspace, run, logs)
    _save_result(workspace, run)
    _save_metrics(workspace, run, yarn)
    if step.state != "COMPLETED":
        run = _explained(run, step, logs)
    workspace.store.save(run)
    return run


def again(workspace: Workspace, run: Run) -> None:
    """Logs, result and metrics of a finished run are read anew from where they lie."""
    if run.target == IMPORTED:
        hint = "`emrctl runs import` takes its event log again."
        raise UsageError(f"run {run.id} was imported: there is no cluster to ask", hint=hint)
    _save_logs(workspace, run, _with_containers(workspace, run, _logs(workspace, run, None)))
    _save_result(workspace, run)
    _save_metrics(workspace, run, collect.collect_yarn(workspace, run))


def _explained(run: Run, step: Step, logs: Sequence[LogFile]) -> Run:
    found = step_failure.explain(logs)
    if found is None:
        return replace(run, failure=step.reason or f"the step is {step.state}")
    return replace(run, failure=redact.text(found.line), failure_log=found.log)


def _step_logs(workspace: Workspace, run: Run) -> list[LogFile]:
    """The step's own logs; on AWS they can take minutes to arrive."""
    end = time.monotonic() + workspace.target.logs_s
    while True:
        logs = _logs(workspace, run, None)
        if any(log.name == "step/stderr" for log in logs) or time.monotonic() > end:
            return logs
        time.sleep(workspace.target.poll_s)


def _with_containers(workspace: Workspace, run: Run, logs: list[LogFile]) -> list[LogFile]:
    if run.application_id is None:
        return logs
    return _logs(workspace, run, run.application_id)


def _logs(workspace: Workspace, run: Run, application_id: str | None) -> list[LogFile]:
    backend = workspace.backend(run.cluster.id, run.cluster.log_uri)
    return list(backend.logs(str(run.step_id), application_id))


def _save_logs(workspace: Workspace, run: Run, logs: Sequence[LogFile]) -> None:
    """Store the logs; the controller's, which quotes the step's command line, is redacted."""
    for log in logs:
        body = log.text
        if log.name == "step/controller":
            body = redact.text(body.decode(errors="replace")).encode()
        workspace.store.put(run.id, f"logs/{log.name}", body)


def _application_id(logs: Sequence[LogFile]) -> str | None:
    for log in logs:
        if log.name.startswith("step/") and (found := _APPLICATION.search(log.text)):
            return found[0].decode()
    return None


def _save_result(workspace: Workspace, run: Run) -> None:
    """What the job says of itself: `result.json` in its output, where it wrote one.

    Elsewhere than below the run's own prefix an earlier run may have left one: that of a run
    which came to no good end is nobody's.
    """
    from botocore.exceptions import ClientError

    place = outputs.place_of(run) if run.state == "COMPLETED" else f"{run.prefix}/output"
    bucket, key = split_uri(f"{place}/result.json")
    try:
        answer = workspace.target.client("s3").get_object(Bucket=bucket, Key=key)
    except ClientError:
        return
    workspace.store.put(run.id, "result.json", answer["Body"].read())


def _save_metrics(workspace: Workspace, run: Run, yarn: dict[str, Any]) -> None:
    if run.application_id is None:
        return
    with tempfile.TemporaryDirectory(prefix="emrctl-") as folder:
        place = _event_log(workspace, run, Path(folder))
        if place is None:
            return
        for path in sorted(item for item in place.rglob("*") if item.is_file()):
            name = path.relative_to(folder).as_posix()
            workspace.store.put(run.id, f"eventlog/{name}", path.read_bytes())
        metrics = _metrics(place, yarn)
    document = json.dumps(metrics.to_json(), ensure_ascii=False)
    workspace.store.put(run.id, "metrics.json", document.encode())


def _metrics(place: Path, yarn: dict[str, Any]) -> RunMetrics:
    from emrctl.metrics.eventlog import reader
    from emrctl.metrics.model import ApplicationAccount, ClusterAccount

    metrics = reader.read_path(place)
    if not yarn:
        return metrics
    return replace(
        metrics,
        yarn=ApplicationAccount.from_json(yarn["application"]),
        cluster=ClusterAccount.from_json(yarn["cluster"]),
    )


def _event_log(workspace: Workspace, run: Run, folder: Path) -> Path | None:
    """The run's event log, copied below `folder`; None where Spark wrote none."""
    s3 = workspace.target.client("s3")
    names: set[str] = set()
    for start in (f"eventlog_v2_{run.application_id}", str(run.application_id)):
        for item in objects(s3, run.bucket, EVENT_LOG_PREFIX + start):
            key = item["Key"]
            name = key.removeprefix(EVENT_LOG_PREFIX)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(s3.get_object(Bucket=run.bucket, Key=key)["Body"].read())
            names.add(name.split("/", maxsplit=1)[0])
    # The last attempt is the one that counts.
    return folder / max(names) if names else None
