"""Output of provisioning: plans, events, clusters and stacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from emrctl.cli.render import errors, json_document, note, table

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster
    from emrctl.engine.base import Event, Preview, Report, StackResult, StackState
    from emrctl.spec import AnyClusterSpec


def print_plans(plans: Sequence[Preview], *, as_json: bool) -> None:
    """Print the changes of each stack, and what the cluster costs per hour on AWS."""
    if as_json:
        json_document([asdict(plan) | {"empty": plan.empty} for plan in plans])
        return
    for plan in plans:
        typer.echo(f"{plan.stack}: {'no changes' if plan.empty else _counts(plan)}")
        changes = [item for item in plan.changes if item.operation != "same"]
        rows = [(item.operation, item.type, item.name, ", ".join(item.keys)) for item in changes]
        if rows:
            table("operation", "type", "name", "changed", rows=rows)
    ec2, emr, other = (
        sum(getattr(plan, f"{key}_usd") for plan in plans) for key in ("ec2", "emr", "other")
    )
    typer.echo(
        f"Cost on AWS: {ec2 + emr + other:.3f} USD per hour: EC2 {ec2:.3f}, EMR {emr:.3f}, "
        f"EBS and addresses {other:.3f} ({'; '.join(plan.prices for plan in plans if plan.prices)})"
    )


def print_cluster(cluster: Cluster, target: Target, *, as_json: bool) -> None:
    """Print a cluster with the addresses of its web pages."""
    urls = {name: target.browser_url(url) for name, url in cluster.urls.items()}
    if as_json:
        json_document(
            asdict(cluster)
            | {"spec": cluster.spec.model_dump(), "hourly_usd": cluster.hourly_usd, "urls": urls}
        )
        return
    rows = [("id", cluster.id), ("state", cluster.state), ("reason", cluster.reason)]
    rows += [("release", cluster.spec.release), ("bucket", cluster.bucket)]
    rows += [(f"{name} page", url) for name, url in urls.items()]
    rows += [
        (node.role, f"{node.id}  {node.type}{' spot' if node.spot else ''}  {node.state}")
        for node in cluster.nodes
    ]
    rows.append(("cost on AWS", f"{cluster.hourly_usd:.3f} USD per hour"))
    table("cluster", cluster.name, rows=[row for row in rows if row[1]])


def print_clusters(
    clusters: Sequence[Cluster], stacks: Sequence[StackState], *, as_json: bool
) -> None:
    """Print the clusters and stacks of a project."""
    if as_json:
        documents = [asdict(item) | {"spec": item.spec.model_dump()} for item in clusters]
        json_document({"clusters": documents, "stacks": [asdict(stack) for stack in stacks]})
        return
    rows = [
        (
            item.name,
            item.id,
            item.state,
            _nodes(item.spec),
            item.created[:19].replace("T", " "),
        )
        for item in clusters
    ]
    table("cluster", "id", "state", "nodes", "created", rows=rows)
    notes = {True: "deleted: its emulator was stopped", False: ""}
    stack_rows = [(s.stack, s.engine, str(s.resources), notes[s.gone]) for s in stacks]
    table("stack", "engine", "resources", "", rows=stack_rows, right=("resources",))


def _nodes(spec: AnyClusterSpec) -> str:
    """Return counts and types of the nodes by role: `1 + 2 m5.xlarge + 4 r5.xlarge`.

    Of fleets, capacity units: `fleets of 1 + 6 (r5.xlarge or m5.xlarge) + 3 (m5.xlarge) units`.
    """
    if spec.fleets is not None:
        fleets = filter(None, (spec.fleets.core, spec.fleets.task))
        parts = [f"{one.units} ({' or '.join(item.type for item in one.types)})" for one in fleets]
        return f"fleets of {' + '.join(('1', *parts))} units"
    parts = [f"{one.count} {one.type}" for one in (spec.core_group, *spec.task_groups)]
    return " + ".join((str(spec.primary_group.count), *parts))


def print_deletion(result: StackResult, *, as_json: bool) -> None:
    """Print the number of resources that `down` deleted."""
    deleted = [change for change in result.changes if change.operation == "delete"]
    if as_json:
        json_document({"stack": result.stack, "deleted": [asdict(change) for change in deleted]})
    else:
        typer.echo(f"{result.stack}: {len(deleted) or 'no'} resources deleted.")


# --- progress -------------------------------------------------------------------------------------


@contextmanager
def events(*, as_json: bool = False) -> Iterator[Report]:
    """Yield a function that prints an engine's events on stderr, one line per resource.

    On a terminal, operations in progress are shown below with their seconds; with `as_json` each
    event is one JSON document per line.
    """
    if as_json:
        yield lambda event: note(json.dumps(asdict(event)))
        return
    if not errors().is_terminal:
        yield _note_event
        return
    from rich.progress import Progress, TaskID, TextColumn

    console = errors()
    column = TextColumn("  {task.description}  {task.elapsed:.0f} s", markup=False)
    running: dict[tuple[str, str, str], TaskID] = {}
    with Progress(column, console=console, refresh_per_second=4, transient=True) as progress:
        idle = progress.add_task("reading the stacks")

        def show(event: Event) -> None:
            key = (event.operation, event.type, event.name)
            if event.status == "started":
                running[key] = progress.add_task(" ".join((_VERBS[event.operation], *key[1:])))
            elif key in running:
                progress.remove_task(running.pop(key))
            progress.update(idle, visible=not running)
            _note_event(event, lambda line: console.print(line, markup=False))

        yield show


def node_lines(*, as_json: bool = False) -> Callable[[str, str], None]:
    """Return a function that prints a node's name and a line of its output on stderr."""
    if as_json:
        return lambda node, line: note(json.dumps({"node": node, "line": line}))
    return lambda node, line: note(f"{node:<10}{line}")


_VERBS = {
    "create": "creating",
    "update": "updating",
    "replace": "replacing",
    "delete": "deleting",
    "import": "importing",
    "same": "keeping",
}


def _note_event(event: Event, print_line: Callable[[str], None] = note) -> None:
    if event.status == "started" or event.operation == "same":
        return
    seconds = "" if event.seconds is None else f"  {event.seconds:.1f} s"
    failed = "FAILED: " if event.status == "failed" else ""
    message = f"  {failed}{event.message}" if event.message else ""
    print_line(f"  {event.operation} {event.type} {event.name}{seconds}{message}")


def _counts(plan: Preview) -> str:
    operations = [change.operation for change in plan.changes]
    return ", ".join(
        f"{operations.count(operation)} to {operation}"
        for operation in _VERBS
        if operation in operations and operation != "same"
    )
