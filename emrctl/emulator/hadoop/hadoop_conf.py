"""Hadoop's configuration of a cluster: EMR's values, the user's, and what keeps others out.

Two versions of it exist. The daemons' knows the secret name under which alone YARN may be spoken
to; the clients' does not, because Spark writes its Hadoop settings into its event log.

Hadoop without Kerberos believes whatever name a caller gives. So the name itself is the secret: a
caller who calls himself by it is mapped to the user that the daemons serve, and one who gives
that user's own name is mapped to nobody. What shows in paths, pages and process lists is the
mapped name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from emrctl.aws import instance_types
from emrctl.emulator.cluster.model import EmulatedCluster
from emrctl.emulator.hadoop import auth

SERVED = "hadoop@emr"
_CALCULATOR = "org.apache.hadoop.yarn.util.resource.DefaultResourceCalculator"

# What containers may see of a NodeManager's environment.
_WHITELIST = (
    *("JAVA_HOME", "LANG", "LC_ALL", "TZ", "SPARK_LOCAL_IP", "SPARK_HOME", "TMPDIR"),
    *("HOME", "no_proxy", "NO_PROXY", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
    *("AWS_CREDENTIAL_PROFILES_FILE", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_EC2_METADATA_DISABLED", "EMRCTL_EMULATOR", "EMRCTL_CLUSTER", "EMRCTL_NODE_ROOT"),
)


@dataclass(frozen=True, kw_only=True)
class YarnPorts:
    """Where a ResourceManager listens on loopback."""

    client: int
    scheduler: int
    tracker: int
    admin: int
    web: int


@dataclass(frozen=True, kw_only=True)
class YarnCredentials:
    """The file that signs cookies, and the name that YARN listens to."""

    signing: Path
    name: str


def classification(cluster: EmulatedCluster, name: str) -> dict[str, str]:
    """The user's properties for one of EMR's classifications, the group's own left out."""
    found: dict[str, str] = {}
    for one in cluster.request.get("Configurations", []):
        if one.get("Classification") == name:
            found |= one.get("Properties", {})
    return found


def exports(cluster: EmulatedCluster, name: str) -> dict[str, str]:
    """The user's environment variables for one of EMR's `…-env` classifications."""
    found: dict[str, str] = {}
    for one in cluster.request.get("Configurations", []):
        if one.get("Classification") == name:
            for inner in one.get("Configurations", []):
                if inner.get("Classification") == "export":
                    found |= inner.get("Properties", {})
    return found


def core_site(cluster: EmulatedCluster, endpoint: str, folder: Path) -> dict[str, str]:
    """core-site.xml: `s3://` is S3A on the emulator, and there is no HDFS."""
    s3a = "org.apache.hadoop.fs.s3a.S3AFileSystem"
    ours = {
        "fs.defaultFS": "file:///",
        "hadoop.tmp.dir": str(folder / "tmp"),
        "fs.s3.impl": s3a,
        "fs.s3n.impl": s3a,
        "fs.s3a.impl": s3a,
        "fs.AbstractFileSystem.s3.impl": "org.apache.hadoop.fs.s3a.S3A",
        "fs.AbstractFileSystem.s3a.impl": "org.apache.hadoop.fs.s3a.S3A",
        "fs.s3a.endpoint": endpoint,
        "fs.s3a.endpoint.region": cluster.region,
        "fs.s3a.path.style.access": "true",
        "fs.s3a.connection.ssl.enabled": "false",
        "fs.s3a.aws.credentials.provider": "com.amazonaws.auth.profile.ProfileCredentialsProvider",
        "hadoop.security.auth_to_local.mechanism": "mit",
        "hadoop.security.auth_to_local": f"RULE:[1:$1@$0](.*@.*)s/.*/{SERVED}/ DEFAULT",
        "ipc.client.connect.retry.interval": "100",
    }
    return classification(cluster, "core-site") | ours


def daemon_core_site(client: Mapping[str, str], secrets: YarnCredentials) -> dict[str, str]:
    """core-site.xml of the daemons: only the secret name is served, and only a cookie opens."""
    rules = (
        f"RULE:[1:$1@$0]({secrets.name})s/.*/{SERVED}/ "
        "RULE:[1:$1@$0](.*@.*)s/.*/nobody/ RULE:[2:$1@$0](.*)s/.*/nobody/ DEFAULT"
    )
    return {
        **client,
        "hadoop.security.auth_to_local": rules,
        "hadoop.security.authorization": "true",
        "hadoop.http.filter.initializers": (
            "org.apache.hadoop.security.AuthenticationFilterInitializer"
        ),
        **auth.settings(secrets.signing, "hadoop.http.authentication."),
    }


def policy() -> dict[str, str]:
    """hadoop-policy.xml: who may use which protocol. Containers prove themselves by tokens."""
    served = ("applicationclient", "resourcemanager-administration", "resourcetracker")
    internal = ("collector-nodemanager", "distributedscheduling", "applicationhistory")
    tokens = ("applicationmaster", "containermanagement", "resourcelocalizer")
    return {
        **{f"security.{name}.protocol.acl": SERVED for name in (*served, *internal)},
        **{f"security.{name}.protocol.acl": "*" for name in tokens},
        "security.service.authorization.default.acl": SERVED,
    }


def yarn_site(cluster: EmulatedCluster, ports: YarnPorts, folder: Path) -> dict[str, str]:
    """yarn-site.xml of the cluster; what keeps others out is not the user's to change."""
    sizes = [instance_types.instance_type(node.group.instance_type) for node in cluster.workers]
    sizes = sizes or [instance_types.instance_type(cluster.primary.group.instance_type)]
    emr = {
        "yarn.scheduler.minimum-allocation-mb": str(instance_types.YARN_MINIMUM_ALLOCATION_MB),
        "yarn.scheduler.maximum-allocation-mb": str(max(size.yarn_mb for size in sizes)),
        "yarn.scheduler.maximum-allocation-vcores": "128",
        "yarn.nodemanager.vmem-check-enabled": "false",
        "yarn.nodemanager.container-monitor.interval-ms": "500",
        "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": "200",
        "yarn.nodemanager.sleep-delay-before-sigkill.ms": "5000",
        "yarn.node-labels.fs-store.root-dir": f"file://{folder / 'node-labels'}",
        "yarn.node-attribute.fs-store.root-dir": f"file://{folder / 'node-attributes'}",
    }
    return emr | classification(cluster, "yarn-site") | _addresses(ports) | _closed()


def _addresses(ports: YarnPorts) -> dict[str, str]:
    named = {
        "address": ports.client,
        "scheduler.address": ports.scheduler,
        "resource-tracker.address": ports.tracker,
        "admin.address": ports.admin,
        "webapp.address": ports.web,
    }
    return {
        "yarn.resourcemanager.hostname": "127.0.0.1",
        "yarn.resourcemanager.bind-host": "127.0.0.1",
        **{f"yarn.resourcemanager.{key}": f"127.0.0.1:{port}" for key, port in named.items()},
        "yarn.resourcemanager.connect.retry-interval.ms": "200",
    }


def _closed() -> dict[str, str]:
    return {
        "yarn.acl.enable": "true",
        "yarn.admin.acl": SERVED,
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


def node_manager(
    yarn: Mapping[str, str], root: Path, instance_type: str, path: str
) -> dict[str, str]:
    """yarn-site.xml of the NodeManager in that folder, as big as EMR makes it."""
    size = instance_types.instance_type(instance_type)
    here = "127.0.0.1:0"
    defaults = {
        "yarn.nodemanager.resource.memory-mb": str(size.yarn_mb),
        "yarn.nodemanager.resource.cpu-vcores": str(size.vcpus),
    }
    return {
        **defaults,
        **yarn,
        "yarn.nodemanager.hostname": "127.0.0.1",
        "yarn.nodemanager.bind-host": "127.0.0.1",
        "yarn.nodemanager.address": here,
        "yarn.nodemanager.localizer.address": here,
        "yarn.nodemanager.webapp.address": here,
        "yarn.nodemanager.collector-service.address": here,
        "yarn.nodemanager.local-dirs": str(root / "yarn"),
        "yarn.nodemanager.log-dirs": str(root / "containers"),
        "yarn.nodemanager.user-home-dir": str(root / "home"),
        "yarn.nodemanager.env-whitelist": ",".join(_WHITELIST),
        # A whitelisted variable gives way to one that is set, and bash sets a PATH of its own.
        "yarn.nodemanager.admin-env": f"MALLOC_ARENA_MAX=$MALLOC_ARENA_MAX,PATH={path}",
        "yarn.nodemanager.log.retain-seconds": "604800",
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "100",
    }


def capacity_scheduler(cluster: EmulatedCluster) -> dict[str, str]:
    """capacity-scheduler.xml: one queue, and memory alone decides, as on EMR."""
    return {
        "yarn.scheduler.capacity.root.queues": "default",
        "yarn.scheduler.capacity.root.default.capacity": "100",
        "yarn.scheduler.capacity.maximum-am-resource-percent": "0.5",
        "yarn.scheduler.capacity.resource-calculator": _CALCULATOR,
        **classification(cluster, "capacity-scheduler"),
    }


def xml(properties: Mapping[str, str]) -> str:
    """A configuration file of Hadoop's."""
    rows = "".join(
        f"  <property><name>{escape(name)}</name><value>{escape(str(value))}</value></property>\n"
        for name, value in sorted(properties.items())
    )
    return f'<?xml version="1.0"?>\n<configuration>\n{rows}</configuration>\n'


def log4j() -> str:
    """The daemons' logging: to their standard output, without Jersey's chatter."""
    return (
        "log4j.rootLogger=INFO,out\n"
        "log4j.appender.out=org.apache.log4j.ConsoleAppender\n"
        "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
        "log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n\n"
    )


def write(folder: Path, files: Iterable[tuple[str, Mapping[str, str]]]) -> None:
    """The files of configuration lie in the folder, for the user's eyes alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, properties in files:
        path = folder / name
        path.write_text(xml(properties), encoding="utf-8")
        path.chmod(0o600)
