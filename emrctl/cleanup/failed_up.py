"""What a failed or interrupted `up` left on AWS, and its deletion by the stack's engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emrctl.aws.target import Target
from emrctl.cleanup.discovery import discover
from emrctl.cleanup.resources import BUCKET, CLUSTER, AwsResource
from emrctl.clusters.emr import ClusterFailure
from emrctl.clusters.registry import kind_of
from emrctl.cost import estimate, total_usd
from emrctl.errors import EmrctlError
from emrctl.provision import lifecycle, stacks
from emrctl.provision.stacks import Deployment
from emrctl.spec import ProjectSpec


@dataclass(frozen=True, kw_only=True)
class StackResources:
    """The resources of a stack on AWS, and why its last cluster failed, if that was recent.

    `pending_usd` is the hourly cost of nodes that were requested and are not running yet.
    """

    resources: tuple[AwsResource, ...]
    failure: ClusterFailure | None
    pending_usd: float = 0.0

    @property
    def hourly_usd(self) -> float | None:
        """Current cost per hour; None if a price is unknown."""
        return total_usd(item.hourly_usd for item in self.resources)

    def __str__(self) -> str:
        """Count the resources by kind, with their cost."""
        kinds = Counter(item.kind for item in self.resources)
        counts = [f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items()]
        usd = self.hourly_usd
        cost = "price unknown" if usd is None else f"{usd:.3f} USD per hour"
        pending = f" ({self.pending_usd:.3f} once its nodes run)" if self.pending_usd else ""
        return f"{', '.join(counts)}: {cost}{pending}"


def stack_resources(project: ProjectSpec, target: Target) -> StackResources:
    """Return the resources of the project's cluster stack, whichever machine created them."""
    stack = project.cluster_stack
    resources = tuple(
        item for item in discover(target).resources if item.stack == stack and item.kind != BUCKET
    )
    clusters = [item for item in resources if item.kind == CLUSTER]
    pending = any(not item.hourly_usd for item in clusters)
    return StackResources(
        resources=resources,
        failure=None if clusters else kind_of(project.cluster).recent_failure(project, target),
        pending_usd=estimate(project).instances_usd if pending else 0.0,
    )


def delete_by_engine(
    project: ProjectSpec,
    target: Target,
    root: Path,
    resources: Sequence[AwsResource],
    report: Callable[[str], None],
) -> tuple[AwsResource, ...]:
    """Destroy each stack that has a state on this machine; return the resources of the others.

    Destroying through the engine keeps the state correct. If that fails, the resources are
    returned and can be deleted by their tags.
    """
    states = stacks.list_stacks(Deployment(project, target, root))
    with_state = {state.stack for state in states if not state.gone}
    with_state.discard(project.storage_stack)
    deletable = {
        item.stack for item in resources if item.deletable and item.region == target.region
    }
    destroyed = set()
    for stack in sorted(with_state & deletable):
        name = stack.removeprefix(f"{project.project}-")
        report(f"  destroying stack {stack}")
        try:
            lifecycle.down(Deployment(project.with_cluster(name), target, root))
        except EmrctlError as error:
            report(f"  the engine failed ({error.message}): deleting by tags instead")
        else:
            destroyed.add(stack)
    return tuple(item for item in resources if item.stack not in destroyed)
