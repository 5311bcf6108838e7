"""One project's stacks: what of one stands and what it costs, and its end by its own engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl import provision
from emrctl.aws.translate import translated
from emrctl.cleanup.discover import look
from emrctl.cleanup.resources import BUCKET, CLUSTER, Thing
from emrctl.clusters import emr_failure
from emrctl.cost import estimate
from emrctl.cost.resource import total
from emrctl.errors import EmrctlError

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.spec import ProjectSpec

_LATELY = timedelta(hours=2)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What exists of a stack, and why its last cluster gave up, where one did just now.

    `coming_usd` is what the nodes cost an hour that are asked for and do not run yet.
    """

    things: tuple[Thing, ...]
    death: emr_failure.Death | None
    coming_usd: float = 0.0

    @property
    def hourly_usd(self) -> float | None:
        """What it costs an hour now; None where a price is not known."""
        return total(one.hourly_usd for one in self.things)

    def __str__(self) -> str:
        """What exists, counted by kind, and its cost, in a sentence or two."""
        kinds = Counter(one.kind for one in self.things)
        parts = [f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items()]
        cost = self.hourly_usd
        said = "at a price that no table has" if cost is None else f"for {cost:.3f} USD an hour"
        more = f" (and {self.coming_usd:.3f} once its nodes run)" if self.coming_usd else ""
        return f"{', '.join(parts)}, {said}{more}"


def standing(project: ProjectSpec, target: Target) -> Standing:
    """What exists of the project's cluster stack on AWS, whoever made it."""
    seen = look(target)
    stack = project.cluster_stack
    things = tuple(one for one in seen.things if one.stack == stack and one.kind != BUCKET)
    waits = any(one.kind == CLUSTER and not one.hourly_usd for one in things)
    return Standing(
        things=things,
        death=None if any(one.kind == CLUSTER for one in things) else _last_death(project, target),
        coming_usd=estimate.estimate(project).instances_usd if waits else 0.0,
    )


def _last_death(project: ProjectSpec, target: Target) -> emr_failure.Death | None:
    """Why the stack's newest cluster gave up, if that was lately; instances do not give up."""
    if project.cluster.kind != "emr":
        return None
    stack = project.cluster_stack
    emr = target.client("emr")
    with translated("asking why the cluster ended"):
        answer = emr.list_clusters(
            ClusterStates=["TERMINATED_WITH_ERRORS"], CreatedAfter=datetime.now(UTC) - _LATELY
        )
        for item in answer["Clusters"]:
            if item["Name"] == stack:
                found = emr.describe_cluster(ClusterId=item["Id"])["Cluster"]
                return emr_failure.of_cluster(found["Status"])
    return None


def by_engine(
    project: ProjectSpec,
    target: Target,
    root: Path,
    things: Sequence[Thing],
    report: Callable[[str], None],
) -> tuple[Thing, ...]:
    """Those of the things that are left once each stack with a state here was taken down by it.

    So the state of this laptop stays true. Where the engine cannot, tags do.
    """
    known = {s.stack for s in provision.stacks(project, target, root) if not s.gone}
    known.discard(project.storage_stack)
    wanted = {one.stack for one in things if one.endable and one.region == target.region}
    done = set()
    for stack in sorted(known & wanted):
        name = stack.removeprefix(f"{project.project}-")
        report(f"  taking stack {stack} down")
        try:
            provision.down(project.with_cluster(name), target, root)
        except EmrctlError as error:
            report(f"  the engine could not ({error.message}): by tags then")
        else:
            done.add(stack)
    return tuple(one for one in things if one.stack not in done)
