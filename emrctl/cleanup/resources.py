"""AWS resources with emrctl's tags, classified by whether they are still used. Calls no AWS API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

PROJECT, STACK, EXPIRES, TTL = (
    "emrctl:project",
    "emrctl:stack",
    "emrctl:expires",
    "emrctl:ttl-s",
)
# `up` on another machine creates network and roles minutes before the cluster.
CREATION_PERIOD = timedelta(minutes=30)

Usage = Literal["in use", "expired", "orphaned", "creating", "retained", "unknown"]
DELETABLE: tuple[Usage, ...] = ("expired", "orphaned")
GLOBAL = "global"
CLUSTER, ROLE, BUCKET = "cluster", "role", "bucket"


@dataclass(frozen=True, kw_only=True)
class AwsResource:
    """One AWS resource that has emrctl's tags, or that EMR created in a tagged VPC.

    `hourly_usd` is None if its price is unknown and 0 if it is free. `protected` is EMR's
    termination protection.
    """

    kind: str
    id: str
    region: str
    project: str
    stack: str
    name: str = ""
    state: str = ""
    created: datetime | None = None
    expires: datetime | None = None
    hourly_usd: float | None = 0.0
    protected: bool = False
    usage: Usage = "in use"

    @property
    def deletable(self) -> bool:
        """Whether it is expired or orphaned."""
        return self.usage in DELETABLE


def expiry(tags: Mapping[str, str], created: datetime | None) -> datetime | None:
    """Return the expiry time in the tags; None if there is none or it cannot be parsed."""
    try:
        if EXPIRES in tags:
            return _parse_time(tags[EXPIRES])
        if TTL in tags and created is not None and int(tags[TTL]) > 0:
            return created + timedelta(seconds=int(tags[TTL]))
    except ValueError:
        return None
    return None


def _parse_time(text: str) -> datetime:
    if text.isdigit():
        return datetime.fromtimestamp(int(text), UTC)
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How to classify: the current time, and how much of the account was listed.

    `complete` means all regions were listed; `unlisted` are regions whose clusters could not be.
    With `buckets`, buckets of projects without a cluster are orphaned instead of retained.
    """

    now: datetime
    complete: bool = False
    unlisted: frozenset[str] = frozenset()
    buckets: bool = False


def classify(resources: Sequence[AwsResource], scope: Scope) -> tuple[AwsResource, ...]:
    """Return the resources with their usage, deletable ones first, the most expensive first.

    Resources of a stack are in use as long as its cluster is. Roles are global: unless all regions
    were listed, the usage of a role whose stack has nothing else here is unknown. Buckets hold
    user data and are retained unless the scope includes them.
    """
    stacks = _Stacks(resources, scope.now)
    classified = [replace(item, usage=_usage(item, stacks, scope)) for item in resources]
    return tuple(sorted(classified, key=lambda item: (not item.deletable, -(item.hourly_usd or 0))))


class _Stacks:
    """Facts about each stack as a whole."""

    def __init__(self, resources: Iterable[AwsResource], now: datetime) -> None:
        self.clusters: dict[str, list[bool]] = {}
        """Whether each cluster of a stack has expired."""
        self.active_projects: set[str] = set()
        self.regional: set[str] = set()
        self.recent: set[str] = set()
        for item in resources:
            if item.kind == CLUSTER:
                expired = item.expires is not None and item.expires <= now
                self.clusters.setdefault(item.stack, []).append(expired)
                self.active_projects |= set() if expired else {item.project}
            if item.region != GLOBAL:
                self.regional.add(item.stack)
            if item.created is not None and now - item.created < CREATION_PERIOD:
                self.recent.add(item.stack)


def _usage(item: AwsResource, stacks: _Stacks, scope: Scope) -> Usage:
    if item.kind == CLUSTER:
        return "expired" if item.expires is not None and item.expires <= scope.now else "in use"
    if item.kind == BUCKET:
        retained: Usage = "in use" if item.project in stacks.active_projects else "retained"
        included = scope.buckets and retained != "in use"
        return _usage_without_cluster(item, scope) if included else retained
    if item.stack in stacks.clusters:
        return "expired" if all(stacks.clusters[item.stack]) else "in use"
    if item.stack in stacks.recent:
        return "creating"
    if item.region == GLOBAL and not scope.complete and item.stack not in stacks.regional:
        return "unknown"
    return _usage_without_cluster(item, scope)


def _usage_without_cluster(item: AwsResource, scope: Scope) -> Usage:
    """Orphaned, unless its cluster may be in a region that could not be listed."""
    unlisted = scope.unlisted if item.region == GLOBAL else scope.unlisted & {item.region}
    return "unknown" if unlisted else "orphaned"
