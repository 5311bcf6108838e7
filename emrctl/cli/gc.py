"""`emrctl gc`, and what a failed `up` prints about the resources it left."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from emrctl import cleanup
from emrctl.aws.target import Target, resolve
from emrctl.cleanup import failed_up
from emrctl.cli import options, render
from emrctl.cost import total_usd
from emrctl.errors import EmrctlError, ProvisioningError
from emrctl.provision import lifecycle
from emrctl.runs.workspace import Workspace

app = options.new_app()


@app.command()
@options.common("config target region yes json")
def gc(
    context: options.Context,
    all_regions: Annotated[
        bool, typer.Option("--all-regions", help="Look in every region of the account.")
    ] = False,
    project: Annotated[str | None, typer.Option(help="Only resources of this project.")] = None,
    buckets: Annotated[
        bool, typer.Option("--buckets", help="Include buckets of projects without a cluster.")
    ] = False,
) -> None:
    """List emrctl's resources and their cost; delete expired and orphaned ones.

    It asks before it deletes. Resources are found by tags, so it works on any
    machine and without an emrctl.yaml.
    """
    workspace = context.workspace if context.in_project else None
    aws = workspace.target if workspace else _target(context)
    discovery = cleanup.discover(aws, cleanup.all_regions(aws) if all_regions else ())
    scope = cleanup.Scope(
        now=datetime.now(UTC),
        complete=all_regions or aws.single_region,
        unlisted=discovery.unlisted,
        buckets=buckets,
    )
    resources = cleanup.classify(discovery.resources, scope)
    resources = tuple(item for item in resources if project in {None, item.project})
    if not context.as_json:
        _list(resources, discovery.notes)
    deletable = [item for item in resources if item.deletable]
    deletion = _delete(workspace, aws, deletable) if _confirmed(context, deletable) else None
    if context.as_json:
        _document(resources, discovery.notes, deletion)
    _exit_with(deletion)


def _target(context: options.Context) -> Target:
    """Return the target that the flags and the environment name."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    project = context.project_without_file(target="aws", region=region)
    return resolve(project.target, project.region)


def _list(resources: Sequence[cleanup.AwsResource], notes: Sequence[str]) -> None:
    for note in notes:
        render.note(f"not listed: {note}")
    if not resources:
        typer.echo("No resources created by emrctl.")
        return
    rows = [
        (
            item.usage,
            item.kind,
            item.id,
            item.stack,
            item.region,
            _moment(item.expires),
            _usd(item.hourly_usd),
        )
        for item in resources
    ]
    columns = ("usage", "kind", "id", "stack", "region", "expires", "USD/h")
    render.table(*columns, rows=rows, right=("USD/h",))
    costs = [item.hourly_usd for item in resources if item.kind != "bucket"]
    unused = [item.hourly_usd for item in resources if item.deletable and item.kind != "bucket"]
    typer.echo(
        f"Total {_usd(total_usd(costs))} USD per hour, expired and orphaned "
        f"{_usd(total_usd(unused))} (bucket storage not included)."
    )


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _usd(cost: float | None) -> str:
    return "?" if cost is None else f"{cost:.3f}"


def _confirmed(context: options.Context, deletable: Sequence[cleanup.AwsResource]) -> bool:
    """Return whether to delete them; without a terminal only with --yes."""
    if not deletable or context.yes:
        return bool(deletable)
    if context.as_json or not sys.stdin.isatty():
        render.note(f"{len(deletable)} unused resources: `emrctl gc --yes` deletes them.")
        return False
    return typer.confirm(f"Delete {len(deletable)} unused resources?")


def _delete(
    workspace: Workspace | None, target: Target, deletable: Sequence[cleanup.AwsResource]
) -> cleanup.Deletion:
    """Destroy each stack that has a state on this machine, then delete the rest by tags."""
    rest: Sequence[cleanup.AwsResource] = deletable
    if workspace is not None:
        root = workspace.config.root
        rest = failed_up.delete_by_engine(workspace.project, target, root, deletable, render.note)
    deletion = cleanup.delete(target, rest, render.note)
    by_engine = tuple(item for item in deletable if item not in rest)
    return cleanup.Deletion(deleted=by_engine + deletion.deleted, remaining=deletion.remaining)


def _document(
    resources: Sequence[cleanup.AwsResource],
    notes: Sequence[str],
    deletion: cleanup.Deletion | None,
) -> None:
    result = deletion and {
        "deleted": [item.id for item in deletion.deleted],
        "remaining": [{"id": item.id, "reason": why} for item, why in deletion.remaining],
    }
    items = [asdict(item) for item in resources]
    render.json_document({"resources": items, "notes": list(notes), "deletion": result})


def _exit_with(deletion: cleanup.Deletion | None) -> None:
    """Raise `ProvisioningError` with the first resource that could not be deleted."""
    if deletion is None:
        return
    render.note(f"{len(deletion.deleted)} resources deleted.")
    if deletion.remaining:
        item, why = deletion.remaining[0]
        raise ProvisioningError(
            f"{len(deletion.remaining)} resources not deleted, first {item.kind} {item.id}: {why}",
            hint="Run `emrctl gc` again; `aws emr modify-cluster-attributes "
            "--no-termination-protected` removes a protection.",
        )


# --- a failed `up` --------------------------------------------------------------------------------


@contextmanager
def offering_cleanup(workspace: Workspace) -> Iterator[None]:
    """If the body fails or is interrupted, print what exists, its cost and how to delete it."""
    from emrctl.errors import StackLockedError

    try:
        yield
    except KeyboardInterrupt:
        _offer_cleanup(workspace)
        raise
    except ProvisioningError as error:
        # While another process updates the stack, its resources must not be deleted.
        if not isinstance(error, StackLockedError):
            _offer_cleanup(workspace)
        raise


def _offer_cleanup(workspace: Workspace) -> None:
    project = workspace.project
    try:
        stack = failed_up.stack_resources(project, workspace.target)
    except EmrctlError as error:
        render.note(f"Could not list the resources ({error.message}): run `emrctl gc`.")
        return
    if stack.failure is not None:
        render.note(f"EMR terminated the cluster: {stack.failure}\n  {stack.failure.hint}")
    if not stack.resources:
        return
    render.note(f"Resources of {project.cluster_stack}: {stack}.")
    if sys.stdin.isatty() and typer.confirm("Delete them? (no: `emrctl up` continues)"):
        lifecycle.down(workspace.deployment)
        render.note("Deleted.")
        return
    name = project.cluster.name
    render.note(
        f"Continue with `emrctl up`, or delete them with `emrctl down --cluster {name} --yes`."
    )
