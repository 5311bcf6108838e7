from __future__ import annotations

import base64
import hashlib
import hmac
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from emrctl.emulator.cluster.model import EmulatedNode, InstanceGroup
from emrctl.emulator.hadoop import hadoop_conf, yarn
from tests.emulator.hadoop.clusters import classification, emulated_cluster

PORTS = hadoop_conf.YarnPorts(client=1, scheduler=2, tracker=3, admin=4, web=5)


def test_yarn_site_has_emr_memory_and_access_control(tmp_path: Path) -> None:
    configuration = classification(
        "yarn-site",
        yarn__acl__enable="false",
        yarn__resourcemanager__webapp__address="0.0.0.0:8088",
        yarn__nodemanager__resource__memory_mb="1",
        yarn__scheduler__maximum="kept",
    )
    cluster = emulated_cluster(configuration)
    site = hadoop_conf.yarn_site(cluster, PORTS, tmp_path)
    assert site["yarn.acl.enable"] == "true"
    assert site["yarn.resourcemanager.webapp.address"] == "127.0.0.1:5"
    assert site["yarn.scheduler.maximum-allocation-mb"] == "12288"
    assert site["yarn.scheduler.maximum"] == "kept"
    # Otherwise YARN does not kill containers that exceed their memory.
    assert site["yarn.nodemanager.resource.memory.enforced"] == "false"
    manager = hadoop_conf.node_manager(site, tmp_path, "m5.2xlarge", "/node/bin:/bin")
    assert manager["yarn.nodemanager.resource.memory-mb"] == "24576"
    addresses = [value for key, value in manager.items() if key.endswith(".address")]
    assert all(value.startswith("127.0.0.1:") for value in addresses)
    assert manager["yarn.nodemanager.admin-env"].endswith(",PATH=/node/bin:/bin")


def test_core_site_has_user_properties_but_not_addresses(tmp_path: Path) -> None:
    own = classification("core-site", fs__s3a__endpoint="http://s3", fs__s3a__threads__max="99")
    cluster = emulated_cluster(own)
    site = hadoop_conf.core_site(cluster, "http://127.0.0.1:9", tmp_path, "provider")
    assert site["fs.s3a.threads.max"] == "99"
    assert site["fs.s3a.endpoint"] == "http://127.0.0.1:9"


def test_capacity_scheduler_has_user_properties() -> None:
    own = classification(
        "capacity-scheduler", yarn__scheduler__capacity__root__queues="default,adhoc"
    )
    properties = hadoop_conf.capacity_scheduler(emulated_cluster(own))
    assert properties["yarn.scheduler.capacity.root.queues"] == "default,adhoc"
    assert properties["yarn.scheduler.capacity.resource-calculator"].endswith(
        "DefaultResourceCalculator"
    )


def test_hadoop_env_exports_reach_daemons() -> None:
    def env(name: str, **exports: str) -> dict[str, Any]:
        nested = [classification("export", **exports)]
        return {"Classification": name, "Properties": {}, "Configurations": nested}

    cluster = emulated_cluster(
        env("hadoop-env", HADOOP_OPTS="-Da=1 -Db='x y'", JAVA_HOME="/usr/lib/jvm", MINE="1"),
        env("yarn-env", YARN_NODEMANAGER_HEAPSIZE="700", YARN_RESOURCEMANAGER_OPTS="-Dc=2"),
    )
    variables = hadoop_conf.daemon_environment(cluster, cluster.groups[1])
    assert variables["MINE"] == "1"
    assert "JAVA_HOME" not in variables
    options = hadoop_conf.daemon_options(variables, "NodeManager")
    assert options == ["-Da=1", "-Db=x y", "-Xmx700m"]
    options = hadoop_conf.daemon_options(variables, "ResourceManager")
    assert options == ["-Da=1", "-Db=x y", "-Dc=2"]


def test_configurations_of_group_override_those_of_cluster(tmp_path: Path) -> None:
    key = "yarn.nodemanager.resource.memory-mb"
    cluster = emulated_cluster({"Classification": "yarn-site", "Properties": {key: "1", "a": "1"}})
    primary, core = cluster.groups
    core.request = {
        "Configurations": [{"Classification": "yarn-site", "Properties": {key: "2048"}}]
    }
    site = hadoop_conf.yarn_site(cluster, PORTS, tmp_path, core)
    assert (site[key], site["a"]) == ("2048", "1")
    assert hadoop_conf.yarn_site(cluster, PORTS, tmp_path, primary)[key] == "1"
    assert hadoop_conf.yarn_site(cluster, PORTS, tmp_path)[key] == "1"
    core.active_configurations = []
    assert hadoop_conf.yarn_site(cluster, PORTS, tmp_path, core)[key] == "1"


def test_configurations_of_fleet_are_those_of_the_node_type(tmp_path: Path) -> None:
    key = "yarn.nodemanager.resource.memory-mb"
    cluster = emulated_cluster(workers=0)

    def of_type(name: str, memory_mb: int) -> dict[str, Any]:
        own = [{"Classification": "yarn-site", "Properties": {key: str(memory_mb)}}]
        return {"InstanceType": name, "Configurations": own}

    fleet = InstanceGroup(
        role="CORE",
        instance_type="m5.xlarge",
        count=2,
        request={"InstanceTypeConfigs": [of_type("m5.xlarge", 1024), of_type("m5.2xlarge", 2048)]},
    )
    names: Any = {"public_dns": "p", "public_ip": "1", "private_dns": "q", "private_ip": "2"}
    nodes = [
        EmulatedNode(group=fleet, ec2_id=name, instance_type=name, **names)
        for name in ("m5.xlarge", "m5.2xlarge")
    ]
    # The daemons of running instances keep theirs if ModifyInstanceFleet changes the types.
    fleet.request = {"InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}]}
    sites = [hadoop_conf.yarn_site(cluster, PORTS, tmp_path, node) for node in nodes]
    assert [site[key] for site in sites] == ["1024", "2048"]


def test_configurations_of_fleet_without_instances_are_those_of_its_first_type() -> None:
    cluster = emulated_cluster()
    cluster.nodes = []
    own = classification("spark-defaults", spark__executor__cores="3")
    cluster.groups[0].request = {
        "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge", "Configurations": [own]}]
    }
    properties = hadoop_conf.classification(cluster, "spark-defaults")
    assert properties == {"spark.executor.cores": "3"}


def test_secret_user_is_in_daemon_conf_only(tmp_path: Path) -> None:
    cluster = emulated_cluster()
    credentials = hadoop_conf.YarnCredentials(signing_key=tmp_path / "signing", user="kabc@def")
    provider = hadoop_conf.SDK_2_CREDENTIALS
    client = hadoop_conf.core_site(cluster, "http://127.0.0.1:9", tmp_path, provider)
    daemon = hadoop_conf.daemon_core_site(client, credentials)
    assert not any("kabc" in value for value in client.values())
    assert "kabc@def" in daemon["hadoop.security.auth_to_local"]
    assert client["fs.s3a.endpoint"] == "http://127.0.0.1:9"
    assert client["fs.s3a.aws.credentials.provider"] == provider
    assert client["fs.defaultFS"] == "hdfs://q:8020"
    assert daemon["fs.defaultFS"] == "file:///"
    hadoop_conf.write(tmp_path / "conf", [("core-site.xml", daemon)])
    path = tmp_path / "conf" / "core-site.xml"
    assert path.stat().st_mode & 0o777 == 0o600
    names = {one.text for one in ET.parse(path).getroot().iter("name")}  # noqa: S314
    assert names == set(daemon)


def test_cookie_is_signed_like_hadoop(tmp_path: Path) -> None:
    key = tmp_path / "signing"
    key.write_text("shh")
    value = hadoop_conf.cookie(key).removeprefix('hadoop.auth="').removesuffix('"')
    text, _, signature = value.rpartition("&s=")
    assert text.startswith("u=viewer&p=viewer&t=ldap&e=")
    mac = hmac.new(b"shh", text.encode(), hashlib.sha256).digest()
    assert base64.b64decode(signature) == mac


def test_new_ports_are_below_ephemeral_range() -> None:
    ports = yarn.new_ports()
    numbers = {ports.client, ports.scheduler, ports.tracker, ports.admin, ports.web}
    assert len(numbers) == 5
    assert numbers < set(range(20_000, 32_768))


def test_user_can_make_another_file_system_the_default(tmp_path: Path) -> None:
    own = classification("core-site", fs__defaultFS="file:///", fs__s3a__endpoint="http://evil")
    client = hadoop_conf.core_site(emulated_cluster(own), "http://127.0.0.1:9", tmp_path, "p")
    assert client["fs.defaultFS"] == "file:///"
    assert client["fs.s3a.endpoint"] == "http://127.0.0.1:9"
