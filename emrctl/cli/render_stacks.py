"""What provisioning commands print: plans, events, clusters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from emrctl.cli.render import errors, json_document, note, table

if TYPE_CHECKING:
    from emrctl.engine.base import Event, Outcome, Plan, Report, StackState
    from emrctl.provision import Cluster
    from emrctl.target import Target


def plans(found: Sequence[Plan], *, as_json: bool) -> None:
    """What would change in each stack, and what the cluster costs an hour on AWS."""
    if as_json:
        json_document([asdict(plan) | {"empty": plan.empty} for plan in found])
        return
    for plan in found:
        typer.echo(f"{plan.stack}: {'nothing changes' if plan.empty else _counts(plan)}")
        changed = [item for item in plan.changes if item.operation != "same"]
        rows = [(item.operation, item.type, item.name, ", ".join(item.keys)) for item in changed]
        if rows:
            table("what", "type", "name", "because of", rows=rows)
    ec2, emr, other = (
        sum(getattr(plan, f"{key}_usd") for plan in found) for key in ("ec2", "emr", "other")
    )
    typer.echo(
        f"On AWS the cluster costs {ec2 + emr + other:.3f} USD an hour: EC2 {ec2:.3f}, "
        f"EMR {emr:.3f}, disks and addresses {other:.3f} "
        f"({'; '.join(plan.prices for plan in found if plan.prices)})."
    )


def cluster(found: Cluster, target: Target, *, as_json: bool) -> None:
    """A cluster as AWS has it; its pages as a browser can open them."""
    urls = {name: target.browser_url(url) for name, url in found.urls.items()}
    if as_json:
        json_document(
            asdict(found)
            | {"spec": found.spec.model_dump(), "hourly_usd": found.hourly_usd, "urls": urls}
        )
        return
    rows = [("id", found.id), ("state", found.state), ("reason", found.reason)]
    rows += [("release", found.spec.release), ("bucket", found.bucket)]
    rows += [(f"{name} page", url) for name, url in urls.items()]
    rows += [(node.role, f"{node.id}  {node.type}  {node.state}") for node in found.nodes]
    rows.append(("on AWS", f"{found.hourly_usd:.3f} USD an hour"))
    table("cluster", found.name, rows=[row for row in rows if row[1]])


def clusters(found: Sequence[Cluster], stacks: Sequence[StackState], *, as_json: bool) -> None:
    """Clusters and stacks of a project."""
    if as_json:
        shown = [asdict(item) | {"spec": item.spec.model_dump()} for item in found]
        json_document({"clusters": shown, "stacks": [asdict(stack) for stack in stacks]})
        return
    rows = [
        (
            item.name,
            item.id,
            item.state,
            f"1 + {item.spec.core.count} {item.spec.core.type}",
            item.created,
        )
        for item in found
    ]
    table("cluster", "id", "state", "nodes", "created", rows=rows)
    gone = {True: "gone: its emulator has ended", False: ""}
    lines = [(s.stack, s.engine, str(s.resources), gone[s.gone]) for s in stacks]
    table("stack", "engine", "resources", "", rows=lines, right=("resources",))


def outcome(found: Outcome, *, as_json: bool) -> None:
    """What `down` took away."""
    deleted = [change for change in found.changes if change.operation == "delete"]
    if as_json:
        json_document({"stack": found.stack, "deleted": [asdict(change) for change in deleted]})
    elif deleted:
        typer.echo(f"{found.stack}: {len(deleted)} resources deleted, nothing is left.")
    else:
        typer.echo(f"{found.stack}: there was nothing to delete.")


@contextmanager
def events() -> Iterator[Report]:
    """Tells an engine's events on stderr: one live line on a terminal, lines of text elsewhere."""
    if not errors().is_terminal:
        yield _say_event
        return
    with errors().status("looking at the stacks") as status:

        def show(event: Event) -> None:
            if event.status == "started":
                status.update(f"{_DOING[event.operation]} {event.type} {event.name}")
            elif event.operation != "same":
                errors().print(_event_line(event), markup=False)

        yield show


_DOING = {
    "create": "creating",
    "update": "updating",
    "replace": "replacing",
    "delete": "deleting",
    "same": "keeping",
}


def _say_event(event: Event) -> None:
    if event.status != "started" and event.operation != "same":
        note(_event_line(event))


def _event_line(event: Event) -> str:
    seconds = "" if event.seconds is None else f"  {event.seconds:.1f} s"
    failed = f"  FAILED: {event.message}" if event.status == "failed" else ""
    return f"  {event.operation} {event.type} {event.name}{seconds}{failed}"


def _counts(plan: Plan) -> str:
    operations = [change.operation for change in plan.changes]
    return ", ".join(
        f"{operations.count(what)} to {what}"
        for what in _DOING
        if what in operations and what != "same"
    )
