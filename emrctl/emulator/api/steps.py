"""EMR API operations on steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emrctl.emulator.api import checks, responses
from emrctl.emulator.api.service import ApiError, Operation, Request, find, invalid, opened
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedStep

_MAX_ACTIVE_STEPS = 256
_MAX_STEP_CHARACTERS = 10_240
_TOO_MANY_STEPS = (
    "Maximum number of active steps(State = 'Running', 'Pending' or 'Cancel_Pending') "
    "for cluster exceeded."
)


def _add_job_flow_steps(request: Request) -> dict[str, Any]:
    cluster = request.cluster
    role = request.members.get("ExecutionRoleArn")
    checks.check_execution_role(request.service, cluster, role)
    with cluster.changing():
        opened(cluster)
        steps = new_steps(cluster, request.members["Steps"], role)
        cluster.steps += steps
    return {"StepIds": [step.id for step in steps]}


def new_steps(
    cluster: EmulatedCluster, requests: Sequence[dict[str, Any]], execution_role: str | None
) -> list[EmulatedStep]:
    """Return the requested steps; raises EMR's error if one of them is not allowed."""
    active = sum(1 for step in cluster.steps if step.unfinished)
    if active + len(requests) > _MAX_ACTIVE_STEPS:
        raise ApiError(_TOO_MANY_STEPS)
    return [_new_step(cluster, one, execution_role) for one in requests]


def _new_step(
    cluster: EmulatedCluster, ask: dict[str, Any], execution_role: str | None
) -> EmulatedStep:
    jar = ask["HadoopJarStep"]
    action = ask.get("ActionOnFailure", "TERMINATE_CLUSTER")
    if cluster.concurrency > 1 and action != "CONTINUE":
        raise ApiError(
            f"ActionOnFailure {action} is not allowed if StepConcurrencyLevel is greater than 1."
        )
    if _characters(jar) > _MAX_STEP_CHARACTERS:
        raise ApiError(
            f"Step '{ask['Name']}' is too long: "
            f"a step has at most {_MAX_STEP_CHARACTERS} characters."
        )
    monitoring = ask.get("StepMonitoringConfiguration", {}).get("S3MonitoringConfiguration", {})
    checks.check_log_uri(monitoring.get("LogUri"))
    return EmulatedStep(
        name=ask["Name"],
        action_on_failure=action,
        jar=jar,
        execution_role=execution_role,
        monitoring=monitoring,
    )


def _characters(value: Any) -> int:
    """Return the total length of the strings in a JSON value."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return sum(_characters(one) for one in items)
    return len(value) if isinstance(value, str) else 0


def _describe_step(request: Request) -> dict[str, Any]:
    step = request.cluster.step(request.members["StepId"])
    if step is None:
        raise invalid("Step id is not valid.")
    return {"Step": responses.step(step)}


def _list_steps(request: Request) -> dict[str, Any]:
    """Return the steps, newest first, or in their order if the request chooses steps."""
    ask = request.members
    if len(ask.get("StepIds", [])) > 10:
        raise invalid("StepIds has at most 10 ids.")
    ids, states = ask.get("StepIds"), ask.get("StepStates")
    order = 1 if ids or states else -1
    steps = find(request.cluster.steps[::order], id=ids, state=states)
    answer = request.page("Steps", steps)
    return answer | {"Steps": [responses.step_summary(step) for step in answer["Steps"]]}


def _cancel_steps(request: Request) -> dict[str, Any]:
    """Return for each step whether it can be cancelled."""
    checks.check_id_lists(request.members)
    rows = []
    for step_id in request.members["StepIds"]:
        problem = _cancel_step(request, step_id)
        row = {"StepId": step_id, "Status": "FAILED" if problem else "SUBMITTED"}
        rows.append(row | ({"Reason": problem} if problem else {}))
    return {"CancelStepsInfoList": rows}


def _cancel_step(request: Request, step_id: str) -> str:
    cluster, step = request.cluster, request.cluster.step(step_id)
    if step is None:
        return "Step id is not valid."
    with cluster.changed:
        if step.state not in (model.PENDING, model.RUNNING):
            return f"Step is in state {step.state} and cannot be cancelled."
        if step.state == model.RUNNING and not checks.supports(cluster, "CancelSteps"):
            return f"{cluster.request['ReleaseLabel']} cannot cancel steps that are running."
        kill = request.members.get("StepCancellationOption") == "TERMINATE_PROCESS"
        request.service.controllers[cluster.id].cancel_step(step, kill=kill)
    return ""


OPERATIONS: dict[str, Operation] = {
    "AddJobFlowSteps": _add_job_flow_steps,
    "DescribeStep": _describe_step,
    "ListSteps": _list_steps,
    "CancelSteps": _cancel_steps,
}
