"""Steps over EMR's API; their logs from the cluster's LogUri on S3."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from emrctl.backends.base import LogFile, Step, StepSpec
from emrctl.errors import NotFoundError, ProvisioningError, UsageError
from emrctl.target import Target

# All strings of one HadoopJarStep together, by EMR's API.
MAXIMUM_STEP_CHARACTERS = 10_240
_RUNNER = "command-runner.jar"
_DEAD = frozenset({"TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS"})
_GZIP = b"\x1f\x8b"


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
        return step if step.finished else self._interrupted(step)

    def find(self, name: str) -> Step | None:
        """The step called `name`, if the cluster has it."""
        pages = self.target.client("emr").get_paginator("list_steps")
        for page in pages.paginate(ClusterId=self.cluster_id):
            for item in page["Steps"]:
                if item["Name"] == name:
                    return _step(item)
        return None

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
        _, _, rest = self.log_uri.partition("://")
        bucket, _, prefix = rest.partition("/")
        root = f"{prefix.rstrip('/')}/{self.cluster_id}".lstrip("/")
        yield from self._below(bucket, f"{root}/steps/{step_id}/", "step")
        if application_id:
            yield from self._below(bucket, f"{root}/containers/{application_id}/", "containers")

    def _below(self, bucket: str, prefix: str, folder: str) -> Iterator[LogFile]:
        s3 = self.target.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                # The suffix can be missing or wrong: the bytes tell.
                text = gzip.decompress(body) if body.startswith(_GZIP) else body
                name = item["Key"].removeprefix(prefix).removesuffix(".gz")
                yield LogFile(
                    name=f"{folder}/{name}", uri=f"s3://{bucket}/{item['Key']}", text=text
                )

    def _interrupted(self, step: Step) -> Step:
        cluster = self._call("describe_cluster", ClusterId=self.cluster_id)["Cluster"]
        status = cluster["Status"]
        if status["State"] not in _DEAD or status["State"] == "TERMINATING":
            return step
        reason = status.get("StateChangeReason", {}).get("Message", "")
        said = f"the cluster is {status['State']}: {reason}".rstrip(": ")
        return Step(
            id=step.id,
            name=step.name,
            state="INTERRUPTED",
            started=step.started,
            ended=status.get("Timeline", {}).get("EndDateTime"),
            reason=said,
        )

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        try:
            found: dict[str, Any] = getattr(self.target.client("emr"), operation)(**arguments)
        except ClientError as error:
            said = error.response["Error"]
            message = f"EMR refused {operation} on {self.cluster_id}: {said.get('Message')}"
            if "not valid" in str(said.get("Message")):
                raise NotFoundError(message, hint="`emrctl list` shows the clusters.") from error
            raise ProvisioningError(
                message, hint="`emrctl show` says how the cluster is."
            ) from error
        return found


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
