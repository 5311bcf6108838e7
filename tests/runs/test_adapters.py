"""Adapters of both kinds of clusters: REST APIs, and the conf that requests resources."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster, Node
from emrctl.errors import ProvisioningError, UnreachableError, UsageError
from emrctl.metrics.live.managers import Master, ResourceManager
from emrctl.metrics.live.snapshot import LiveSources
from emrctl.remote import ssh
from emrctl.runs.adapters import RunAdapter, adapter_of
from emrctl.runs.record import Run
from emrctl.runs.workspace import Workspace
from emrctl.spec import Ec2ClusterSpec, SparkSettings
from tests.facts import CLUSTER as ON_EMR
from tests.facts import run_on

APP = "app-20261120130410-0001"


class Network:
    """REST APIs by port on the primary's private address; other ports are closed."""

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


def _sources(opened: Workspace, run: Run) -> LiveSources:
    adapter = adapter_of(run.cluster.id, opened.target, opened.primary)
    return adapter.live_sources(run.cluster)


def test_live_sources_on_emr_are_yarn_and_its_proxy() -> None:
    found = _sources(workspace(lambda url: {"at": url}), run_on("j-1", primary_dns="primary"))
    assert isinstance(found.manager, ResourceManager)
    assert found.manager.fetch("/ws") == {"at": "http://primary/yarn/ws"}
    assert found.spark("application_1_1")("/api") == {
        "at": "http://primary/proxy/application_1_1/api"
    }


def test_live_sources_on_ec2_are_the_master_at_its_private_ip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = Network(monkeypatch, {8080: {"/json/": {"url": "spark://10.0.0.7:7077"}}})
    found = _sources(workspace(), run_on("i-1"))
    assert isinstance(found.manager, Master)
    assert found.manager.cluster() is not None
    assert network.asked == [("10.0.0.7", 8080)]


def test_live_sources_on_ec2_find_the_driver_port_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = "/api/v1/applications"
    served: dict[int, Any] = {
        4040: {listed: [{"id": "other"}]},
        4041: {listed: [{"id": APP}], "/x": 1},
    }
    network = Network(monkeypatch, served)
    fetch = _sources(workspace(), run_on("i-1")).spark(APP)
    assert fetch("/x") == 1
    assert fetch("/x") == 1
    assert [port for _, port in network.asked] == [4040, 4041, 4041, 4041]


@pytest.mark.parametrize(("served", "asked"), [({}, 1), ({4040: "other"}, 2)])
def test_live_sources_without_driver_stop_at_the_first_closed_port(
    monkeypatch: pytest.MonkeyPatch, served: dict[int, str], asked: int
) -> None:
    listed = {port: {"/api/v1/applications": [{"id": id_}]} for port, id_ in served.items()}
    network = Network(monkeypatch, listed)
    with pytest.raises(UnreachableError):
        _sources(workspace(), run_on("i-1")).spark(APP)("/x")
    assert len(network.asked) == asked


PRIMARY = Node(
    id="i-1",
    role="primary",
    name="primary",
    type="m5.xlarge",
    state="RUNNING",
    private_dns="ip-10-0-0-7.ec2.internal",
    public_dns="",
    private_ip="10.0.0.7",
)
ON_EC2 = replace(ON_EMR, id="i-1", state="RUNNING", spec=Ec2ClusterSpec(), nodes=(PRIMARY,))
FIVE = SparkSettings(executors=5, executor_cores=2, executor_memory="4743M")


def _adapter(cluster: Cluster) -> RunAdapter:
    return adapter_of(cluster.id, cast("Target", None), cast("Any", None))


def test_master_conf_on_emr_warns_about_missing_room() -> None:
    found = _adapter(ON_EMR).master_conf(ON_EMR, FIVE)
    assert (found.master, found.conf) == ("yarn", {})
    assert found.warning is not None
    assert "room for 4" in found.warning
    conf = _adapter(ON_EMR).application_conf(run_on(ON_EMR.id))
    assert (conf["spark.app.name"], conf["spark.yarn.tags"]) == ("svm", "emrctl-r1")


def test_master_conf_on_localhost_rejects_executor_without_room_beside_the_driver() -> None:
    group = ON_EMR.spec.core_group.model_copy(update={"count": 1})
    place = replace(ON_EMR, spec=ON_EMR.spec.model_copy(update={"core": group}))
    adapter = adapter_of(place.id, Target(kind="local", region="us-east-1"), cast("Any", None))
    settings = SparkSettings(deploy_mode="cluster", executor_memory="9486m")
    with pytest.raises(UsageError, match="9856 MB are free beside the driver's container"):
        adapter.master_conf(place, settings)
    assert adapter.master_conf(place, SparkSettings(deploy_mode="cluster")).warning is None


def test_master_conf_on_ec2_limits_cores_of_the_master() -> None:
    found = _adapter(ON_EC2).master_conf(ON_EC2, FIVE)
    assert found.master == "spark://10.0.0.7:7077"
    assert found.conf["spark.cores.max"] == "10"
    assert found.warning is not None
    conf = _adapter(ON_EC2).application_conf(run_on(ON_EC2.id))
    assert conf["spark.app.name"] == "svm emrctl-r1"
    assert conf["spark.yarn.tags"] == "emrctl-r1"


@pytest.mark.parametrize("place", [ON_EMR, ON_EC2], ids=["emr", "ec2"])
def test_master_conf_rejects_executor_larger_than_any_node(place: Cluster) -> None:
    with pytest.raises(UsageError, match="executor needs"):
        _adapter(place).master_conf(place, SparkSettings(executor_memory="64g"))


def test_master_conf_of_stopped_cluster_is_an_error() -> None:
    still = replace(ON_EC2, nodes=(replace(PRIMARY, state="STOPPED"),))
    with pytest.raises(ProvisioningError, match="is not running") as caught:
        _adapter(still).master_conf(still, SparkSettings())
    assert "emrctl start" in caught.value.hint
