"""Whom to ask about a run at work: who manages its cluster's executors, and its driver's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emrctl.reach import fetching

if TYPE_CHECKING:
    from emrctl.metrics.live import Places
    from emrctl.metrics.rest import Fetch
    from emrctl.reach.primary import Primary
    from emrctl.store import Run
    from emrctl.workspace import Workspace

_MASTER_PORT = 8080
# Spark takes the first that is free: with several steps at a time, each driver has its own.
_DRIVER_PORTS = range(4040, 4048)


def places(workspace: Workspace, run: Run) -> Places:
    """Where the run's cluster answers: YARN over HTTP, a standalone master through SSH."""
    if run.cluster.kind == "ec2":
        return _standalone(workspace.primary(run.cluster.id))
    return _yarn(workspace.target, run)


def _yarn(target: Any, run: Run) -> Places:
    from emrctl.metrics.live import Places
    from emrctl.metrics.yarn import ResourceManager

    cluster = run.cluster
    yarn = target.page(cluster.id, cluster.primary_dns, "yarn")
    proxy = target.page(cluster.id, cluster.primary_dns, "proxy")
    return Places(
        manager=ResourceManager(_below(target, yarn)),
        spark=lambda application_id: _below(target, f"{proxy}/{application_id}"),
    )


def _below(target: Any, base: str) -> Fetch:
    return lambda path: target.fetch(f"{base}{path}")


def _standalone(primary: Primary) -> Places:
    from emrctl.metrics.live import Places
    from emrctl.metrics.standalone import Master

    return Places(
        manager=Master(_at(primary, _MASTER_PORT)),
        spark=lambda application_id: _driver(primary, application_id),
    )


def _at(primary: Primary, port: int) -> Fetch:
    def fetch(path: str) -> Any:
        line = primary.line()
        return fetching.fetch(line, (primary.private_ip, port), path)

    return fetch


def _driver(primary: Primary, application_id: str) -> Fetch:
    """The pages of that application's driver, whichever port it has; looked for at first use."""
    found: list[Fetch] = []

    def fetch(path: str) -> Any:
        if not found:
            found.append(_searched(primary, application_id))
        return found[0](path)

    return fetch


def _searched(primary: Primary, application_id: str) -> Fetch:
    from emrctl.metrics.rest import rows

    for port in _DRIVER_PORTS:
        candidate = _at(primary, port)
        # Where nobody listens there is no driver on a later port either: what is raised goes on.
        known = rows(candidate("/api/v1/applications"))
        if any(item.get("id") == application_id for item in known):
            return candidate
    raise ConnectionError(f"no driver of {application_id} answers on the primary")
