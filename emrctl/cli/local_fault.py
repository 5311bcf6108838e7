"""`emrctl local fault`: faults of AWS on localhost, to test jobs and clients."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emrctl.cli import options, render
from emrctl.errors import NotFoundError

if TYPE_CHECKING:
    from emrctl.emulator.faults import Fault
    from emrctl.emulator.server.state import EmulatorInfo


class Service(StrEnum):
    """Services whose requests can be throttled."""

    EMR = "emr"
    S3 = "s3"
    EC2 = "ec2"


class FaultMarket(StrEnum):
    """Markets of EC2 instances."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"


class Reason(StrEnum):
    """Why EC2 cannot launch instances."""

    INSUFFICIENT_CAPACITY = "insufficient-capacity"
    TYPE_NOT_SUPPORTED = "type-not-supported"


TimesOption = Annotated[
    int | None, typer.Option("--for", min=1, metavar="N", help="End after N errors or delays.")
]
ClustersOption = Annotated[
    int, typer.Option("--for", min=1, metavar="N", help="End after N clusters or resizes.")
]
SecondsOption = Annotated[
    float | None, typer.Option(min=0.001, metavar="S", help="End after S seconds.")
]
ClusterArgument = Annotated[str, typer.Argument(help="Id or name of a cluster on localhost.")]
NodeOption = Annotated[
    str, typer.Option(metavar="ID", help="EC2 id of the instance; default the newest.")
]


def add_to(local_app: typer.Typer) -> None:
    """Add the group to `emrctl local`."""
    group = options.add_group(local_app, "fault", "Make AWS on localhost fail, to test jobs.")
    commands = (throttle, slow_s3, bootstrap_failure, capacity, lose_node, spot_interruption)
    for command in (*commands, list_faults, clear):
        name = command.__name__.removesuffix("_faults").replace("_", "-")
        group.command(name)(command)


@options.common("json")
def throttle(
    context: options.Context,
    percent: Annotated[int, typer.Option(min=1, max=100, help="Share of requests that fail.")],
    service: Annotated[
        Service | None, typer.Option(help="Only requests to this service; default all three.")
    ] = None,
    times: TimesOption = None,
    seconds: SecondsOption = None,
) -> None:
    """Answer a share of the requests with AWS's throttling error."""
    from emrctl.emulator.faults import Throttle

    name = service.value if service else ""
    _add(context, Throttle(percent=percent, service=name, times=times, seconds=seconds))


@options.common("json")
def slow_s3(
    context: options.Context,
    delay: Annotated[
        float, typer.Option(min=0, max=600, metavar="S", help="Seconds before each response.")
    ] = 0.0,
    bandwidth: Annotated[
        float | None, typer.Option(min=0.001, metavar="MB", help="MB per second and connection.")
    ] = None,
    times: TimesOption = None,
    seconds: SecondsOption = None,
) -> None:
    """Delay each request to S3, or limit its bandwidth."""
    from emrctl.emulator.faults import SlowS3

    _add(context, SlowS3(delay=delay, bandwidth=bandwidth, times=times, seconds=seconds))


@options.common("json")
def bootstrap_failure(
    context: options.Context,
    exit_code: Annotated[int, typer.Option(min=1, max=255, help="Exit code.")] = 1,
    action: Annotated[int, typer.Option(min=1, max=16, help="Number of the action.")] = 1,
    times: ClustersOption = 1,
    seconds: SecondsOption = None,
) -> None:
    """Fail a bootstrap action of the next cluster that has one."""
    from emrctl.emulator.faults import BootstrapFailure

    fault = BootstrapFailure(exit_code=exit_code, action=action, times=times, seconds=seconds)
    _add(context, fault)


@options.common("json")
def capacity(
    context: options.Context,
    reason: Annotated[
        Reason, typer.Option(help="Why EC2 cannot launch the instances.")
    ] = Reason.INSUFFICIENT_CAPACITY,
    instance_type: Annotated[
        str, typer.Option(metavar="TYPE", help="Only this instance type; default all.")
    ] = "",
    market: Annotated[
        FaultMarket | None, typer.Option(help="Only this market; default both.")
    ] = None,
    times: ClustersOption = 1,
    seconds: SecondsOption = None,
) -> None:
    """Fail the next cluster or resize because EC2 has no capacity.

    An instance fleet launches its other types instead.
    """
    from emrctl.emulator.faults import Capacity

    fault = Capacity(
        reason=reason.value,
        instance_type=instance_type,
        market=market.value if market else "",
        times=times,
        seconds=seconds,
    )
    _add(context, fault)


@options.common("json")
def lose_node(context: options.Context, cluster: ClusterArgument, node: NodeOption = "") -> None:
    """Terminate an instance as if its hardware had failed; its containers are lost."""
    _lose_node(context, cluster, node, spot_interruption=False)


@options.common("json")
def spot_interruption(
    context: options.Context, cluster: ClusterArgument, node: NodeOption = ""
) -> None:
    """Terminate a Spot instance as if EC2 had interrupted it; EMR replaces it."""
    _lose_node(context, cluster, node, spot_interruption=True)


def _lose_node(
    context: options.Context, cluster: str, node: str, *, spot_interruption: bool
) -> None:
    from emrctl.emulator.server import control

    info = running_emulator()
    node = control.lose_node(info, cluster, node, spot_interruption=spot_interruption)
    if context.as_json:
        render.json_document({"node": node})
    else:
        typer.echo(f"Instance {node} was terminated.")


@options.common("json")
def list_faults(context: options.Context) -> None:
    """List the active faults, with the requests or clusters that they affected."""
    from emrctl.emulator.server import control

    faults = control.faults(running_emulator())
    if context.as_json:
        render.json_document({"faults": faults})
        return
    for fault in faults:
        typer.echo(describe(fault))
    if not faults:
        render.note("No fault is active.")


@options.common("json")
def clear(
    context: options.Context,
    kind: Annotated[str, typer.Argument(metavar="[KIND]", help="Only faults of this kind.")] = "",
) -> None:
    """End all active faults, or those of one kind."""
    from emrctl.emulator.faults import check_kind
    from emrctl.emulator.server import control

    if kind:
        check_kind(kind)
    cleared = control.clear_faults(running_emulator(), kind)
    if context.as_json:
        render.json_document({"cleared": cleared})
    else:
        typer.echo(f"Ended {cleared} {'fault' if cleared == 1 else 'faults'}.")


def running_emulator() -> EmulatorInfo:
    """Return the running emulator; raises `NotFoundError`."""
    from emrctl.emulator.server import control

    info = control.status()
    if info is None:
        raise NotFoundError("the emulator is not running", hint="Start it with `emrctl local up`.")
    return info


def describe(fault: Mapping[str, Any]) -> str:
    """Return one line about an active fault: kind, settings, counts and end."""
    ends = []
    if fault["times_left"] is not None:
        ends.append(f"{fault['times_left']} left")
    if fault["seconds_left"] is not None:
        ends.append(f"{fault['seconds_left']:.0f} s left")
    counts = f"{fault['affected']} of {fault['seen']} affected"
    return "  ".join((fault["text"], ", ".join((counts, *ends))))


def _add(context: options.Context, fault: Fault) -> None:
    from emrctl.emulator.server import control

    info = running_emulator()
    control.add_fault(info, fault)
    faults = control.faults(info)
    if context.as_json:
        render.json_document({"faults": faults})
        return
    for one in faults:
        if one["kind"] == fault.kind:
            typer.echo(describe(one))
    render.next_step("emrctl local fault clear")
