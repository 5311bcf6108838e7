"""Nodes become a cluster: scripts on all of them side by side, then a master with its workers."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from emrctl.remote import nodes
from emrctl.standalone.parallel import BOOT_S, Crew, Member, Report
from emrctl.standalone.plan import NODE, Files, Plan, Stage, read_scripts

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster
    from emrctl.spec import ProjectSpec

# No script of ours takes that long; a user's own may, and is told apart from one that hangs.
_SCRIPT_S = 3600
_WORKERS_S = 120
_UNPACK = (
    "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|gz').extractall('emrctl')"
)


def bring_up(
    project: ProjectSpec,
    target: Target,
    cluster: Cluster,
    scripts: Mapping[str, str],
    report: Report,
) -> None:
    """A master with all workers runs on the cluster's nodes, which take steps.

    `scripts` are files or `s3://` addresses of the spec's own. What was done before is not done
    again. `NodesFailedError` names the nodes where something failed; calling again goes on there.
    """
    with Crew(target, cluster, report, answer_s=BOOT_S) as crew:
        brought_up(crew, project, scripts)


def brought_up(crew: Crew, project: ProjectSpec, scripts: Mapping[str, str]) -> None:
    """Likewise with a crew that is there already."""
    made = Plan(
        project=project,
        target=crew.target,
        cluster=crew.cluster,
        scripts=read_scripts(crew.target, scripts),
        primary=nodes.find_node(crew.cluster),
    )
    files = made.files()
    crew.each("reaching nodes", crew.reached, [crew.member(nodes.PRIMARY)])
    secret = _secret(crew.member(nodes.PRIMARY))

    def build(member: Member) -> None:
        crew.reached(member)
        done = _prepared(member, files)
        _put(member, "secret", secret)
        if member.node == made.primary:
            _put(member, "cluster.json", made.facts())
        for stage in made.stages(member.node):
            _run(member, stage, done)

    crew.each("bootstrapping", build)
    await_workers(crew, sum(node.role == "worker" for node in crew.cluster.nodes))


def await_workers(crew: Crew, count: int) -> None:
    """The master has that many workers alive."""
    command = f"bash {NODE}/bin/master await {count} {_WORKERS_S}"
    primary = crew.member(nodes.PRIMARY)
    crew.each("waiting for workers", lambda one: one.ran("the master", command), [primary])


def _secret(primary: Member) -> bytes:
    """What the cluster's nodes know each other by: the primary's, else a new one."""
    found = primary.asked(f"cat {NODE}/secret 2>/dev/null || true").strip()
    return (found or secrets.token_hex(32)).encode()


def _prepared(member: Member, files: Files) -> frozenset[str]:
    """Scripts are on the node as they are here; the marks of what was done there."""
    look = f"mkdir -p {NODE}/done {NODE}/bootstrap && ls {NODE}/done"
    done = frozenset(member.asked(look).split())
    if files.mark not in done:
        member.asked(f"python3 -W ignore -c {shlex.quote(_UNPACK)}", files.packed)
        member.asked(f"touch {NODE}/done/{files.mark}")
    return done


def _put(member: Member, name: str, text: bytes) -> None:
    """The node has the file, for its user alone; it came by no argument that others see."""
    place = f"{NODE}/{name}"
    command = f"umask 077 && cat >{place}.new && mv {place}.new {place}"
    member.asked(command, text)


def _run(member: Member, stage: Stage, done: frozenset[str]) -> None:
    if stage.mark and stage.mark in done:
        return
    member.ran(stage.name, _alone(stage))


def _alone(stage: Stage) -> str:
    """The stage's command, once nobody else is at work on the node.

    A client that was killed may have left its script behind; what that ends is not done again.
    """
    lock = "flock -n 9 || { echo 'waiting for whoever is at work here'; flock 9; }"
    # What a script leaves running must not hold the lock for ever.
    command = f"timeout {_SCRIPT_S} {stage.command} 9>&-"
    if stage.mark:
        mark = f"{NODE}/done/{stage.mark}"
        command = f"[ -e {mark} ] || {{ {command} && touch {mark}; }}"
    return f"( {lock}; {command} ) 9>{NODE}/lock"
