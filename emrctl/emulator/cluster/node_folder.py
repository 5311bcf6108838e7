"""Node folders: the home, Python and programs of each instance, and its environment variables.

A node is not isolated: its processes have the rights of the user who started the emulator. The
folder only keeps the files and Python packages of nodes apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from emrctl import paths
from emrctl.aws import releases
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode
from emrctl.emulator.hadoop import hadoop_jars, spark_install
from emrctl.emulator.server import processes

SHIMS: Mapping[str, tuple[str, ...]] = {
    "sudo": ("sudo",),
    "aws": ("aws",),
    "refuse": ("shutdown", "reboot", "halt", "poweroff"),
    "spark": (
        *("spark-submit", "spark-sql", "spark-shell", "spark-class", "spark-example"),
        *("pyspark", "beeline"),
    ),
    "hadoop": ("hadoop", "hdfs", "yarn"),
    "s3-dist-cp": ("s3-dist-cp",),
    "unavailable": (
        *("hive", "hive-script", "pig", "pig-script", "hadoop-streaming"),
        *("state-pusher-script", "mapred", "presto-cli", "trino-cli", "flink", "hbase"),
        *("yum", "dnf", "apt", "apt-get", "rpm", "amazon-linux-extras", "systemctl", "service"),
        *("useradd", "usermod", "groupadd", "mount", "umount", "restart", "initctl"),
    ),
}

# Variables that a node inherits from the emulator: network settings, no credentials.
_INHERITED = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"),
    *("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "TZ"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CACHE_DIR"),
)
# The file that programs touch on the primary so that EMR does not regard the cluster as idle.
BUSY_FILE = "emr/metricscollector/isbusy"
_NODE_PATHS = re.compile(rb"(?<![\w./-])(/mnt/var/lib/info|/emr/metricscollector)(?=/)")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class EmulatorContext:
    """The emulator that a node belongs to: its id, endpoint and files."""

    home: Path
    emulator_id: str
    endpoint: str
    credentials: Path

    def cluster_folder(self, cluster: EmulatedCluster) -> Path:
        """Return the folder of a cluster."""
        return self.home / "clusters" / cluster.id

    def node_folder(self, cluster: EmulatedCluster, node: EmulatedNode) -> Path:
        """Return the folder of a cluster's node."""
        return self.cluster_folder(cluster) / "nodes" / node.ec2_id

    def instance_folder(self, instance_id: str) -> Path:
        """Return the folder of an EC2 instance that is not part of an EMR cluster."""
        return self.home / "instances" / instance_id


def prepare(context: EmulatorContext, cluster: EmulatedCluster, node: EmulatedNode) -> None:
    """Create the folder of a cluster's node, with EMR's instance.json and job-flow.json."""
    root = context.node_folder(cluster, node)
    for name in ("mnt/var/lib/info", "mnt/var/log", "emr/metricscollector", "containers", "conf"):
        (root / name).mkdir(parents=True, exist_ok=True)
    spark = spark_install.of(cluster)
    create(root, cluster.region, SHIMS, spark_install.packages_folder(spark.version))
    hadoop_jars.java_home_of_node(root / "java", spark.oldest_java, create=True)
    python = releases.release(cluster.request["ReleaseLabel"]).python_command
    _link(root / "venv/bin" / python)
    _write_instance_info(cluster, node, root / "mnt/var/lib/info")


def create(
    root: Path, region: str, shims: Mapping[str, tuple[str, ...]], spark: Path | None = None
) -> None:
    """Create a node's folder with a home, a Python environment and shims, for EMR and EC2.

    `spark` is the folder of Spark's Python packages, which need not exist yet.
    """
    for name in ("home", "tmp", "bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    # The AWS SDK for Java finds the user's own file otherwise: it ignores HOME.
    (root / "aws-config").write_text(f"[default]\nregion = {region}\n", encoding="utf-8")
    for source, names in shims.items():
        for name in names:
            target = root / "bin" / name
            shutil.copyfile(Path(__file__).with_name("shims") / source, target)
            target.chmod(0o755)
    _create_venv(root / "venv", spark)


def _create_venv(folder: Path, spark: Path | None) -> None:
    """Create a `python3` that sees the packages of the running one and allows `pip --user`.

    pip rejects --user in a virtual environment without access to the system's packages. The first
    folder with a package is used: Spark's before that of the running Python.
    """
    builder = venv.EnvBuilder(system_site_packages=True, symlinks=True, with_pip=False)
    builder.create(folder)
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    folders = [*([] if spark is None else [str(spark)]), *folders]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site_packages = folder / "lib" / version / "site-packages"
    (site_packages / "emrctl_running.pth").write_text(
        "".join(f"{one}\n" for one in dict.fromkeys(folders)), encoding="utf-8"
    )
    _link(folder / "bin" / version)


def _link(python: Path) -> None:
    """Create another name of a node's `python3`."""
    if not python.exists():
        python.symlink_to("python3")


def _write_instance_info(cluster: EmulatedCluster, node: EmulatedNode, folder: Path) -> None:
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
        "jobFlowCreationInstant": int(cluster.timeline.created * 1000),
        "instanceCount": len(cluster.active_nodes),
        "masterInstanceId": primary.ec2_id,
        "masterPrivateDnsName": primary.private_dns,
        "masterInstanceType": primary.instance_type,
        "releaseLabel": cluster.request.get("ReleaseLabel"),
        "instanceGroups": [
            {
                "instanceGroupId": group.id,
                "instanceGroupName": group.request.get("Name", group.role.title()),
                "instanceRole": group.role.title(),
                "instanceType": group.instance_type,
                "requestedInstanceCount": group.count,
                "marketType": group.market,
            }
            for group in cluster.groups
        ],
    }
    for name, info in (("instance", instance), ("job-flow", job_flow)):
        (folder / f"{name}.json").write_text(json.dumps(info, indent=2), encoding="utf-8")


def adapt_paths(script: bytes, root: Path) -> bytes:
    """Return a script or argument with a node's paths of instance.json and isbusy, not EMR's.

    Only root could create EMR's folders, and all nodes of this machine would share them. The
    script is not changed if the node's path would need quotes in a shell.
    """
    if not re.fullmatch(r"[\w./+-]+", str(root)):
        return script
    return _NODE_PATHS.sub(lambda match: str(root).encode() + match[1], script)


def kill_containers(context: EmulatorContext, cluster: EmulatedCluster, node: EmulatedNode) -> None:
    """Kill the processes of YARN containers on a node."""
    root = str(context.node_folder(cluster, node))
    for process in processes.marked("EMRCTL_NODE_ROOT", root):
        with contextlib.suppress(psutil.Error, OSError):
            if "CONTAINER_ID" in process.environ():
                process.kill()


def environment(
    context: EmulatorContext, cluster: EmulatedCluster, node: EmulatedNode
) -> dict[str, str]:
    """Return the environment variables of processes on a cluster's node, without secrets."""
    root = context.node_folder(cluster, node)
    oldest = spark_install.of(cluster).oldest_java
    java = hadoop_jars.java_home_of_node(root / "java", oldest)
    common = common_environment(context, root=root, user="hadoop", region=cluster.region, java=java)
    return common | {"EMR_CLUSTER_ID": cluster.id, processes.CLUSTER_MARK: cluster.id}


def common_environment(
    context: EmulatorContext,
    *,
    root: Path,
    user: str,
    region: str,
    java: Path,
    address: str = "127.0.0.1",
) -> dict[str, str]:
    """Return the environment variables of processes on any node, of EMR or plain EC2.

    `root` is the node's folder, `java` the folder of Java and `address` the private IP address.
    """
    path = f"{root / 'bin'}:{root / 'venv/bin'}:{root / 'home/.local/bin'}"
    no_proxy = ",".join(dict.fromkeys(("127.0.0.1", "localhost", address)))
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {
        "PATH": f"{path}:{java / 'bin'}:{_SYSTEM_PATH}",
        "HOME": str(root / "home"),
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "TMPDIR": str(root / "tmp"),
        # Without these, Java and Python garble arguments that are not ASCII.
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "JAVA_HOME": str(java),
        "SPARK_LOCAL_IP": address,
        "no_proxy": no_proxy,
        "NO_PROXY": no_proxy,
        "AWS_SHARED_CREDENTIALS_FILE": str(context.credentials),
        "AWS_CREDENTIAL_PROFILES_FILE": str(context.credentials),
        "AWS_CONFIG_FILE": str(root / "aws-config"),
        "AWS_ENDPOINT_URL": context.endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "EMRCTL_NODE_ROOT": str(root),
        "EMRCTL_DOWNLOADS": str(paths.cache()),
        processes.EMULATOR_MARK: context.emulator_id,
    }


def local_python(emr_path: str) -> str:
    """Return the node's name for the Python at this path of EMR's image."""
    name = emr_path.rsplit("/", 1)[-1]
    available = ("python", "python3", f"python3.{sys.version_info.minor}")
    return name if name in available else "python3"
