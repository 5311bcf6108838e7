"""What provisioning commands print: plans, events, clusters."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from emrctl.cli.render import errors, json_document, next_step, note, table

if TYPE_CHECKING:
    from rich.text import Text

    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster
    from emrctl.engine.base import Event, Preview, Report, StackResult, StackState, UpdateSummary
    from emrctl.engine.pulumi.installation import EngineReport


def plans(found: Sequence[Preview], *, as_json: bool) -> None:
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
            f"1 + {item.spec.core_group.count} {item.spec.core_group.type}",
            item.created,
        )
        for item in found
    ]
    table("cluster", "id", "state", "nodes", "created", rows=rows)
    gone = {True: "gone: its emulator has ended", False: ""}
    lines = [(s.stack, s.engine, str(s.resources), gone[s.gone]) for s in stacks]
    table("stack", "engine", "resources", "", rows=lines, right=("resources",))


def outcome(found: StackResult, *, as_json: bool) -> None:
    """What `down` took away."""
    deleted = [change for change in found.changes if change.operation == "delete"]
    if as_json:
        json_document({"stack": found.stack, "deleted": [asdict(change) for change in deleted]})
    elif deleted:
        typer.echo(f"{found.stack}: {len(deleted)} resources deleted, nothing is left.")
    else:
        typer.echo(f"{found.stack}: there was nothing to delete.")


def engine(found: EngineReport, *, as_json: bool) -> None:
    """Which engines there are, and the one that is used."""
    if as_json:
        json_document(asdict(found))
        return
    used = {True: "used", False: ""}
    rows = [
        (str(item.path), item.version, "yes" if item.fits else "no", used[item == found.used])
        for item in found.engines
    ]
    table("engine", "version", "fits", "", rows=rows)
    typer.echo(f"Versions that fit: {found.wanted}")
    there = "installed" if found.plugin else "not installed"
    typer.echo(f"AWS plugin {found.plugin_version}: {there} (localhost does not need it)")
    if found.used is None or not found.plugin:
        next_step("emrctl engine install")


def drifted(found: Preview, *, as_json: bool) -> None:
    """Where AWS is no longer as a stack's state says."""
    if as_json:
        json_document(asdict(found) | {"empty": found.empty})
        return
    if not found.changes:
        typer.echo(f"{found.stack}: AWS is as the state says.")
        return
    told = {"update": "differs", "delete": "is gone"}
    rows = [(told[c.operation], c.type, c.name, ", ".join(c.keys)) for c in found.changes]
    table("what", "type", "name", "in", rows=rows)


def refreshed(found: StackResult, *, as_json: bool) -> None:
    """What a stack's state took over from AWS."""
    if as_json:
        json_document({"stack": found.stack, "changes": [asdict(c) for c in found.changes]})
    elif found.changes:
        names = ", ".join(change.name for change in found.changes)
        typer.echo(f"{found.stack}: the state is as AWS is now ({names}).")
    else:
        typer.echo(f"{found.stack}: the state was as AWS is.")


def imported(found: StackResult, *, as_json: bool) -> None:
    """What a stack took over."""
    if as_json:
        json_document({"stack": found.stack, "changes": [asdict(c) for c in found.changes]})
        return
    typer.echo(
        f"{found.stack}: holds {', '.join(str(c.id) for c in found.changes)} now, protected."
    )
    next_step("emrctl preview")


def outputs(found: Mapping[str, Any], *, as_json: bool) -> None:
    """What a stack's program exported."""
    if as_json:
        json_document(dict(found))
    else:
        table("output", "value", rows=[(key, str(value)) for key, value in found.items()])


def history(found: Sequence[UpdateSummary], *, as_json: bool) -> None:
    """All that was done to a stack."""
    if as_json:
        json_document([asdict(past) for past in found])
        return
    rows = [
        (past.started, past.kind, past.result, ", ".join(f"{n} {k}" for k, n in _done(past)))
        for past in found
    ]
    table("when", "what", "how it ended", "changes", rows=rows)


def _done(past: UpdateSummary) -> list[tuple[str, int]]:
    return [(what, count) for what, count in past.changes.items() if what != "same"]


@contextmanager
def events(*, as_json: bool = False) -> Iterator[Report]:
    """Tells an engine's events on stderr, a line for each resource with its seconds.

    On a terminal what is under way stands below them, with its seconds so far; `as_json` gives
    one JSON document a line instead.
    """
    if as_json:
        yield lambda event: note(json.dumps(asdict(event)))
        return
    if not errors().is_terminal:
        yield _say_event
        return
    from rich.live import Live

    board, console = _Board(), errors()
    with Live(board, console=console, refresh_per_second=4, transient=True):

        def show(event: Event) -> None:
            board.note(event)
            if event.status != "started" and event.operation != "same":
                console.print(_event_line(event), markup=False)

        yield show


def node_lines(*, as_json: bool = False) -> Callable[[str, str], None]:
    """Tells on stderr what nodes say, line by line with the node's name; one JSON document each."""
    if as_json:
        return lambda node, line: note(json.dumps({"node": node, "line": line}))
    return lambda node, line: note(f"{node:<10}{line}")


class _Board:
    """What is under way, as a terminal shows it."""

    def __init__(self) -> None:
        self._began: dict[tuple[str, str, str], float] = {}
        self._lock = threading.Lock()

    def note(self, event: Event) -> None:
        """An event begins or ends something."""
        key = (event.operation, event.type, event.name)
        with self._lock:
            if event.status == "started":
                self._began[key] = time.monotonic()
            else:
                self._began.pop(key, None)

    def __rich__(self) -> Text:
        from rich.text import Text

        now = time.monotonic()
        with self._lock:
            lines = [
                f"  {_DOING[operation]} {type_} {name}  {now - began:.0f} s"
                for (operation, type_, name), began in self._began.items()
            ]
        return Text("\n".join(lines) or "  looking at the stacks")


_DOING = {
    "create": "creating",
    "update": "updating",
    "replace": "replacing",
    "delete": "deleting",
    "import": "importing",
    "same": "keeping",
}


def _say_event(event: Event) -> None:
    if event.status != "started" and event.operation != "same":
        note(_event_line(event))


def _event_line(event: Event) -> str:
    seconds = "" if event.seconds is None else f"  {event.seconds:.1f} s"
    failed = event.status == "failed"
    said = f"  {'FAILED: ' if failed else ''}{event.message}" if event.message else ""
    return f"  {event.operation} {event.type} {event.name}{seconds}{said}"


def _counts(plan: Preview) -> str:
    operations = [change.operation for change in plan.changes]
    return ", ".join(
        f"{operations.count(what)} to {what}"
        for what in _DOING
        if what in operations and what != "same"
    )
