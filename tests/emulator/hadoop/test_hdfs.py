"""HDFS that starts when a client needs it, with processes that only write the daemons' logs."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from emrctl.emulator.cluster.daemons import ExitedDaemon
from emrctl.emulator.cluster.model import TERMINATED, EmulatedCluster, InstanceGroup
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.hadoop import hadoop_conf, hadoop_jars, hdfs, hdfs_classes, hdfs_conf
from emrctl.emulator.hadoop.hadoop_conf import YarnCredentials
from emrctl.emulator.hadoop.hadoop_jars import HadoopJars
from emrctl.emulator.hadoop.hdfs import Hdfs
from emrctl.emulator.server import processes
from tests.emulator.hadoop.clusters import classification, emulated_cluster

Until = Callable[..., Any]


@dataclass
class FakeYarn:
    """Starts `command` in place of each daemon, which writes both lines of a started daemon."""

    context: EmulatorContext
    cluster: EmulatedCluster
    folder: Path
    credentials: YarnCredentials
    command: str = "echo The folders of EMR exist, successfully registered with NN; exec sleep 600"
    started: list[tuple[str, str]] = field(default_factory=list)
    jars: HadoopJars = field(default_factory=lambda: HadoopJars(Path("/jars")))

    @property
    def hdfs_folder(self) -> Path:
        return self.folder / "hdfs"

    def core_site(self, node: Any) -> dict[str, str]:
        return {"fs.defaultFS": "hdfs://q:8020"}

    def daemon_options(self, node: Any, name: str) -> list[str]:
        return []

    def start_java(self, node: Any, argv: list[str], log: Path) -> subprocess.Popen[bytes]:
        self.started.append((node.ec2_id, argv[-1].rpartition(".")[2]))
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            return processes.spawn(["bash", "-c", self.command], stdout=output)


@pytest.fixture
def yarn(context: EmulatorContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeYarn:
    monkeypatch.setattr(hdfs, "_TIMEOUT_S", 60.0)
    monkeypatch.setattr(hdfs_classes, "name_node_class_path", lambda _: "/classes")
    credentials = YarnCredentials(signing_key=tmp_path / "signing", user="kabc@def")
    cluster = emulated_cluster()
    return FakeYarn(context, cluster, context.cluster_folder(cluster), credentials)


@pytest.fixture
def files(yarn: FakeYarn) -> Iterator[Hdfs]:
    yarn.folder.mkdir(parents=True)
    files = Hdfs(yarn=yarn)  # type: ignore[arg-type]
    files.prepare()
    yield files
    files.stop()


def request(files: Hdfs, until: Until) -> None:
    """Request that HDFS is started, as a client does, and wait for the answer."""
    requested = files.folder / "requested"
    requested.touch()
    until(requested.exists, False)


def test_hdfs_starts_when_a_client_requests_it(files: Hdfs, yarn: FakeYarn, until: Until) -> None:
    assert (files.folder / "user").read_text() == "kabc@def"
    assert (files.folder / "user").stat().st_mode & 0o077 == 0
    assert (yarn.started, files.daemons) == ([], {})
    request(files, until)
    expected = [
        ("i-MASTER0", "FormattedNameNode"),
        ("i-CORE0", "DataNode"),
        ("i-CORE1", "DataNode"),
    ]
    assert yarn.started == expected
    assert (files.folder / "address").read_text() == f"127.0.0.1:{files.ports.rpc}"
    request(files, until)
    assert yarn.started == expected


def test_metrics_are_numbers_of_name_node_while_hdfs_is_running(
    files: Hdfs, yarn: FakeYarn, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files.metrics() == {}
    yarn.credentials.signing_key.write_bytes(b"key")
    request(files, until)
    assert files.metrics() == {}  # the fake does not answer

    def get_json(url: str, headers: dict[str, str]) -> Any:
        assert url.startswith(f"http://127.0.0.1:{files.ports.web}/jmx?")
        assert "hadoop.auth" in headers["Cookie"]
        return {"beans": [{"NumLiveDataNodes": 2, "FSState": "Operational"}, {"CapacityUsed": 5}]}

    monkeypatch.setattr("emrctl.aws.http.get_json", get_json)
    assert files.metrics() == {"NumLiveDataNodes": 2, "CapacityUsed": 5}


def test_failed_start_is_reported_and_can_be_repeated(
    files: Hdfs, yarn: FakeYarn, until: Until
) -> None:
    command, yarn.command = yarn.command, "exit 3"
    request(files, until)
    error = (files.folder / "error").read_text()
    assert f"could not start HDFS of {yarn.cluster.id}: " in error
    assert "exited with code 3" in error
    assert not (files.folder / "address").exists()
    assert files.exited_daemons() == []
    yarn.command = command
    request(files, until)
    assert (files.folder / "address").exists()
    assert not (files.folder / "error").exists()


def test_exited_daemon_is_restarted_at_its_address(
    files: Hdfs, yarn: FakeYarn, until: Until
) -> None:
    request(files, until)
    ports = files.ports
    for process in files.daemons.values():
        process.kill()
        process.wait()
    exited = files.exited_daemons()
    assert [one.name for one in exited] == ["NameNode", "DataNode", "DataNode"]
    yarn.started.clear()
    for one in exited:
        files.restart(one)
    assert len(yarn.started) == 3
    assert files.exited_daemons() == []
    assert files.ports == ports


def test_name_node_of_lost_primary_moves_with_its_files_and_address(
    files: Hdfs, yarn: FakeYarn, until: Until
) -> None:
    request(files, until)
    lost, ports = yarn.cluster.primary, files.ports
    image = files._storage(lost) / "name/fsimage"
    image.parent.mkdir()
    image.write_text("files")
    standby = emulated_cluster().primary
    standby.ec2_id = "i-STANDBY"
    yarn.cluster.nodes.append(standby)
    lost.state = TERMINATED
    name_node = files.daemons[lost.ec2_id, hdfs._NAME_NODE]
    name_node.kill()
    name_node.wait()
    files.fail_over(lost)
    assert yarn.started[-1] == ("i-STANDBY", "FormattedNameNode")
    assert (files._storage(standby) / "name/fsimage").read_text() == "files"
    assert (files.exited_daemons(), files.ports) == ([], ports)


def test_stopped_hdfs_is_not_started_again(files: Hdfs, yarn: FakeYarn, until: Until) -> None:
    request(files, until)
    daemons = list(files.daemons.values())
    files.stop()
    assert all(daemon.poll() is not None for daemon in daemons)
    yarn.started.clear()
    files._answer_request()
    files.restart(ExitedDaemon("NameNode", yarn.cluster.primary, 137))
    assert yarn.started == []


def test_nodes_added_later_get_a_data_node_unless_they_are_task_nodes(
    files: Hdfs, yarn: FakeYarn, until: Until
) -> None:
    task, core = emulated_cluster(workers=2).workers
    task.group = InstanceGroup(role="TASK", instance_type="m5.xlarge", count=1, request={})
    task.ec2_id, core.ec2_id = "i-TASK0", "i-CORE2"
    yarn.cluster.nodes += [task, core]
    files.add_nodes([task, core])
    assert yarn.started == []
    yarn.cluster.nodes = yarn.cluster.nodes[:-2]
    request(files, until)
    yarn.started.clear()
    yarn.cluster.nodes += [task, core]
    files.add_nodes([task, core])
    assert yarn.started == [("i-CORE2", "DataNode")]
    process = next(one for (node, _), one in files.daemons.items() if node == "i-CORE2")
    files.remove_nodes([core])
    assert process.poll() is not None


def test_node_that_joins_while_hdfs_starts_gets_one_data_node(
    files: Hdfs, yarn: FakeYarn, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = emulated_cluster(workers=2).workers
    early.ec2_id, late.ec2_id = "i-EARLY", "i-LATE"
    yarn.cluster.nodes += [early, late]
    # Ready before HDFS starts, but reported to it only now.
    files.add_nodes([early])
    waiting = threading.Event()
    wait = Hdfs._wait_for_starts

    def join_first(self: Hdfs, before: Any) -> None:
        if not waiting.is_set():
            waiting.set()
            assert ("i-LATE", "DataNode") not in yarn.started  # it still bootstraps
            self.add_nodes([late])
        wait(self, before)

    monkeypatch.setattr(Hdfs, "_wait_for_starts", join_first)
    request(files, until)
    data_nodes = [node for node, daemon in yarn.started if daemon == "DataNode"]
    assert sorted(data_nodes) == ["i-CORE0", "i-CORE1", "i-EARLY", "i-LATE"]


def test_requests_are_answered_after_an_error_of_the_disk(
    files: Hdfs, yarn: FakeYarn, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, errors = hdfs._write, [OSError("no space left on device")] * 2

    def fail(path: Path, text: str) -> None:
        if errors:
            raise errors.pop()
        write(path, text)

    monkeypatch.setattr(hdfs, "_write", fail)
    request(files, until)
    assert (errors, files.running) == ([], True)


@pytest.mark.parametrize(("workers", "nodes", "replicas"), [(0, 1, 1), (3, 3, 1), (4, 4, 2)])
def test_data_nodes_and_replication_are_those_of_emr(
    workers: int, nodes: int, replicas: int
) -> None:
    cluster = emulated_cluster(workers=workers)
    assert len(hdfs_conf.data_nodes(cluster)) == nodes
    assert hdfs_conf.client(cluster, Path("/x"))["dfs.replication"] == str(replicas)
    own = classification("hdfs-site", dfs__replication="7")
    assert hdfs_conf.client(emulated_cluster(own), Path("/x"))["dfs.replication"] == "7"


def test_daemons_accept_the_secret_user_only_and_listen_on_loopback(tmp_path: Path) -> None:
    ports = hdfs_conf.HdfsPorts(rpc=20001, web=20002)
    opened = classification("hdfs-site", dfs__block__access__token__enable="false")
    cluster = emulated_cluster(opened)
    site = hdfs_conf.daemon(cluster, cluster.primary, ports, tmp_path)
    assert site["dfs.block.access.token.enable"] == "true"
    addresses = [value for key, value in site.items() if key.endswith(("address", "bind-host"))]
    assert len(addresses) == 7
    assert all(address.startswith("127.0.0.1") for address in addresses)
    credentials = YarnCredentials(signing_key=tmp_path / "signing", user="kabc@def")
    core = hdfs_conf.daemon_core_site({"fs.defaultFS": "hdfs://q:8020"}, credentials, ports)
    assert core["fs.defaultFS"] == "hdfs://127.0.0.1:20001"
    assert core["hadoop.security.authorization"] == "true"
    open_to_all = {name for name, users in hdfs_conf.policy().items() if users == "*"}
    assert open_to_all == {"security.client.datanode.protocol.acl"}
    assert set(hdfs_conf.policy().values()) == {"*", hadoop_conf.YARN_USER}


def test_class_of_clients_is_compiled_for_the_installed_spark() -> None:
    folder = hdfs_classes.client_class_path(hadoop_jars.spark_home())
    assert (folder / "emrctl/LocalNameNode.class").is_file()
    assert hdfs_classes.client_class_path(hadoop_jars.spark_home()) == folder
