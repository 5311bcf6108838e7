"""EMR API operations on steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emrctl.emulator.api import responses
from emrctl.emulator.api.service import CLOSED, ApiError, Operation, Service, find, invalid, page
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedStep

_MAX_ACTIVE = 256
_MAX_CHARACTERS = 10_240
_TOO_MANY = (
    "Maximum number of active steps(State = 'Running', 'Pending' or 'Cancel_Pending') "
    "for cluster exceeded."
)


def add_steps(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """AddJobFlowSteps: return the ids in the order of the request."""
    del region
    cluster = service.cluster(ask["JobFlowId"])
    with cluster.changed:
        if not cluster.active:
            raise ApiError(CLOSED)
        steps = new_steps(cluster, ask["Steps"])
        cluster.steps += steps
        cluster.changed.notify_all()
    return {"StepIds": [step.id for step in steps]}


def new_steps(cluster: EmulatedCluster, requests: Sequence[dict[str, Any]]) -> list[EmulatedStep]:
    """Return the requested steps; raises EMR's error if one of them is not allowed."""
    active = sum(1 for step in cluster.steps if step.unfinished)
    if active + len(requests) > _MAX_ACTIVE:
        raise ApiError(_TOO_MANY)
    return [_new_step(cluster, one) for one in requests]


def _new_step(cluster: EmulatedCluster, ask: dict[str, Any]) -> EmulatedStep:
    jar = ask["HadoopJarStep"]
    action = ask.get("ActionOnFailure", "TERMINATE_CLUSTER")
    if cluster.concurrency > 1 and action != "CONTINUE":
        raise ApiError(
            f"ActionOnFailure {action} is not allowed if StepConcurrencyLevel is greater than 1."
        )
    if sum(len(text) for text in _strings(jar)) > _MAX_CHARACTERS:
        raise ApiError(
            f"Step '{ask['Name']}' is too long: a step has at most {_MAX_CHARACTERS} characters."
        )
    return EmulatedStep(name=ask["Name"], action_on_failure=action, jar=jar)


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for one in value.values() for text in _strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in _strings(one)]
    return []


def describe_step(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """DescribeStep."""
    del region
    cluster = service.cluster(ask["ClusterId"])
    step = cluster.step(ask["StepId"])
    if step is None:
        raise invalid("Step id is not valid.")
    return {"Step": responses.step_summary(step)}


def list_steps(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """ListSteps: newest first."""
    del region
    if len(ask.get("StepIds", [])) > 10:
        raise invalid("StepIds has at most 10 ids.")
    steps = service.cluster(ask["ClusterId"]).steps[::-1]
    matching = find(steps, id=ask.get("StepIds"), state=ask.get("StepStates"))
    return page("Steps", [responses.step_summary(step) for step in matching], ask)


def cancel_steps(service: Service, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """CancelSteps: return for each step whether it can be cancelled."""
    del region
    cluster = service.cluster(ask["ClusterId"])
    kill = ask.get("StepCancellationOption") == "TERMINATE_PROCESS"
    rows = []
    for step_id in ask["StepIds"]:
        problem = _cancel(service, cluster, step_id, kill=kill)
        row = {"StepId": step_id, "Status": "FAILED" if problem else "SUBMITTED"}
        rows.append(row | ({"Reason": problem} if problem else {}))
    return {"CancelStepsInfoList": rows}


def _cancel(service: Service, cluster: EmulatedCluster, step_id: str, *, kill: bool) -> str:
    step = cluster.step(step_id)
    if step is None:
        return "Step id is not valid."
    with cluster.changed:
        if step.state not in (model.PENDING, model.RUNNING):
            return f"Step is in state {step.state} and cannot be cancelled."
        service.controller(cluster.id).cancel_step(step, kill=kill)
    return ""


OPERATIONS: dict[str, Operation] = {
    "AddJobFlowSteps": add_steps,
    "DescribeStep": describe_step,
    "ListSteps": list_steps,
    "CancelSteps": cancel_steps,
}
