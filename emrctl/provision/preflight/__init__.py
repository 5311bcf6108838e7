"""What of an account would make a cluster fail, found before anything is made or paid.

Each finding says what to do. What the caller may not look at is a warning: AWS itself will say.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emrctl import bundled
from emrctl.aws import errors as aws_errors
from emrctl.clusters import network_lookup
from emrctl.errors import ProvisioningError
from emrctl.provision.preflight import (
    account,
    capacity,
    identity,
    instances,
    network,
    storage,
)
from emrctl.provision.preflight.finding import Finding, Look, Topic, looked
from emrctl.spec import ProjectSpec, refuse_local

if TYPE_CHECKING:
    from emrctl.aws.target import Target

__all__ = ["Finding", "check", "ready", "refuse"]

TOPICS: tuple[Topic, ...] = (
    *account.TOPICS,
    *capacity.TOPICS,
    *network.TOPICS,
    *identity.TOPICS,
    *storage.TOPICS,
    *instances.TOPICS,
)
_AT_ONCE = 8
_log = logging.getLogger(__name__)


def check(project: ProjectSpec, target: Target) -> list[Finding]:
    """Everything that would fail or surprise on this account, errors first.

    `CredentialsError` where AWS does not know the caller; other errors of AWS's as ours.
    """
    from concurrent.futures import ThreadPoolExecutor

    who = _caller(target)
    look = Look(project=project, target=target, account=who)
    topics = [topic for topic in TOPICS if topic.concerns(look)]
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = [
            item for part in pool.map(lambda topic: looked(topic, look), topics) for item in part
        ]
    return sorted(found, key=lambda item: item.severity != "error")


def refuse(findings: Sequence[Finding]) -> None:
    """Nothing of them is an error; `ProvisioningError` says each that is, and what to do."""
    errors = [item for item in findings if item.severity == "error"]
    if not errors:
        return
    lines = [f"{item.what}. {item.hint}" for item in errors[1:]]
    more = "".join(f"\n  also: {line}" for line in lines)
    raise ProvisioningError(f"nothing was made: {errors[0].what}{more}", hint=errors[0].hint)


def ready(project: ProjectSpec, target: Target) -> ProjectSpec:
    """The project with what it names by tags found, once nothing stands in its way.

    On localhost that is only what the emulator has not got; on AWS the account is looked at too,
    and its warnings are logged.
    """
    if target.kind == "local":
        refuse_local(project)
    if not project.cluster.network.existing:
        bundled.import_stacks()
        from stacks.names import subnet_cidrs

        subnet_cidrs(project.cluster.network)  # raises before anything is created
    with aws_errors.translated("looking up the network"):
        found = network_lookup.resolve_network(project, target)
    if target.kind == "local":
        return found
    findings = check(found, target)
    for item in findings:
        if item.severity == "warning":
            _log.warning("warning: %s. %s", item.what, item.hint)
    refuse(findings)
    return found


def _caller(target: Target) -> str:
    with aws_errors.translated("asking AWS who is calling"):
        return str(target.client("sts").get_caller_identity()["Account"])
