"""Nodes: each instance of a cluster is a folder with a home, a Python and programs of its own.

Nothing is isolated: what runs on a node runs with the rights of the user who started the
emulator. The folder only sees to it that one node's files and packages are not another's.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode
from emrctl.emulator.hadoop import hadoop_jars
from emrctl.emulator.server import processes

SHIMS: Mapping[str, tuple[str, ...]] = {
    "sudo": ("sudo",),
    "refuse": ("shutdown", "reboot", "halt", "poweroff"),
    "spark": (
        *("spark-submit", "spark-sql", "spark-shell", "spark-class", "spark-example"),
        *("pyspark", "beeline"),
    ),
    "hadoop": ("hadoop", "hdfs", "yarn"),
    "unavailable": (
        *("s3-dist-cp", "hive", "hive-script", "pig", "pig-script", "hadoop-streaming"),
        *("state-pusher-script", "mapred", "presto-cli", "trino-cli", "flink", "hbase"),
        *("yum", "dnf", "apt", "apt-get", "rpm", "amazon-linux-extras", "systemctl", "service"),
        *("useradd", "usermod", "groupadd", "mount", "umount", "restart", "initctl"),
    ),
}

# What a node takes over from the emulator's environment: how to reach the network, no secrets.
_KEPT = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"),
    *("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "TZ"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CACHE_DIR"),
)
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class EmulatorContext:
    """Where the emulator that a node belongs to has its files, and where it answers."""

    home: Path
    emulator_id: str
    endpoint: str
    credentials: Path

    def cluster(self, cluster: EmulatedCluster) -> Path:
        """The cluster's folder."""
        return self.home / "clusters" / cluster.id

    def node(self, cluster: EmulatedCluster, node: EmulatedNode) -> Path:
        """The node's folder."""
        return self.cluster(cluster) / "nodes" / node.ec2_id

    def instance(self, instance_id: str) -> Path:
        """The folder of an EC2 instance that is no cluster's node."""
        return self.home / "instances" / instance_id


def prepare(place: EmulatorContext, cluster: EmulatedCluster, node: EmulatedNode) -> None:
    """The node's folder has a home, room for logs, a Python, shims, and says whose node it is."""
    root = place.node(cluster, node)
    for name in ("mnt/var/lib/info", "mnt/var/log", "containers", "conf"):
        (root / name).mkdir(parents=True, exist_ok=True)
    furnish(root, cluster.region, SHIMS)
    _write_facts(cluster, node, root / "mnt/var/lib/info")


def furnish(root: Path, region: str, shims: Mapping[str, tuple[str, ...]]) -> None:
    """The folder has a home, a Python and these shims, whatever kind of node it is."""
    for name in ("home", "tmp", "bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    # Not the user's own: Java's SDK would look there, whatever HOME says.
    (root / "aws-config").write_text(f"[default]\nregion = {region}\n", encoding="utf-8")
    _write_shims(root / "bin", shims)
    _make_python(root / "venv")


def _write_shims(folder: Path, shims: Mapping[str, tuple[str, ...]]) -> None:
    source = Path(__file__).with_name("shims")
    for shim, names in shims.items():
        for name in names:
            target = folder / name
            shutil.copyfile(source / shim, target)
            target.chmod(0o755)


def _make_python(folder: Path) -> None:
    """`python3` of the running version, which sees its packages and takes more with --user.

    pip refuses --user inside a virtual environment unless that one sees the system's packages.
    """
    builder = venv.EnvBuilder(system_site_packages=True, symlinks=True, with_pip=False)
    builder.create(folder)
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site_packages = folder / "lib" / version / "site-packages"
    (site_packages / "emrctl_running.pth").write_text(
        "".join(f"{path}\n" for path in sorted(paths)), encoding="utf-8"
    )
    link = folder / "bin" / version
    if not link.exists():
        link.symlink_to("python3")


def _write_facts(cluster: EmulatedCluster, node: EmulatedNode, folder: Path) -> None:
    instance = {
        "isMaster": node.primary,
        "instanceGroupId": node.group.id,
        "clusterId": cluster.id,
        "instanceId": node.ec2_id,
        "instanceRole": node.group.role.lower(),
        "local": True,
    }
    primary = cluster.primary
    job_flow = {
        "jobFlowId": cluster.id,
        "jobFlowCreationInstant": int(cluster.times.created * 1000),
        "instanceCount": len(cluster.live_nodes),
        "masterInstanceId": primary.ec2_id,
        "masterPrivateDnsName": primary.private_dns,
        "masterInstanceType": primary.group.instance_type,
        "releaseLabel": cluster.request.get("ReleaseLabel"),
        "instanceGroups": [
            {
                "instanceGroupId": group.id,
                "instanceGroupName": group.request.get("Name", group.role.title()),
                "instanceRole": group.role.title(),
                "instanceType": group.instance_type,
                "requestedInstanceCount": group.count,
                "marketType": group.request.get("Market", "ON_DEMAND"),
            }
            for group in cluster.groups
        ],
    }
    for name, facts in (("instance", instance), ("job-flow", job_flow)):
        (folder / f"{name}.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")


def environment(
    place: EmulatorContext, cluster: EmulatedCluster, node: EmulatedNode
) -> dict[str, str]:
    """The environment of whatever runs on the node. No secret is in it, only where they lie."""
    seat = Seat(root=place.node(cluster, node), user="hadoop", region=cluster.region)
    return common_environment(place, seat) | {
        "EMR_CLUSTER_ID": cluster.id,
        processes.CLUSTER_MARK: cluster.id,
    }


@dataclass(frozen=True, kw_only=True)
class Seat:
    """Where programs sit: a node's folder, the user they see, their region and address."""

    root: Path
    user: str
    region: str
    address: str = "127.0.0.1"


def common_environment(place: EmulatorContext, seat: Seat) -> dict[str, str]:
    """What programs find in their environment on any node, EMR's or a plain EC2 instance."""
    root, home = seat.root, hadoop_jars.java_home()
    path = f"{root / 'bin'}:{root / 'venv/bin'}:{root / 'home/.local/bin'}"
    direct = ",".join(dict.fromkeys(("127.0.0.1", "localhost", seat.address)))
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {
        "PATH": f"{path}:{home / 'bin'}:{_SYSTEM_PATH}",
        "HOME": str(root / "home"),
        "USER": seat.user,
        "LOGNAME": seat.user,
        "SHELL": "/bin/bash",
        "TMPDIR": str(root / "tmp"),
        # Without these, Java's and Python's arguments lose what is not ASCII.
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "JAVA_HOME": str(home),
        "SPARK_LOCAL_IP": seat.address,
        "no_proxy": direct,
        "NO_PROXY": direct,
        "AWS_SHARED_CREDENTIALS_FILE": str(place.credentials),
        "AWS_CREDENTIAL_PROFILES_FILE": str(place.credentials),
        "AWS_CONFIG_FILE": str(root / "aws-config"),
        "AWS_ENDPOINT_URL": place.endpoint,
        "AWS_REGION": seat.region,
        "AWS_DEFAULT_REGION": seat.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "EMRCTL_NODE_ROOT": str(root),
        processes.EMULATOR_MARK: place.emulator_id,
    }


def python_of(wanted: str) -> str:
    """What a node calls the Python that EMR has at that path."""
    name = wanted.rsplit("/", 1)[-1]
    known = ("python", "python3", f"python3.{sys.version_info.minor}")
    return name if name in known else "python3"
