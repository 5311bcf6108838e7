"""A program that takes over a resource which exists, in place of making it."""

from __future__ import annotations

import pulumi
from pulumi.runtime import register_stack_transformation

from emrctl.engine.base import ImportedResource, Program


def taking_over(program: Program, found: ImportedResource) -> Program:
    """`program`, in which the resource that `found` names is imported as it is.

    `pulumi import` would do it too, but it wants the host of the project's language.
    """

    def take_over(
        args: pulumi.ResourceTransformationArgs,
    ) -> pulumi.ResourceTransformationResult | None:
        if (args.type_, args.name) != (found.type, found.name):
            return None
        # What differs would refuse the import; the next `up` puts it right.
        as_it_is = pulumi.ResourceOptions(import_=found.id, ignore_changes=_settings(args.props))
        opts = pulumi.ResourceOptions.merge(args.opts, as_it_is)
        return pulumi.ResourceTransformationResult(props=args.props, opts=opts)

    def run() -> None:
        register_stack_transformation(take_over)
        program()

    return run


def _settings(props: pulumi.Inputs) -> list[str]:
    """What was set of a resource, under the program's own names."""
    return [name for name, value in props.items() if value is not None]
