"""Steps over EMR's API; their logs from the cluster's LogUri on S3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emrctl.aws import errors
from emrctl.aws.target import Target
from emrctl.clusters import emr_failure
from emrctl.errors import (
    EmrctlError,
    NotFoundError,
    ProvisioningError,
    UnavailableError,
    UsageError,
)
from emrctl.runs.backends import logs
from emrctl.runs.backends.base import LogFile, Step, StepSpec

# All strings of one HadoopJarStep together, by EMR's API.
MAXIMUM_STEP_CHARACTERS = 10_240
_RUNNER = "command-runner.jar"
_DEAD = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
# What EMR's messages hold where the cluster or the step is not there, or no more.
_UNKNOWN = ("is not valid", "not valid.", "does not exist")


@dataclass(frozen=True)
class EmrBackend:
    """Steps of one EMR cluster; `log_uri` is its LogUri, None where it keeps no logs."""

    target: Target
    cluster_id: str
    log_uri: str | None

    def submit(self, step: StepSpec) -> str:
        """The step waits or runs; its id."""
        length = len(_RUNNER) + sum(map(len, step.arguments))
        if length > MAXIMUM_STEP_CHARACTERS:
            raise UsageError(
                f"the step's command line has {length:,} characters; EMR takes "
                f"{MAXIMUM_STEP_CHARACTERS:,}",
                hint="Put long arguments into a file on S3 and pass its address.",
            )
        document = {
            "Name": step.name,
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": _RUNNER, "Args": list(step.arguments)},
        }
        answer = self._call("add_job_flow_steps", JobFlowId=self.cluster_id, Steps=[document])
        return str(answer["StepIds"][0])

    def step(self, step_id: str) -> Step:
        """The step as it is now; one that a dead cluster never ended is INTERRUPTED."""
        answer = self._call("describe_step", ClusterId=self.cluster_id, StepId=step_id)
        if not answer.get("Step"):
            raise NotFoundError(f"cluster {self.cluster_id} knows no step {step_id}")
        step = _step(answer["Step"])
        return step if step.finished else _interrupted(step, self._status())

    def steps(self, step_ids: Sequence[str]) -> dict[str, Step]:
        """The steps that the cluster knows of these, by id: one call for fifty of its newest."""
        missing, found = set(step_ids), dict[str, Step]()
        for item in self._listed():
            if item["Id"] in missing:
                found[item["Id"]] = _step(item)
                missing.discard(item["Id"])
            if not missing:
                break
        if all(step.finished for step in found.values()):
            return found
        status = self._status()
        return {id_: _interrupted(step, status) for id_, step in found.items()}

    def find(self, name: str) -> Step | None:
        """The step called `name`, if the cluster has it."""
        return next((_step(item) for item in self._listed() if item["Name"] == name), None)

    def cancel(self, step_id: str) -> None:
        """The step is asked to end; `ProvisioningError` with EMR's reason where it refuses."""
        answer = self._call("cancel_steps", ClusterId=self.cluster_id, StepIds=[step_id])
        for item in answer.get("CancelStepsInfoList", ()):
            if item["Status"] == "FAILED":
                raise ProvisioningError(f"step {step_id} was not cancelled: {item.get('Reason')}")

    def logs(self, step_id: str, application_id: str | None) -> Iterator[LogFile]:
        """What the step and its application's containers wrote, as far as it has arrived."""
        if self.log_uri is None:
            return
        bucket, root = logs.root_of(self.log_uri, self.cluster_id)
        yield from self._below(bucket, f"{root}/steps/{step_id}/", "step")
        if application_id:
            yield from self._below(bucket, f"{root}/containers/{application_id}/", "containers")

    def _below(self, bucket: str, prefix: str, folder: str) -> Iterator[LogFile]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield from logs.below(self.target, (bucket, prefix), folder)
        except (BotoCoreError, ClientError) as error:
            raise _explained(error, f"reading s3://{bucket}/{prefix}") from error

    def _listed(self) -> Iterator[dict[str, Any]]:
        """Every step of the cluster, the newest first."""
        more: dict[str, str] = {}
        while True:
            answer = self._call("list_steps", ClusterId=self.cluster_id, **more)
            yield from answer["Steps"]
            if not answer.get("Marker"):
                return
            more = {"Marker": answer["Marker"]}

    def _status(self) -> dict[str, Any]:
        found = self._call("describe_cluster", ClusterId=self.cluster_id)
        status: dict[str, Any] = found["Cluster"]["Status"]
        return status

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found: dict[str, Any] = getattr(self.target.client("emr"), operation)(**arguments)
        except (BotoCoreError, ClientError) as error:
            raise _explained(error, f"{operation} on {self.cluster_id}") from error
        return found


def _explained(error: Exception, doing: str) -> EmrctlError:
    """Our error for boto's: whether there is no such thing, nobody answered, or EMR refused."""
    answer = errors.response_error(error)
    said = str(answer.get("Message", ""))
    if any(words in said for words in _UNKNOWN):
        hint = "`emrctl list` shows the clusters."
        return NotFoundError(f"EMR refused {doing}: {said}", hint=hint)
    if errors.is_transient(error):
        told = errors.translate(error, doing)
        return UnavailableError(told.message, hint=told.hint)
    if answer and errors.find_cause(error) is None:
        hint = "`emrctl show` says how the cluster is."
        return ProvisioningError(f"EMR refused {doing}: {said}", hint=hint)
    return errors.translate(error, doing)


def _interrupted(step: Step, status: dict[str, Any]) -> Step:
    """The step; where its cluster is dead and it had not ended, INTERRUPTED with the reason."""
    if step.finished or status["State"] not in _DEAD:
        return step
    found = emr_failure.find_failure(status)
    said = found or status.get("StateChangeReason", {}).get("Message", "")
    return replace(
        step,
        state="INTERRUPTED",
        ended=status.get("Timeline", {}).get("EndDateTime"),
        reason=f"the cluster is {status['State']}: {said}".rstrip(": "),
    )


def _step(item: dict[str, Any]) -> Step:
    status = item["Status"]
    timeline = status.get("Timeline", {})
    details = status.get("FailureDetails", {})
    reason = details.get("Message") or details.get("Reason")
    return Step(
        id=item["Id"],
        name=item["Name"],
        state=status["State"],
        started=timeline.get("StartDateTime"),
        ended=timeline.get("EndDateTime"),
        reason=reason or status.get("StateChangeReason", {}).get("Message", ""),
    )
