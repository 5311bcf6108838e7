"""Whom to ask about a run at work, by the kind of its cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from emrctl.metrics.live.standalone import Master
from emrctl.metrics.live.yarn import ResourceManager
from emrctl.remote import ssh
from emrctl.remote.errors import UnreachableError
from emrctl.runs import sources
from emrctl.runs.workspace import Workspace
from tests.facts import run_on

APP = "app-20261120130410-0001"


class Network:
    """Pages by port on the primary's private address; nobody listens on other ports."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, served: dict[int, dict[str, Any]]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._served = served
        monkeypatch.setattr(ssh, "get_json", self._fetch)

    def _fetch(self, _line: object, where: tuple[str, int], path: str) -> Any:
        self.asked.append(where)
        if where[1] not in self._served:
            raise UnreachableError(f"the node does not reach {where}")
        return json.loads(json.dumps(self._served[where[1]][path]))


def workspace(fetch: Callable[[str], Any] | None = None) -> Workspace:
    primary = SimpleNamespace(connection=object, private_ip="10.0.0.7")
    target = SimpleNamespace(page=lambda _id, dns, page: f"http://{dns}/{page}", fetch=fetch)
    return cast("Workspace", SimpleNamespace(primary=lambda _id: primary, target=target))


def test_a_run_on_emr_asks_yarn_and_its_proxy() -> None:
    found = sources.places(workspace(lambda url: {"at": url}), run_on("j-1", primary_dns="primary"))
    assert isinstance(found.manager, ResourceManager)
    assert found.manager.fetch("/ws") == {"at": "http://primary/yarn/ws"}
    assert found.spark("application_1_1")("/api") == {
        "at": "http://primary/proxy/application_1_1/api"
    }


def test_a_run_on_instances_asks_the_master_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(monkeypatch, {8080: {"/json/": {"url": "spark://10.0.0.7:7077"}}})
    found = sources.places(workspace(), run_on("i-1"))
    assert isinstance(found.manager, Master)
    assert found.manager.cluster() is not None
    assert network.asked == [("10.0.0.7", 8080)]


def test_a_driver_is_found_by_its_application_and_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = "/api/v1/applications"
    served: dict[int, Any] = {
        4040: {listed: [{"id": "other"}]},
        4041: {listed: [{"id": APP}], "/x": 1},
    }
    network = Network(monkeypatch, served)
    fetch = sources.places(workspace(), run_on("i-1")).spark(APP)
    assert fetch("/x") == 1
    assert fetch("/x") == 1
    assert [port for _, port in network.asked] == [4040, 4041, 4041, 4041]


@pytest.mark.parametrize(("served", "asked"), [({}, 1), ({4040: "other"}, 2)])
def test_where_no_driver_is_nobody_looks_further_than_the_first_closed_port(
    monkeypatch: pytest.MonkeyPatch, served: dict[int, str], asked: int
) -> None:
    listed = {port: {"/api/v1/applications": [{"id": id_}]} for port, id_ in served.items()}
    network = Network(monkeypatch, listed)
    with pytest.raises(UnreachableError):
        sources.places(workspace(), run_on("i-1")).spark(APP)("/x")
    assert len(network.asked) == asked
