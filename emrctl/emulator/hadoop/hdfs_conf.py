"""hdfs-site.xml of a cluster's clients and daemons.

RPC is protected as YARN's is: the NameNode accepts one random, secret user name. Clients read it
from a file of mode 600 (hdfs_classes). Blocks are read and written with tokens of the NameNode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode
from emrctl.emulator.hadoop import hadoop_conf, hdfs_classes
from emrctl.emulator.hadoop.hadoop_conf import YARN_USER, YarnCredentials

SUPERGROUP = "hdfsadmingroup"


@dataclass(frozen=True, kw_only=True)
class HdfsPorts:
    """Ports of a NameNode on 127.0.0.1."""

    rpc: int
    web: int


def data_nodes(cluster: EmulatedCluster) -> list[EmulatedNode]:
    """Return the nodes with a DataNode: core nodes, or the primary of a single-node cluster."""
    core = [node for node in cluster.workers if node.group.role == "CORE"]
    return core or [cluster.primary]


def replication(cluster: EmulatedCluster) -> int:
    """Return dfs.replication of EMR: 1 for up to 3 core nodes, 2 for up to 9, then 3."""
    count = len(data_nodes(cluster))
    return 1 if count < 4 else 2 if count < 10 else 3


def client(cluster: EmulatedCluster, folder: Path) -> dict[str, str]:
    """Return hdfs-site.xml of clients; `folder` is the one that hdfs_classes reads."""
    provider = f"dfs.client.failover.proxy.provider.{hadoop_conf.name_node_host(cluster)}"
    return {
        "dfs.replication": str(replication(cluster)),
        **hadoop_conf.classification(cluster, "hdfs-site"),
        provider: hdfs_classes.CLIENT,
        "emrctl.hdfs.folder": str(folder),
    }


def daemon_core_site(
    core: Mapping[str, str], credentials: YarnCredentials, ports: HdfsPorts
) -> dict[str, str]:
    """Return core-site.xml of HDFS's daemons; `core` is the clients'."""
    return {
        **hadoop_conf.daemon_core_site(core, credentials),
        "fs.defaultFS": f"hdfs://127.0.0.1:{ports.rpc}",
        # Otherwise the NameNode asks the system for the groups of a user that it does not have.
        "hadoop.user.group.static.mapping.overrides": f"{YARN_USER}={SUPERGROUP}",
    }


def policy() -> dict[str, str]:
    """Return hadoop-policy.xml; clients of DataNodes authenticate with tokens of blocks."""
    return {
        "security.service.authorization.default.acl": YARN_USER,
        **{
            f"security.{name}.protocol.acl": YARN_USER
            for name in ("client", "datanode", "inter.datanode", "namenode", "ha.service")
        },
        "security.client.datanode.protocol.acl": "*",
    }


def daemon(
    cluster: EmulatedCluster, node: EmulatedNode, ports: HdfsPorts, storage: Path
) -> dict[str, str]:
    """Return hdfs-site.xml of a node's NameNode or DataNode, whose files are in `storage`."""
    any_port = "127.0.0.1:0"
    namenode = f"127.0.0.1:{ports.rpc}"
    return {
        "dfs.replication": str(replication(cluster)),
        **hadoop_conf.classification(cluster, "hdfs-site", node),
        "dfs.namenode.name.dir": f"file://{storage / 'name'}",
        "dfs.namenode.rpc-address": namenode,
        "dfs.namenode.rpc-bind-host": "127.0.0.1",
        "dfs.namenode.http-address": f"127.0.0.1:{ports.web}",
        "dfs.namenode.http-bind-host": "127.0.0.1",
        # A restarted NameNode is available as soon as the DataNodes have reported their blocks.
        "dfs.namenode.safemode.extension": "0",
        "dfs.permissions.superusergroup": SUPERGROUP,
        "dfs.datanode.data.dir": f"file://{storage / 'data'}",
        "dfs.datanode.address": any_port,
        "dfs.datanode.ipc.address": any_port,
        "dfs.datanode.http.address": any_port,
        "dfs.block.access.token.enable": "true",
        "dfs.http.policy": "HTTP_ONLY",
    }
