"""What the program declares, held against rules and against EMR's block of public access."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from emrctl import bundled
from emrctl.clusters import ec2_inputs
from emrctl.engine.embedded.evaluate import Declared, Made, evaluate
from emrctl.provision.preflight.finding import Finding, Look, Topic, error, warning
from emrctl.spec import ProjectSpec, waivers

_EVERY_PORT = (0, 65_535)
_WORLD = ("0.0.0.0/0", "::/0")


def resources(project: ProjectSpec, account: str, region: str) -> tuple[Declared, ...]:
    """The resources of both stacks as they will be declared; the engine is not asked."""
    bundled.import_stacks()
    from stacks import names, program

    settings = {"account": account, "region": region, **ec2_inputs.stand_in(project)}
    stored = {"bucket": names.bucket(project, settings)}
    scripts = {item.script: f"s3://scripts/{item.script}" for item in project.bootstrap_actions}
    found = _collected(lambda: program.storage(project, settings), project.storage_stack)
    found += _collected(
        lambda: program.cluster(project, settings, stored, scripts), project.cluster_stack
    )
    return tuple(found)


def _collected(declare: Callable[[], None], stack: str) -> list[Declared]:
    found: list[Declared] = []

    def handle(item: Declared) -> Made:
        found.append(item)
        return Made(id=f"id-{item.name}", outputs=item.inputs | {"arn": f"arn:{item.name}"})

    evaluate(declare, stack, handle, preview=False)
    return found


def _rules(look: Look) -> Iterator[Finding]:
    """Rules that neither hold nor are waived."""
    from stacks import ruleset

    waived = {**waivers.of_kind(look.cluster.kind), **look.project.waivers}
    unknown = sorted(set(look.project.waivers) - set(ruleset.every()))
    if unknown:
        hint = f"Known are {', '.join(sorted(ruleset.every()))}."
        yield warning("rules", f"waivers of no rule: {', '.join(unknown)}", hint)
    for item in ruleset.broken(look.resources):
        if item.rule not in waived:
            hint = f"Hold it, or say why not: `waivers: {{{item.rule}: reason}}`."
            yield warning("rules", f"{item.rule} ({item.title}): {item.what}", hint)


def _open_groups(look: Look) -> Iterator[Finding]:
    """EMR refuses groups that let the world in on a port that the account has not excepted."""
    answer = look.client("emr").get_block_public_access_configuration()
    block = answer["BlockPublicAccessConfiguration"]
    if not block["BlockPublicSecurityGroupRules"]:
        return
    ranges = [
        (item["MinRange"], item.get("MaxRange", item["MinRange"]))
        for item in block.get("PermittedPublicSecurityGroupRuleRanges", [])
    ]
    for item in look.resources:
        if item.type.endswith(":SecurityGroupIngressRule") and not _permitted(item.inputs, ranges):
            what = f"EMR's block of public access refuses {item.name}, which lets the world in"
            yield error("security groups", what, "Name who may come in, or except the port.")


def _permitted(inputs: dict[str, Any], ranges: list[tuple[int, int]]) -> bool:
    if not any(inputs.get(key) in _WORLD for key in ("cidrIpv4", "cidrIpv6")):
        return True
    low, high = _EVERY_PORT
    low, high = inputs.get("fromPort", low), inputs.get("toPort", high)
    return any(first <= low and high <= last for first, last in ranges)


TOPICS = (
    Topic(about="rules", check=_rules),
    Topic(about="security groups", check=_open_groups, kind="emr"),
)
