"""Steps of EMR clusters over EMR's API, and their logs below the cluster's LogUri."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emrctl.aws import errors
from emrctl.aws.listing import EMR_TERMINATED
from emrctl.aws.polling import Backoff
from emrctl.aws.target import Target
from emrctl.clusters import emr
from emrctl.errors import (
    EmrctlError,
    NotFoundError,
    ProvisioningError,
    UnavailableError,
    UsageError,
)
from emrctl.runs.backends.base import (
    LogFile,
    Step,
    log_location,
    read_logs,
)

# EMR's limit for all strings of a HadoopJarStep together.
MAX_STEP_CHARACTERS = 10_240
_RUNNER = "command-runner.jar"
# As many as boto3's, which waits less before the first ones.
_ATTEMPTS, _RETRY_S = 10, 1.0
# In EMR's messages if the cluster or the step does not exist.
_NOT_FOUND_MESSAGES = ("is not valid", "not valid.", "does not exist")


@dataclass(frozen=True)
class EmrBackend:
    """Steps of one EMR cluster; `log_uri` is its LogUri, None if it stores no logs."""

    target: Target
    cluster_id: str
    log_uri: str | None

    def submit(self, name: str, arguments: Sequence[str]) -> str:
        """Submit a step with AddJobFlowSteps and return its id."""
        length = len(_RUNNER) + sum(map(len, arguments))
        if length > MAX_STEP_CHARACTERS:
            raise UsageError(
                f"the command line of the step has {length:,} characters; EMR's limit is "
                f"{MAX_STEP_CHARACTERS:,}",
                hint="Put long arguments into a file on S3 and pass its URI.",
            )
        document = {
            "Name": name,
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": _RUNNER, "Args": list(arguments)},
        }
        return self._add_step(name, document)

    def _add_step(self, name: str, document: dict[str, Any]) -> str:
        """Add a step and return its id; look for it before the request is sent again.

        EMR may have added it although the response was lost.
        """
        pause = Backoff(min(self.target.poll_s, _RETRY_S))
        for attempt in itertools.count(1):
            try:
                answer = self._call(
                    "add_job_flow_steps", once=True, JobFlowId=self.cluster_id, Steps=[document]
                )
                return str(answer["StepIds"][0])
            except UnavailableError as error:
                # boto3 has repeated a throttled request already.
                if attempt == _ATTEMPTS or errors.is_throttled(error):
                    raise
                pause.failed(error)
            pause.wait()
            step = self.find(name)
            if step is not None:
                return step.id
        raise AssertionError

    def step(self, step_id: str) -> Step:
        """Return a step; INTERRUPTED if its cluster was terminated before it ended.

        Raises `UnavailableError` if EMR does not respond.
        """
        answer = self._call("describe_step", ClusterId=self.cluster_id, StepId=step_id)
        if not answer.get("Step"):
            raise NotFoundError(f"cluster {self.cluster_id} has no step {step_id}")
        step = _step(answer["Step"])
        return step if step.finished else _interrupted(step, self._cluster_status())

    def steps(self, step_ids: Sequence[str]) -> dict[str, Step]:
        """Return the steps that exist by id, with one request for 50 of the newest steps."""
        missing, steps = set(step_ids), dict[str, Step]()
        for item in self._list_steps():
            if item["Id"] in missing:
                steps[item["Id"]] = _step(item)
                missing.discard(item["Id"])
            if not missing:
                break
        if all(step.finished for step in steps.values()):
            return steps
        status = self._cluster_status()
        return {step_id: _interrupted(step, status) for step_id, step in steps.items()}

    def find(self, name: str) -> Step | None:
        """Return the step of this name, None if there is none."""
        return next((_step(item) for item in self._list_steps() if item["Name"] == name), None)

    def cancel(self, step_id: str) -> None:
        """Request the cancellation of a step; `ProvisioningError` with EMR's reason if rejected."""
        answer = self._call("cancel_steps", ClusterId=self.cluster_id, StepIds=[step_id])
        for item in answer.get("CancelStepsInfoList", ()):
            if item["Status"] == "FAILED":
                raise ProvisioningError(f"cannot cancel step {step_id}: {item.get('Reason')}")

    def step_logs(self, step_id: str) -> Iterator[LogFile]:
        """Yield the available logs of the step."""
        if self.log_uri is not None:
            bucket, root = log_location(self.log_uri, self.cluster_id)
            yield from read_logs(self.target, bucket, f"{root}/steps/{step_id}/", "step")

    def container_logs(self, application_id: str) -> Iterator[LogFile]:
        """Yield the available logs of an application's containers."""
        if self.log_uri is not None:
            bucket, root = log_location(self.log_uri, self.cluster_id)
            prefix = f"{root}/containers/{application_id}/"
            yield from read_logs(self.target, bucket, prefix, "containers")

    def _list_steps(self) -> Iterator[dict[str, Any]]:
        """Yield every step of the cluster, newest first."""
        with errors.translated(self._action("list_steps"), _translate_error):
            paginator = self.target.client("emr").get_paginator("list_steps")
            for page in paginator.paginate(ClusterId=self.cluster_id):
                yield from page["Steps"]

    def _cluster_status(self) -> dict[str, Any]:
        answer = self._call("describe_cluster", ClusterId=self.cluster_id)
        status: dict[str, Any] = answer["Cluster"]["Status"]
        return status

    def _action(self, operation: str) -> str:
        """Return the action for messages: the id of a cluster is valid in one region only."""
        return f"{operation} on {self.cluster_id} in {self.target.region}"

    def _call(self, operation: str, *, once: bool = False, **arguments: Any) -> dict[str, Any]:
        client = self.target.client("emr", once=once)
        with errors.translated(self._action(operation), _translate_error):
            answer: dict[str, Any] = getattr(client, operation)(**arguments)
        return answer


def _translate_error(error: Exception, action: str) -> EmrctlError:
    response = errors.response_error(error)
    message = str(response.get("Message", ""))
    if any(text in message for text in _NOT_FOUND_MESSAGES):
        hint = "List the clusters with `emrctl list`; set `region` for those of another region."
        return NotFoundError(f"EMR rejected {action}: {message}", hint=hint)
    if response and errors.find_cause(error) is None and not errors.is_transient(error):
        hint = "Show the state of the cluster with `emrctl show`."
        return errors.RejectedRequestError(f"EMR rejected {action}: {message}", hint=hint)
    return errors.translate(error, action)


def _interrupted(step: Step, status: dict[str, Any]) -> Step:
    """Return the step, INTERRUPTED with the reason if it is unfinished on a terminated cluster."""
    if step.finished or status["State"] not in EMR_TERMINATED:
        return step
    failure = emr.find_failure(status)
    reason = failure or status.get("StateChangeReason", {}).get("Message", "")
    return replace(
        step,
        state="INTERRUPTED",
        inferred=True,
        ended=status.get("Timeline", {}).get("EndDateTime"),
        reason=f"the cluster is {status['State']}: {reason}".rstrip(": "),
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
