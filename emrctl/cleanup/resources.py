"""What emrctl made, thing by thing, and whether anybody still needs it. Pure: no AWS in here."""

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
# An `up` on another laptop makes network and roles minutes before there is a cluster.
BEING_MADE = timedelta(minutes=30)

Verdict = Literal["in use", "expired", "left over", "being made", "kept", "unsure"]
ENDABLE: tuple[Verdict, ...] = ("expired", "left over")
EVERYWHERE = "global"
CLUSTER, ROLE, BUCKET = "cluster", "role", "bucket"


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing on AWS that carries emrctl's tags, or stands in what does.

    `hourly_usd` is None where no table has its price; things that cost nothing have 0.
    `protected` is AWS's own word: it ends only when that is taken away first.
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
    verdict: Verdict = "in use"

    @property
    def endable(self) -> bool:
        """Whether nobody needs it any more."""
        return self.verdict in ENDABLE


def expiry(tags: Mapping[str, str], created: datetime | None) -> datetime | None:
    """When the tags say that it ends; None where they do not, or cannot be read."""
    try:
        if EXPIRES in tags:
            return _moment(tags[EXPIRES])
        if TTL in tags and created is not None and int(tags[TTL]) > 0:
            return created + timedelta(seconds=int(tags[TTL]))
    except ValueError:
        return None
    return None


def _moment(text: str) -> datetime:
    if text.isdigit():
        return datetime.fromtimestamp(int(text), UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What the things are judged by: the time, and how much of the account was seen.

    `complete` when all regions were looked at; `blind` are those whose clusters nobody could list.
    `buckets` gives up those of projects that have no cluster.
    """

    now: datetime
    complete: bool = False
    blind: frozenset[str] = frozenset()
    buckets: bool = False


def judge(things: Sequence[Thing], scope: Scope) -> tuple[Thing, ...]:
    """The things with their verdicts, first those that nobody needs, the dearest before others.

    What a stack's living cluster stands on is in use as long as the cluster is. Roles have no
    region: unless all regions were seen, one whose stack left nothing else here is `unsure`. A
    bucket holds what people made: it is `kept` unless the scope gives it up.
    """
    stacks = _Stacks(things, scope.now)
    judged = [replace(one, verdict=_verdict(one, stacks, scope)) for one in things]
    return tuple(sorted(judged, key=lambda one: (not one.endable, -(one.hourly_usd or 0.0))))


class _Stacks:
    """What the clusters and the other things say of each stack as a whole."""

    def __init__(self, things: Iterable[Thing], now: datetime) -> None:
        self.clusters: dict[str, list[bool]] = {}
        self.projects: set[str] = set()
        self.anchored: set[str] = set()
        self.young: set[str] = set()
        for one in things:
            if one.kind == CLUSTER:
                expired = one.expires is not None and one.expires <= now
                self.clusters.setdefault(one.stack, []).append(expired)
                self.projects |= set() if expired else {one.project}
            if one.region != EVERYWHERE:
                self.anchored.add(one.stack)
            if one.created is not None and now - one.created < BEING_MADE:
                self.young.add(one.stack)


def _verdict(one: Thing, stacks: _Stacks, scope: Scope) -> Verdict:
    if one.kind == CLUSTER:
        return "expired" if one.expires is not None and one.expires <= scope.now else "in use"
    if one.kind == BUCKET:
        kept: Verdict = "in use" if one.project in stacks.projects else "kept"
        return kept if kept == "in use" or not scope.buckets else _without_cluster(one, scope)
    if one.stack in stacks.clusters:
        return "expired" if all(stacks.clusters[one.stack]) else "in use"
    if one.stack in stacks.young:
        return "being made"
    if one.region == EVERYWHERE and not scope.complete and one.stack not in stacks.anchored:
        return "unsure"
    return _without_cluster(one, scope)


def _without_cluster(one: Thing, scope: Scope) -> Verdict:
    """No cluster of its stack was seen: left over, unless one may stand where nobody looked."""
    unseen = scope.blind if one.region == EVERYWHERE else scope.blind & {one.region}
    return "unsure" if unseen else "left over"
