"""Import of existing resources: those the user names, and those a killed engine was creating."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.runtime import register_stack_transformation

from emrctl.engine.base import Event, ImportedResource, Program, Report
from emrctl.engine.localhost.provider import RESOURCE_TYPES, Provider
from emrctl.engine.pulumi.snapshot import PendingOperation, Snapshot, name_of


def import_program(program: Program, resource: ImportedResource) -> Program:
    """Return `program` with the option to import `resource` unchanged.

    `pulumi import` is no alternative: it needs a language host.
    """

    def transform(
        args: pulumi.ResourceTransformationArgs,
    ) -> pulumi.ResourceTransformationResult | None:
        if (args.type_, args.name) != (resource.type, resource.name):
            return None
        # Differences would fail the import; the next `up` updates them.
        ignored = [name for name, value in args.props.items() if value is not None]
        options = pulumi.ResourceOptions(import_=resource.id, ignore_changes=ignored)
        opts = pulumi.ResourceOptions.merge(args.opts, options)
        return pulumi.ResourceTransformationResult(props=args.props, opts=opts)

    def run() -> None:
        register_stack_transformation(transform)
        program()

    return run


def find_interrupted_creations(
    snapshot: Snapshot, provider: Provider, report: Report
) -> list[Mapping[str, Any]]:
    """Return the resources that exist though their creation is pending, once they are usable."""
    known = {(entry.type, entry.id) for entry in snapshot.entries}
    resources: list[Mapping[str, Any]] = []
    for pending in snapshot.pending:
        if pending.kind == "creating" and pending.resource["type"] in RESOURCE_TYPES:
            token, inputs = pending.resource["type"], dict(pending.resource.get("inputs") or {})
            id_ = provider.find(token, inputs)
            if id_ is not None and (token, id_) not in known:
                outputs = _settle(pending, id_, inputs, provider, report)
                resources.append({**pending.resource, "id": id_, "outputs": outputs})
    return resources


def _settle(
    pending: PendingOperation, id_: str, inputs: dict[str, Any], provider: Provider, report: Report
) -> dict[str, Any]:
    token, began = pending.resource["type"], time.monotonic()
    event = Event(
        operation="create",
        type=token,
        name=name_of(pending.urn),
        status="started",
        message="the engine was killed during its creation",
    )
    report(event)
    outputs = provider.settle(token, id_, inputs)
    report(dataclasses.replace(event, status="done", seconds=time.monotonic() - began))
    return outputs


def interrupted_changes(snapshot: Snapshot) -> list[str]:
    """Return the URNs of the resources whose update or deletion is pending."""
    urns = {entry.urn for entry in snapshot.entries}
    return sorted({item.urn for item in snapshot.pending if item.kind != "creating"} & urns)
