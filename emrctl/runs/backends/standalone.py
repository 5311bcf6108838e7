"""Steps of Spark standalone clusters: queued and run by the primary, controlled over SSH.

The primary runs bootstrap/step.py and uploads the state of each step to S3. If the primary no
longer exists, S3 has the last state: a step that was unfinished then is INTERRUPTED.
"""

from __future__ import annotations

import functools
import io
import json
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, BinaryIO, cast

from emrctl.aws import errors
from emrctl.aws.listing import EC2_GONE, EC2_STOPPED, instances
from emrctl.aws.target import Target
from emrctl.errors import NotFoundError, ProvisioningError
from emrctl.remote.nodes import CommandResult, PrimaryConnection
from emrctl.runs.backends.base import (
    LogFile,
    Step,
    log_location,
    read_logs,
)

_PROGRAM = "emrctl/bin/step"
_NO_SUCH_STEP_CODE = 3
_NOT_RUNNING = (*EC2_STOPPED, *EC2_GONE)
_NO_INSTANCE = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")
_MAX_ERROR_LINES = 5


@dataclass(frozen=True)
class Ec2Backend:
    """Steps of one standalone cluster; its logs are uploaded below `log_uri`."""

    target: Target
    cluster_id: str
    log_uri: str
    primary: PrimaryConnection

    def submit(self, name: str, arguments: Sequence[str]) -> str:
        """Submit a step, which does not depend on this client any further; return its id."""
        document = {"name": name, "arguments": list(arguments)}
        return str(self._call("submit", stdin=json.dumps(document).encode())["id"])

    def step(self, step_id: str) -> Step:
        """Return a step; INTERRUPTED if the primary was stopped or terminated before it ended."""
        step = self.steps([step_id]).get(step_id)
        if step is None:
            raise NotFoundError(f"cluster {self.cluster_id} has no step {step_id}")
        return step

    def steps(self, step_ids: Sequence[str]) -> dict[str, Step]:
        """Return the steps that exist by id, read from S3 if the primary is not running."""
        if not step_ids:
            return {}
        try:
            items = self._call("show", *step_ids)
        except ProvisioningError:
            reason = self._why_not_running()
            if not reason:
                raise
            stored = (self._stored_step(step_id) for step_id in step_ids)
            return {step.id: _interrupted(step, reason) for step in stored if step is not None}
        return {item["id"]: _step(item) for item in items}

    def find(self, name: str) -> Step | None:
        """Return the step of this name, None if there is none or the primary is not running."""
        try:
            return _step(self._call("find", name))
        except NotFoundError:
            return None
        except ProvisioningError:
            if self._why_not_running():
                return None
            raise

    def cancel(self, step_id: str) -> None:
        """Request the cancellation; `ProvisioningError` if the primary is not running."""
        try:
            self._call("cancel", step_id)
        except ProvisioningError as error:
            reason = self._why_not_running()
            if not reason:
                raise
            raise ProvisioningError(f"cannot cancel step {step_id}: {reason}") from error

    def step_logs(self, step_id: str) -> Iterator[LogFile]:
        """Yield the current logs of the step, or those uploaded last without its primary."""
        bucket, root = log_location(self.log_uri, self.cluster_id)
        folder = f"{root}/steps/{step_id}"
        try:
            logs = list(self._current_logs(step_id, f"s3://{bucket}/{folder}"))
        except (ProvisioningError, NotFoundError):
            uploaded = read_logs(self.target, bucket, f"{folder}/", "step")
            logs = [log for log in uploaded if not log.name.endswith(".json")]
        yield from logs

    def container_logs(self, application_id: str) -> Iterator[LogFile]:
        """Yield the logs of an application's executors that were uploaded last."""
        bucket, root = log_location(self.log_uri, self.cluster_id)
        prefix = f"{root}/containers/{application_id}/"
        yield from read_logs(self.target, bucket, prefix, "containers")

    def _current_logs(self, step_id: str, uri: str) -> Iterator[LogFile]:
        packed = self._run("logs", step_id).out
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            names = archive.getnames()
        for name in names:
            source = functools.partial(_open_member, packed, name)
            yield LogFile(name=f"step/{name}", uri=f"{uri}/{name}.gz", source=source)

    def _call(self, *arguments: str, stdin: bytes = b"") -> Any:
        return json.loads(self._run(*arguments, stdin=stdin).out)

    def _run(self, *arguments: str, stdin: bytes = b"") -> CommandResult:
        result = self.primary.run(shlex.join(["bash", _PROGRAM, *arguments]), stdin)
        if result.code == 0:
            return result
        if result.code == _NO_SUCH_STEP_CODE:
            raise NotFoundError(f"cluster {self.cluster_id} has no step {arguments[-1]}")
        lines = " ".join(result.err.decode(errors="replace").splitlines()[-_MAX_ERROR_LINES:])
        raise ProvisioningError(
            f"the primary {self.cluster_id} could not {arguments[0]}: {lines or result.code}",
            hint="Repair its nodes with `emrctl up`.",
        )

    def _why_not_running(self) -> str:
        """Return why the primary is not running; empty if it is."""
        ec2, ids = self.target.client("ec2"), [self.cluster_id]
        with errors.translated(f"describing {self.cluster_id}"):
            items = errors.get_or_none(lambda: list(instances(ec2, InstanceIds=ids)), *_NO_INSTANCE)
        if not items:
            return f"the primary {self.cluster_id} does not exist"
        state = items[0]["State"]["Name"]
        reason = items[0].get("StateReason", {}).get("Message", "")
        return f"the primary is {state}: {reason}".rstrip(": ") if state in _NOT_RUNNING else ""

    def _stored_step(self, step_id: str) -> Step | None:
        """Return the step as the primary last uploaded it."""
        bucket, root = log_location(self.log_uri, self.cluster_id)
        key = f"{root}/steps/{step_id}/state.json"
        s3 = self.target.client("s3")
        with errors.translated(f"reading s3://{bucket}/{key}"):
            answer = errors.get_or_none(
                lambda: s3.get_object(Bucket=bucket, Key=key), "NoSuchKey", "NoSuchBucket"
            )
            return None if answer is None else _step(json.load(answer["Body"]))


def _open_member(packed: bytes, name: str) -> BinaryIO:
    archive = tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz")  # noqa: SIM115 - of the file
    file = archive.extractfile(name)
    return cast("BinaryIO", file or io.BytesIO())


def _interrupted(step: Step, why: str) -> Step:
    if step.finished:
        return step
    return replace(step, state="INTERRUPTED", inferred=True, reason=why)


def _step(item: dict[str, Any]) -> Step:
    return Step(
        id=item["id"],
        name=item["name"],
        state=item["state"],
        started=_moment(item.get("started")),
        ended=_moment(item.get("ended")),
        reason=item.get("reason", ""),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
