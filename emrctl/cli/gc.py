"""`emrctl gc`, and what a failed `up` says of what it leaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from emrctl import cleanup, provision
from emrctl.aws.target import Target, resolve
from emrctl.cleanup import failed_up
from emrctl.cli import options, render
from emrctl.cost import resource
from emrctl.errors import EmrctlError, ProvisioningError
from emrctl.runs.workspace import Workspace
from emrctl.spec import ProjectSpec

app = options.new_app()


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    all_regions: bool
    project: str | None
    buckets: bool


@app.command()
@options.common("config target region yes json")
def gc(
    context: options.Context,
    all_regions: Annotated[
        bool, typer.Option("--all-regions", help="Look in every region of the account.")
    ] = False,
    project: Annotated[str | None, typer.Option(help="Only what this project made.")] = None,
    buckets: Annotated[
        bool, typer.Option("--buckets", help="End buckets of projects without a cluster, too.")
    ] = False,
) -> None:
    """List what emrctl made on the account and what that costs; end what nobody needs any more.

    What has expired, and what its cluster left behind, ends after a yes. It works by tags: also
    on a laptop that made none of it, and without an emrctl.yaml.
    """
    workspace = context.workspace if context.in_project else None
    place = workspace.target if workspace else _target(context)
    wanted = _Wanted(all_regions=all_regions, project=project, buckets=buckets)
    things, notes = _seen(place, wanted)
    if not context.as_json:
        _list(things, notes)
    chosen = [one for one in things if one.endable]
    ended = _end(workspace, place, chosen) if _agreed(context, chosen) else None
    if context.as_json:
        _document(things, notes, ended)
    _exit_with(ended)


def _target(context: options.Context) -> Target:
    """The account and region of the options and the environment."""
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    asked = {"target": context.target or "aws", "region": context.region or named or "us-east-1"}
    project = ProjectSpec.model_validate({"project": "any", **asked})
    return resolve(project.target, project.region, project.profile)


def _seen(target: Target, wanted: _Wanted) -> tuple[tuple[cleanup.Thing, ...], tuple[str, ...]]:
    regions = cleanup.all_regions(target) if wanted.all_regions else ()
    found = cleanup.look(target, regions)
    scope = cleanup.Scope(
        now=datetime.now(UTC),
        complete=wanted.all_regions or target.endpoint is not None,
        blind=found.blind,
        buckets=wanted.buckets,
    )
    judged = cleanup.judge(found.things, scope)
    mine = tuple(one for one in judged if wanted.project in {None, one.project})
    return mine, found.notes


def _list(things: Sequence[cleanup.Thing], notes: Sequence[str]) -> None:
    for note in notes:
        render.note(f"not looked at: {note}")
    if not things:
        typer.echo("emrctl made nothing here that still stands.")
        return
    rows = [
        (
            one.verdict,
            one.kind,
            one.id,
            one.stack,
            one.region,
            _moment(one.expires),
            _usd(one.hourly_usd),
        )
        for one in things
    ]
    columns = ("", "what", "id", "stack", "region", "expires", "USD/h")
    render.table(*columns, rows=rows, right=("USD/h",))
    running = [one.hourly_usd for one in things if one.kind != "bucket"]
    needless = [one.hourly_usd for one in things if one.endable and one.kind != "bucket"]
    typer.echo(
        f"All of it costs {_usd(resource.total(running))} USD an hour, what nobody needs "
        f"{_usd(resource.total(needless))} (buckets by what they hold)."
    )


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _usd(cost: float | None) -> str:
    return "?" if cost is None else f"{cost:.3f}"


def _agreed(context: options.Context, chosen: Sequence[cleanup.Thing]) -> bool:
    """Whether to delete `chosen`; suggest --yes if stdin is not a terminal."""
    if not chosen or context.yes:
        return bool(chosen)
    if context.as_json or not sys.stdin.isatty():
        render.note(f"{len(chosen)} things that nobody needs: `emrctl gc --yes` ends them.")
        return False
    return typer.confirm(f"End the {len(chosen)} things that nobody needs?")


def _end(
    workspace: Workspace | None, target: Target, chosen: Sequence[cleanup.Thing]
) -> cleanup.End:
    """First each stack by the engine whose state is here, then the rest by its tags."""
    rest: Sequence[cleanup.Thing] = chosen
    if workspace is not None:
        root = workspace.config.root
        rest = failed_up.by_engine(workspace.project, target, root, chosen, render.note)
    ended = cleanup.end(target, rest, render.note)
    by_engine = tuple(one for one in chosen if one not in rest)
    return cleanup.End(gone=by_engine + ended.gone, stay=ended.stay)


def _document(
    things: Sequence[cleanup.Thing], notes: Sequence[str], ended: cleanup.End | None
) -> None:
    found = {"things": [asdict(one) for one in things], "notes": list(notes), "ended": None}
    if ended is not None:
        stay = [{"id": one.id, "why": why} for one, why in ended.stay]
        found["ended"] = {"gone": [one.id for one in ended.gone], "stay": stay}
    render.json_document(found)


def _exit_with(ended: cleanup.End | None) -> None:
    """Nothing where all is gone; `ProvisioningError` with the first that is not."""
    if ended is None:
        return
    render.note(f"{len(ended.gone)} ended.")
    if ended.stay:
        one, why = ended.stay[0]
        raise ProvisioningError(
            f"{len(ended.stay)} stay, the first of them {one.kind} {one.id}: {why}",
            hint="Run `emrctl gc` again; `aws emr modify-cluster-attributes "
            "--no-termination-protected` lifts a protection.",
        )


# --- a failed `up` --------------------------------------------------------------------------------


@contextmanager
def offering(workspace: Workspace) -> Iterator[None]:
    """Where what is inside fails or is interrupted: what exists, what it costs, how to end it."""
    try:
        yield
    except KeyboardInterrupt:
        _tell(workspace)
        raise
    except ProvisioningError as error:
        if _is_ours(error):
            _tell(workspace)
        raise


def _is_ours(error: ProvisioningError) -> bool:
    """Whether it may be ended: not while somebody else is at work on the stack."""
    from emrctl.errors import StackLockedError

    return not isinstance(error, StackLockedError)


def _tell(workspace: Workspace) -> None:
    project = workspace.project
    try:
        found = failed_up.standing(project, workspace.target)
    except EmrctlError as error:
        render.note(f"What exists could not be seen ({error.message}): `emrctl gc` lists it.")
        return
    if found.death is not None:
        render.note(f"EMR gave the cluster up: {found.death}\n  {found.death.hint}")
    if not found.things:
        return
    render.note(f"Of {project.cluster_stack} there are now {found}.")
    if sys.stdin.isatty() and typer.confirm("Take it down? (no: `emrctl up` goes on from here)"):
        provision.down(project, workspace.target, workspace.config.root)
        render.note("It is gone.")
        return
    name = project.cluster.name
    render.note(
        f"Go on with `emrctl up`, or take it down with `emrctl down --cluster {name} --yes`."
    )
