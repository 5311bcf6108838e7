"""Whom to ask about a run at work: who manages its cluster's executors, and its driver's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emrctl.remote import pages, ssh
from emrctl.remote.nodes import PrimaryConnection

if TYPE_CHECKING:
    from emrctl.metrics.live.rest import Fetch
    from emrctl.metrics.live.snapshot import LiveSources
    from emrctl.runs.store import Run
    from emrctl.runs.workspace import Workspace


def places(workspace: Workspace, run: Run) -> LiveSources:
    """Where the run's cluster answers: YARN over HTTP, a standalone master through SSH."""
    if run.cluster.kind == "ec2":
        return _standalone(workspace.primary(run.cluster.id))
    return _yarn(workspace.target, run)


def _yarn(target: Any, run: Run) -> LiveSources:
    from emrctl.metrics.live.snapshot import LiveSources
    from emrctl.metrics.live.yarn import ResourceManager

    cluster = run.cluster
    yarn = target.page(cluster.id, cluster.primary_dns, "yarn")
    proxy = target.page(cluster.id, cluster.primary_dns, "proxy")
    return LiveSources(
        manager=ResourceManager(_below(target, yarn)),
        spark=lambda application_id: _below(target, f"{proxy}/{application_id}"),
    )


def _below(target: Any, base: str) -> Fetch:
    return lambda path: target.fetch(f"{base}{path}")


def _standalone(primary: PrimaryConnection) -> LiveSources:
    from emrctl.metrics.live.snapshot import LiveSources
    from emrctl.metrics.live.standalone import Master

    return LiveSources(
        manager=Master(_at(primary, pages.STANDALONE["master"])),
        spark=lambda application_id: _driver(primary, application_id),
    )


def _at(primary: PrimaryConnection, port: int) -> Fetch:
    def fetch(path: str) -> Any:
        line = primary.connection()
        return ssh.get_json(line, (primary.private_ip, port), path)

    return fetch


def _driver(primary: PrimaryConnection, application_id: str) -> Fetch:
    """The pages of that application's driver, whichever port it has; looked for at first use."""
    found: list[Fetch] = []

    def ask(port: int, path: str) -> Any:
        return _at(primary, port)(path)

    def fetch(path: str) -> Any:
        if not found:
            found.append(_at(primary, pages.driver_port(ask, application_id)))
        return found[0](path)

    return fetch
