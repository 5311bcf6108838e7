"""Hadoop's configuration files: EMR's values, the user's, and access control.

RPC: Hadoop without Kerberos trusts any user name that a client sends. YARN's configuration maps one
random, secret name to the user with access, and every other name to `nobody`. The daemons' files
contain the secret name. The clients' files do not, because Spark writes its Hadoop settings to the
event log. `YARN_USER`, to which the secret name is mapped, is the name in paths, web UIs and
process lists.

Web UIs: Hadoop's authentication filter is enabled with LDAP and a server that does not exist, so
that logging in is impossible. The filter still accepts the cookie it would set after a login,
signed with a key in a file of mode 600. The emulator reads that key and creates cookies for its
user. Their user, `viewer`, may not submit or kill applications: browsers send cookies to all ports
of a host, so that another page on this machine might see the cookie.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from emrctl.aws import instance_types
from emrctl.emulator.cluster.model import MASTER, EmulatedCluster, EmulatedNode, InstanceGroup

Configured = InstanceGroup | EmulatedNode

YARN_USER = "hadoop@emr"
# The name of the secret user in clients: in Spark's pages and in home folders on HDFS.
CLIENT_USER = "hadoop"
# EMR's port of the NameNode in addresses; clients here connect to another one.
NAME_NODE_PORT = 8020
VIEWER = "viewer"
# S3A's classes that read the credentials file, of the AWS SDKs of Hadoop 3.3 and Hadoop 3.4.
SDK_1_CREDENTIALS = "com.amazonaws.auth.profile.ProfileCredentialsProvider"
SDK_2_CREDENTIALS = "software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider"
_COOKIE_LIFETIME_S = 12 * 3600
# Logs are uploaded to the bucket; these loggers write the name of the secret user per request.
LOG4J = """\
log4j.rootLogger=INFO,out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n
log4j.logger.org.apache.hadoop.yarn.server.resourcemanager.RMAuditLogger=OFF
log4j.logger.org.apache.hadoop.hdfs.server.namenode.FSNamesystem.audit=OFF
log4j.logger.SecurityLogger=WARN
"""
_CALCULATOR = "org.apache.hadoop.yarn.util.resource.DefaultResourceCalculator"

# Variables of the NodeManager that containers inherit.
_WHITELIST = (
    *("JAVA_HOME", "LANG", "LC_ALL", "TZ", "SPARK_LOCAL_IP", "SPARK_HOME", "TMPDIR"),
    *("HOME", "no_proxy", "NO_PROXY", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
    *("AWS_CREDENTIAL_PROFILES_FILE", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_EC2_METADATA_DISABLED", "EMRCTL_EMULATOR", "EMRCTL_CLUSTER", "EMRCTL_NODE_ROOT"),
)
_ACCESS_CONTROL = {
    "yarn.acl.enable": "true",
    "yarn.admin.acl": YARN_USER,
    "yarn.webapp.enable-rest-app-submissions": "false",
    "yarn.webapp.api-service.enable": "false",
    "yarn.webapp.ui2.enable": "false",
    "yarn.resourcemanager.webapp.ui-actions.enabled": "false",
    "yarn.resourcemanager.webapp.rest-csrf.enabled": "true",
    "yarn.nodemanager.webapp.rest-csrf.enabled": "true",
    "yarn.http.policy": "HTTP_ONLY",
    "yarn.log-aggregation-enable": "false",
    "yarn.timeline-service.enabled": "false",
}


@dataclass(frozen=True, kw_only=True)
class YarnPorts:
    """Ports of a ResourceManager on 127.0.0.1."""

    client: int
    scheduler: int
    tracker: int
    admin: int
    web: int


@dataclass(frozen=True, kw_only=True)
class YarnCredentials:
    """The secret user name for YARN's RPC, and the file with the key that signs cookies."""

    signing_key: Path
    user: str


def new_credentials(folder: Path) -> YarnCredentials:
    """Create a random user name and a signing key in `folder`."""
    key = folder / "signing"
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(32), encoding="utf-8")
    user = f"k{secrets.token_hex(12)}@{secrets.token_hex(12)}"
    return YarnCredentials(signing_key=key, user=user)


def filter_settings(signing_key: Path, prefix: str) -> dict[str, str]:
    """Return the properties of the authentication filter, with this prefix."""
    return {
        f"{prefix}type": "ldap",
        f"{prefix}ldap.providerurl": "ldap://127.0.0.1:1",
        f"{prefix}ldap.basedn": "dc=nobody",
        f"{prefix}signature.secret.file": str(signing_key),
        f"{prefix}cookie.path": "/",
    }


def cookie(signing_key: Path, user: str = VIEWER) -> str:
    """Return the cookie `hadoop.auth="…"` of a user, valid for 12 hours."""
    expires_ms = int((time.time() + _COOKIE_LIFETIME_S) * 1000)
    text = f"u={user}&p={user}&t=ldap&e={expires_ms}"
    mac = hmac.new(signing_key.read_bytes(), text.encode(), hashlib.sha256).digest()
    return f'hadoop.auth="{text}&s={base64.b64encode(mac).decode()}"'


def _configurations(
    cluster: EmulatedCluster, name: str, owner: Configured | None
) -> list[dict[str, Any]]:
    """Return the user's configurations with this classification, the cluster's first."""
    primaries: list[Configured] = [node for node in cluster.active_nodes if node.primary]
    primaries += [one for one in cluster.groups if one.role == MASTER]
    owner = owner or next(iter(primaries), None)
    own = owner.configurations if owner else []
    configurations = [*cluster.request.get("Configurations", []), *own]
    return [one for one in configurations if one.get("Classification") == name]


def classification(
    cluster: EmulatedCluster, name: str, owner: Configured | None = None
) -> dict[str, str]:
    """Return the user's properties of a configuration classification.

    Those of the instance group or node (default the primary) override those of the cluster.
    """
    properties: dict[str, str] = {}
    for configuration in _configurations(cluster, name, owner):
        properties |= configuration.get("Properties", {})
    return properties


def exports(cluster: EmulatedCluster, name: str, owner: Configured | None = None) -> dict[str, str]:
    """Return the environment variables that the user exports in an `…-env` classification."""
    return {
        key: value
        for configuration in _configurations(cluster, name, owner)
        for nested in configuration.get("Configurations", [])
        if nested.get("Classification") == "export"
        for key, value in nested.get("Properties", {}).items()
    }


def daemon_environment(cluster: EmulatedCluster, owner: Configured) -> dict[str, str]:
    """Return the variables of hadoop-env.sh and yarn-env.sh; JAVA_HOME is the emulator's."""
    variables = exports(cluster, "hadoop-env", owner) | exports(cluster, "yarn-env", owner)
    return {key: value for key, value in variables.items() if key != "JAVA_HOME"}


def daemon_options(environment: Mapping[str, str], name: str) -> list[str]:
    """Return the JVM options that Hadoop's scripts take from the variables of a daemon."""
    prefix = f"{'YARN' if name.endswith('Manager') else 'HADOOP'}_{name.upper()}"
    options = shlex.split(
        " ".join(environment.get(key, "") for key in ("HADOOP_OPTS", f"{prefix}_OPTS"))
    )
    heap = environment.get(f"{prefix}_HEAPSIZE", "")
    return [*options, *([f"-Xmx{heap}m"] if heap.isdecimal() else [])]


def name_node_host(cluster: EmulatedCluster) -> str:
    """Return the host of the NameNode in addresses: EMR's name with three primary nodes."""
    return "ha-nn-uri" if cluster.highly_available else cluster.primary.private_dns


def core_site(
    cluster: EmulatedCluster,
    endpoint: str,
    folder: Path,
    credentials_provider: str,
    owner: Configured | None = None,
) -> dict[str, str]:
    """Return core-site.xml of clients: `s3://` is S3A on the emulator."""
    s3a = "org.apache.hadoop.fs.s3a.S3AFileSystem"
    properties = {
        "hadoop.tmp.dir": str(folder / "tmp"),
        "fs.s3.impl": s3a,
        "fs.s3n.impl": s3a,
        "fs.s3a.impl": s3a,
        # None for s3: S3A rejects that scheme, and without it Structured Streaming uses fs.s3.impl.
        "fs.AbstractFileSystem.s3a.impl": "org.apache.hadoop.fs.s3a.S3A",
        "fs.s3a.endpoint": endpoint,
        "fs.s3a.endpoint.region": cluster.region,
        "fs.s3a.path.style.access": "true",
        "fs.s3a.connection.ssl.enabled": "false",
        "fs.s3a.aws.credentials.provider": credentials_provider,
        "hadoop.security.auth_to_local.mechanism": "mit",
        "hadoop.security.auth_to_local": f"RULE:[1:$1@$0](.*@.*)s/.*/{CLIENT_USER}/ DEFAULT",
        "ipc.client.connect.retry.interval": "100",
    }
    default = {"fs.defaultFS": f"hdfs://{name_node_host(cluster)}:{NAME_NODE_PORT}"}
    return default | classification(cluster, "core-site", owner) | properties


def daemon_core_site(client: Mapping[str, str], credentials: YarnCredentials) -> dict[str, str]:
    """Return core-site.xml of daemons: it accepts only the secret user name and signed cookies."""
    rules = (
        f"RULE:[1:$1@$0]({credentials.user})s/.*/{YARN_USER}/ "
        "RULE:[1:$1@$0](.*@.*)s/.*/nobody/ RULE:[2:$1@$0](.*)s/.*/nobody/ DEFAULT"
    )
    return {
        **client,
        "fs.defaultFS": "file:///",
        "hadoop.security.auth_to_local": rules,
        "hadoop.security.authorization": "true",
        "hadoop.http.filter.initializers": (
            "org.apache.hadoop.security.AuthenticationFilterInitializer"
        ),
        **filter_settings(credentials.signing_key, "hadoop.http.authentication."),
    }


def policy() -> dict[str, str]:
    """Return hadoop-policy.xml: the users of each protocol. Containers authenticate by token."""
    restricted = ("applicationclient", "resourcemanager-administration", "resourcetracker")
    internal = ("collector-nodemanager", "distributedscheduling", "applicationhistory")
    tokens = ("applicationmaster", "containermanagement", "resourcelocalizer")
    return {
        **{f"security.{name}.protocol.acl": YARN_USER for name in (*restricted, *internal)},
        **{f"security.{name}.protocol.acl": "*" for name in tokens},
        "security.service.authorization.default.acl": YARN_USER,
    }


def yarn_site(
    cluster: EmulatedCluster,
    ports: YarnPorts,
    folder: Path,
    owner: Configured | None = None,
) -> dict[str, str]:
    """Return yarn-site.xml of a node or a group's nodes, by default of the primary.

    The user cannot override addresses and access control.
    """
    sizes = [instance_types.instance_type(node.instance_type) for node in cluster.workers]
    sizes = sizes or [instance_types.instance_type(cluster.primary.instance_type)]
    emr = {
        "yarn.scheduler.minimum-allocation-mb": str(instance_types.YARN_MINIMUM_ALLOCATION_MB),
        "yarn.scheduler.maximum-allocation-mb": str(max(size.yarn_mb for size in sizes)),
        "yarn.scheduler.maximum-allocation-vcores": "128",
        "yarn.nodemanager.vmem-check-enabled": "false",
        # Otherwise YARN leaves containers that exceed their memory to cgroups.
        "yarn.nodemanager.resource.memory.enforced": "false",
        "yarn.nodemanager.container-monitor.interval-ms": "500",
        "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": "200",
        "yarn.nodemanager.sleep-delay-before-sigkill.ms": "5000",
        "yarn.node-labels.fs-store.root-dir": f"file://{folder / 'node-labels'}",
        "yarn.node-attribute.fs-store.root-dir": f"file://{folder / 'node-attributes'}",
    }
    addresses = {
        "yarn.resourcemanager.hostname": "127.0.0.1",
        "yarn.resourcemanager.bind-host": "127.0.0.1",
        "yarn.resourcemanager.address": f"127.0.0.1:{ports.client}",
        "yarn.resourcemanager.scheduler.address": f"127.0.0.1:{ports.scheduler}",
        "yarn.resourcemanager.resource-tracker.address": f"127.0.0.1:{ports.tracker}",
        "yarn.resourcemanager.admin.address": f"127.0.0.1:{ports.admin}",
        "yarn.resourcemanager.webapp.address": f"127.0.0.1:{ports.web}",
        "yarn.resourcemanager.connect.retry-interval.ms": "200",
    }
    return emr | classification(cluster, "yarn-site", owner) | addresses | _ACCESS_CONTROL


def node_manager(
    yarn: Mapping[str, str], root: Path, instance_type: str, path: str, port: int = 0
) -> dict[str, str]:
    """Return yarn-site.xml of a NodeManager, with EMR's memory and cores of the instance type.

    `root` is the node's folder, `path` the PATH of its containers, and `port` the port by which
    YARN identifies it: 0 for a new NodeManager.
    """
    size = instance_types.instance_type(instance_type)
    any_port = "127.0.0.1:0"
    defaults = {
        "yarn.nodemanager.resource.memory-mb": str(size.yarn_mb),
        "yarn.nodemanager.resource.cpu-vcores": str(size.vcpus),
    }
    return {
        **defaults,
        **yarn,
        "yarn.nodemanager.hostname": "127.0.0.1",
        "yarn.nodemanager.bind-host": "127.0.0.1",
        "yarn.nodemanager.address": f"127.0.0.1:{port}",
        "yarn.nodemanager.localizer.address": any_port,
        "yarn.nodemanager.webapp.address": any_port,
        "yarn.nodemanager.collector-service.address": any_port,
        "yarn.nodemanager.local-dirs": str(root / "yarn"),
        "yarn.nodemanager.log-dirs": str(root / "containers"),
        "yarn.nodemanager.user-home-dir": str(root / "home"),
        "yarn.nodemanager.env-whitelist": ",".join(_WHITELIST),
        # The whitelist only applies to variables that are not set, and bash always sets PATH.
        "yarn.nodemanager.admin-env": f"MALLOC_ARENA_MAX=$MALLOC_ARENA_MAX,PATH={path}",
        "yarn.nodemanager.log.retain-seconds": "604800",
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "100",
    }


def capacity_scheduler(cluster: EmulatedCluster) -> dict[str, str]:
    """Return capacity-scheduler.xml: one queue that allocates by memory only, as on EMR."""
    return {
        "yarn.scheduler.capacity.root.queues": "default",
        "yarn.scheduler.capacity.root.default.capacity": "100",
        "yarn.scheduler.capacity.maximum-am-resource-percent": "0.5",
        "yarn.scheduler.capacity.resource-calculator": _CALCULATOR,
        **classification(cluster, "capacity-scheduler"),
    }


def xml(properties: Mapping[str, str]) -> str:
    """Return a Hadoop configuration file."""
    rows = "".join(
        f"  <property><name>{escape(name)}</name><value>{escape(str(value))}</value></property>\n"
        for name, value in sorted(properties.items())
    )
    return f'<?xml version="1.0"?>\n<configuration>\n{rows}</configuration>\n'


def write(folder: Path, files: Iterable[tuple[str, Mapping[str, str]]]) -> None:
    """Write configuration files, readable only by the user (mode 600)."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, properties in files:
        path = folder / name
        path.write_text(xml(properties), encoding="utf-8")
        path.chmod(0o600)
