"""Steps of a Spark standalone cluster: what its primary runs, whoever is connected.

The primary keeps the books (bootstrap/step.py) and is asked over SSH. What it writes to S3 while a
step runs is what is left when it is gone: a step that had not ended by then never will.
"""

from __future__ import annotations

import io
import json
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from emrctl.aws import errors
from emrctl.aws.listing import instances
from emrctl.errors import EmrctlError, NotFoundError, ProvisioningError, UnavailableError
from emrctl.remote.nodes import CommandResult
from emrctl.runs.backends import logs
from emrctl.runs.backends.base import LogFile, Step, StepSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target

_PROGRAM = "emrctl/bin/step"
_UNKNOWN = 3
_GONE = frozenset({"stopping", "stopped", "shutting-down", "terminated"})
_TOLD_LINES = 5


class Primary(Protocol):
    """The way to the primary."""

    def run(self, command: str, stdin: bytes = b"") -> CommandResult:
        """The command has run there; `UnavailableError` where the primary does not answer now.

        Another `ProvisioningError` where it never will, as without its key.
        """


@dataclass(frozen=True)
class Ec2Backend:
    """Steps of one standalone cluster; `log_uri` is where its logs go, as `s3://bucket/logs/`."""

    target: Target
    cluster_id: str
    log_uri: str
    primary: Primary

    def submit(self, step: StepSpec) -> str:
        """The step waits or runs, and goes on when this client is gone; its id."""
        wanted = {"name": step.name, "arguments": list(step.arguments)}
        return str(self._asked("submit", stdin=json.dumps(wanted).encode())["id"])

    def step(self, step_id: str) -> Step:
        """The step as it is now; one that the primary took along when it went is INTERRUPTED."""
        found = self.steps([step_id]).get(step_id)
        if found is None:
            raise NotFoundError(f"cluster {self.cluster_id} knows no step {step_id}")
        return found

    def steps(self, step_ids: Sequence[str]) -> dict[str, Step]:
        """The steps that the cluster knows of these, by their ids; from S3 where it is gone."""
        if not step_ids:
            return {}
        try:
            found = self._asked("show", *step_ids)
        except ProvisioningError:
            gone = self._gone()
            if not gone:
                raise
            kept = (self._kept(step_id) for step_id in step_ids)
            return {step.id: _interrupted(step, gone) for step in kept if step is not None}
        return {item["id"]: _step(item) for item in found}

    def find(self, name: str) -> Step | None:
        """The step called `name`, if the cluster has it; one that is gone has none."""
        try:
            found = self._asked("find", name)
        except NotFoundError:
            return None
        except ProvisioningError:
            if self._gone():
                return None
            raise
        return _step(found)

    def cancel(self, step_id: str) -> None:
        """The step is asked to end; `ProvisioningError` where its cluster stands still."""
        try:
            self._asked("cancel", step_id)
        except ProvisioningError as error:
            gone = self._gone()
            if not gone:
                raise
            msg = f"step {step_id} was not cancelled: {gone}"
            raise ProvisioningError(msg) from error

    def logs(self, step_id: str, application_id: str | None) -> Iterator[LogFile]:
        """What the step wrote until now, and its executors until they were last looked at."""
        bucket, root = logs.root_of(self.log_uri, self.cluster_id)
        try:
            own = list(self._own_logs(step_id, f"s3://{bucket}/{root}/steps/{step_id}"))
        except (ProvisioningError, NotFoundError):
            own = [log for log in self._on_s3(f"{root}/steps/{step_id}/", "step") if _is_log(log)]
        yield from own
        if application_id:
            yield from self._on_s3(f"{root}/containers/{application_id}/", "containers")

    def _own_logs(self, step_id: str, folder: str) -> Iterator[LogFile]:
        answer = self._ran("logs", step_id)
        with tarfile.open(fileobj=io.BytesIO(answer.out), mode="r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member)
                text = file.read() if file else b""
                uri = f"{folder}/{member.name}.gz"
                yield LogFile(name=f"step/{member.name}", uri=uri, text=text)

    def _on_s3(self, prefix: str, folder: str) -> list[LogFile]:
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _ = logs.root_of(self.log_uri, self.cluster_id)
        try:
            return list(logs.below(self.target, (bucket, prefix), folder))
        except (BotoCoreError, ClientError) as error:
            raise _explained(error, f"reading s3://{bucket}/{prefix}") from error

    def _asked(self, *arguments: str, stdin: bytes = b"") -> Any:
        return json.loads(self._ran(*arguments, stdin=stdin).out)

    def _ran(self, *arguments: str, stdin: bytes = b"") -> CommandResult:
        answer = self.primary.run(shlex.join(["bash", _PROGRAM, *arguments]), stdin)
        if answer.code == 0:
            return answer
        if answer.code == _UNKNOWN:
            raise NotFoundError(f"cluster {self.cluster_id} knows no step {arguments[-1]}")
        said = " ".join(answer.err.decode(errors="replace").splitlines()[-_TOLD_LINES:])
        raise ProvisioningError(
            f"the primary {self.cluster_id} could not {arguments[0]}: {said or answer.code}",
            hint="`emrctl up` puts right what its nodes lack.",
        )

    def _gone(self) -> str:
        """What EC2 says where the primary does not run any more; else nothing."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = list(instances(self.target.client("ec2"), InstanceIds=[self.cluster_id]))
        except (BotoCoreError, ClientError) as error:
            code = errors.error_code(error)
            if str(code).startswith("InvalidInstanceID"):
                return f"the primary {self.cluster_id} is no more"
            raise _explained(error, f"asking how {self.cluster_id} is") from error
        if not found:
            return f"the primary {self.cluster_id} is no more"
        state = found[0]["State"]["Name"]
        why = found[0].get("StateReason", {}).get("Message", "")
        return f"the primary is {state}: {why}".rstrip(": ") if state in _GONE else ""

    def _kept(self, step_id: str) -> Step | None:
        """The step as the primary last wrote it to S3."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, root = logs.root_of(self.log_uri, self.cluster_id)
        key = f"{root}/steps/{step_id}/state.json"
        try:
            body = self.target.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        except (BotoCoreError, ClientError) as error:
            if errors.error_code(error) in {"NoSuchKey", "NoSuchBucket"}:
                return None
            raise _explained(error, f"reading s3://{bucket}/{key}") from error
        return _step(json.loads(body))


def _explained(error: Exception, doing: str) -> EmrctlError:
    told = errors.translate(error, doing)
    return UnavailableError(told.message, hint=told.hint) if errors.is_transient(error) else told


def _is_log(log: LogFile) -> bool:
    return not log.name.endswith(".json")


def _interrupted(step: Step, why: str) -> Step:
    return step if step.finished else replace(step, state="INTERRUPTED", reason=why)


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
