"""The Spark applications of a step, identified by the tag that emrctl sets on each of them.

Spark writes its properties to the event log of every application, also to that of one that a script
runs with a master of its own. Text that the program prints or gets as an argument is not read.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl.aws import errors
from emrctl.aws.listing import objects
from emrctl.aws.s3 import EVENT_LOG_PREFIX
from emrctl.errors import EmrctlError
from emrctl.runs.backends import log_scan
from emrctl.runs.record import TAGS, Run

if TYPE_CHECKING:
    from emrctl.metrics.model import RunMetrics
    from emrctl.runs.backends.base import LogFile
    from emrctl.runs.workspace import Workspace

# Part of a run's warning; comparisons look for it.
NOT_ON_CLUSTER = "nothing ran on the cluster's executors"
# The clocks of this machine and of S3 differ by less.
_CLOCK_SKEW = timedelta(minutes=15)
# Both events precede all others, apart from the version and resource profiles.
_HEAD_BYTES = 4 << 20
# What Spark logs when it has submitted an application, in its own format.
_SUBMITTED = re.compile(
    rb"(?m)^\d\d/\d\d/\d\d \d\d:\d\d:\d\d INFO (?:"
    rb"YarnClientImpl: Submitted application (application_\d+_\d+)"
    rb"|Client: Submitting application (application_\d+_\d+) to ResourceManager"
    rb"|StandaloneSchedulerBackend: Connected to Spark cluster with app ID (app-\d{14}-\d+))"
)


@dataclass(frozen=True, kw_only=True)
class Application:
    """An application with an event log, downloaded to `path`, and its metrics."""

    id: str
    master: str
    path: Path
    metrics: RunMetrics

    @property
    def on_cluster(self) -> bool:
        """Whether it used the cluster's executors, and not only a master of its own."""
        return not self.master.startswith("local")


def download(workspace: Workspace, run: Run, folder: Path) -> list[Application]:
    """Download the event logs of the run's applications to `folder`; the largest comes first."""
    from emrctl.metrics.eventlog import reader

    with errors.translated(f"reading the event logs of {run.id}"):
        newest = _download_logs(workspace.target.client("s3"), run, folder)
    applications = []
    for id_, (name, properties) in newest.items():
        path = folder / name
        metrics = reader.read_path(path)
        master = properties.get("spark.master", "")
        applications.append(Application(id=id_, master=master, path=path, metrics=metrics))
    applications.sort(key=lambda item: (not item.on_cluster, -item.metrics.task_time_ms, item.id))
    return applications


def _download_logs(s3: Any, run: Run, folder: Path) -> dict[str, tuple[str, Mapping[str, str]]]:
    """Download the run's event logs; return name and Spark properties by the application's id."""
    newest: dict[str, tuple[str, Mapping[str, str]]] = {}
    logs = _written_since(s3, run)
    for name in sorted(logs):
        properties = _head(s3, run.bucket, *logs[name][0])
        if _is_of(run, properties):  # of several attempts the last one
            newest[properties.get("id", name)] = (name, properties)
    for name, _ in newest.values():
        for key, _ in logs[name]:
            path = folder / key.removeprefix(EVENT_LOG_PREFIX)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(s3.get_object(Bucket=run.bucket, Key=key)["Body"], file)
    return newest


def _is_of(run: Run, properties: Mapping[str, str]) -> bool:
    """Return whether an application has the run's tag; earlier versions tagged its name on EC2."""
    tags = properties.get(TAGS, "").split(",")
    return run.application_tag in (*tags, *properties.get("spark.app.name", "").split(" "))


def _written_since(s3: Any, run: Run) -> dict[str, list[tuple[str, str]]]:
    """Return keys and ETags of the event logs written since the run was created, by name."""
    from emrctl.metrics.eventlog.layout import sequence_number

    since = datetime.fromisoformat(run.created) - _CLOCK_SKEW
    files: dict[str, list[tuple[str, str]]] = {}
    for item in objects(s3, run.bucket, EVENT_LOG_PREFIX):
        name, slash, file = item["Key"].removeprefix(EVENT_LOG_PREFIX).partition("/")
        if item["LastModified"] >= since and (not slash or file.startswith("events_")):
            files.setdefault(name, []).append((item["Key"], item["ETag"]))
    return {
        name: sorted(found, key=lambda file: (sequence_number(file[0].rpartition("/")[2]), file))
        for name, found in files.items()
    }


_PROPERTIES = ("id", TAGS, "spark.app.name", "spark.master")


# A client that finishes many runs would read the log of each application for each run.
@functools.lru_cache(maxsize=10_000)
def _head(s3: Any, bucket: str, key: str, _etag: str) -> Mapping[str, str]:
    """Return `_PROPERTIES` at the start of an event log; `id` is the application's."""
    found: dict[str, str] = {}
    for line in _lines(s3.get_object(Bucket=bucket, Key=key)["Body"]):
        if b"SparkListenerEnvironmentUpdate" in line or b"SparkListenerApplicationStart" in line:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                found |= {str(k): str(v) for k, v in event.get("Spark Properties", {}).items()}
                found |= {"id": str(event["App ID"])} if "App ID" in event else {}
        if "id" in found and len(found) > 1:
            break
    return {name: found[name] for name in _PROPERTIES if name in found}


def _lines(body: Any) -> Iterator[bytes]:
    """Yield the first lines of an event log, decompressed."""
    from emrctl.metrics.eventlog import codecs

    rest, size = b"", 0
    with contextlib.suppress(codecs.CutError):
        for block in codecs.decode(body):
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
            size += len(block)
            if size > _HEAD_BYTES:
                return
    yield rest


def identify(
    workspace: Workspace, run: Run, found: list[Application], logs: Iterable[LogFile]
) -> Run:
    """Return the run with the ids of its applications, and warnings about what did not run.

    Applications without an event log are found by YARN's tag, or by what Spark itself logged.
    """
    ids = [item.id for item in found if item.on_cluster]
    if not ids:
        ids = [*_tagged(workspace, run)] or _logged(logs)
    if not ids and run.application_id:
        ids = [run.application_id]
    warnings = dict.fromkeys((*run.warnings, *_warnings(run, found, ids)))
    return run.with_applications(ids, tuple(warnings))


def _warnings(run: Run, found: list[Application], ids: list[str]) -> Iterator[str]:
    for item in found:
        if not item.on_cluster:
            yield (
                f"application {item.id} ran with master {item.master}, which the script sets: "
                f"{NOT_ON_CLUSTER}; remove .master(...) from the script"
            )
    if len(ids) > 1:
        yield f"the step ran {len(ids)} applications: Spark's figures are those of {ids[0]} only"
    if run.state == "COMPLETED" and not ids and not found:
        yield f"the step ran no Spark application: {NOT_ON_CLUSTER}"


def _tagged(workspace: Workspace, run: Run) -> list[str]:
    """Return the id of the newest application that YARN lists with the run's tag.

    A standalone master has no tags: it only finds applications that keep the name.
    """
    adapter = workspace.adapter(run.cluster.id)
    if not adapter.is_emr:
        return []
    try:
        account = adapter.live_sources(run.cluster).manager.tagged(run.application_tag)
    except (OSError, ValueError, KeyError, TypeError, EmrctlError):
        return []
    return [account.application_id] if account else []


def _logged(logs: Iterable[LogFile]) -> list[str]:
    """Return the ids that Spark logged to the step's stderr."""
    ids: dict[str, None] = {}
    for log in logs:
        if log.name != "step/stderr":
            continue
        with log.open() as stream:
            for block in log_scan.blocks(stream):
                matches = _SUBMITTED.finditer(block)
                ids |= {str(m[m.lastindex or 0], "ascii"): None for m in matches}
    return list(ids)
