"""What preflight says, and how it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from emrctl.aws import errors
from emrctl.spec import ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.spec import AnyClusterSpec, ClusterSpec, Ec2ClusterSpec

ROOM_FOR_ADDRESSES = 5


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that would fail (error) or may surprise (warning), and what to do about it."""

    about: str
    severity: Literal["error", "warning"]
    what: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """The project to create, and the account to check."""

    project: ProjectSpec
    target: Target
    account: str

    @property
    def cluster(self) -> AnyClusterSpec:
        """The cluster that is wanted."""
        return self.project.cluster

    @property
    def emr(self) -> ClusterSpec:
        """The same where a topic is about EMR's alone."""
        return self.project.emr

    @property
    def ec2(self) -> Ec2ClusterSpec:
        """The same where a topic is about EC2 instances alone."""
        return self.project.ec2

    def client(self, service: str) -> Any:
        """A boto3 client for `service`."""
        return self.target.client(service)


@dataclass(frozen=True, kw_only=True)
class Topic:
    """Something to look at, the function that does, and the kind of cluster that it is about."""

    about: str
    check: Callable[[Look], Iterator[Finding]]
    kind: Literal["emr", "ec2", "any"] = "any"

    def concerns(self, look: Look) -> bool:
        """Whether it is about a cluster of the wanted one's kind."""
        return self.kind in {"any", look.cluster.kind}


def looked(topic: Topic, look: Look) -> list[Finding]:
    """What a topic's check finds; a warning where the caller may not look."""
    from botocore.exceptions import BotoCoreError, ClientError

    found: list[Finding] = []
    try:
        found.extend(topic.check(look))
    except (ClientError, BotoCoreError) as error:
        if not errors.is_denied(error):
            raise errors.translate(error, f"looking at the {topic.about}") from error
        found.append(
            Finding(
                about=topic.about,
                severity="warning",
                what=f"the {topic.about} could not be looked at: {errors.error_text(error)}",
                hint="Let the caller read it, or go on: AWS will say if something is wrong.",
            )
        )
    return found


def error(about: str, what: str, hint: str) -> Finding:
    """A finding that ends the matter."""
    return Finding(about=about, severity="error", what=what, hint=hint)


def warning(about: str, what: str, hint: str) -> Finding:
    """A finding to know of."""
    return Finding(about=about, severity="warning", what=what, hint=hint)
