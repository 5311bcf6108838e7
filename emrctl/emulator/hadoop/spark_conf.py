"""Spark's configuration files: EMR's defaults, settings for localhost, then the user's."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from emrctl.aws import instance_types, spark_conf
from emrctl.aws.instance_types import InstanceType
from emrctl.emulator.cluster import node_folder
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode
from emrctl.emulator.hadoop import hadoop_conf, hadoop_jars, hdfs_classes, ui_filter
from emrctl.emulator.hadoop.spark_install import SparkInstallation

_PYTHON_VARIABLES = ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON")
_PYTHON_PROPERTIES = ("spark.pyspark.python", "spark.pyspark.driver.python")


def defaults(cluster: EmulatedCluster, folder: Path, spark: SparkInstallation) -> dict[str, str]:
    """Return spark-defaults.conf of a cluster; `folder` is the cluster's."""
    user = hadoop_conf.classification(cluster, "spark-defaults")
    maximized = _maximize_resource_allocation(cluster, user)
    emr = _emr_defaults(cluster, user)
    return emr | _localhost(folder, spark) | maximized | _adapt_paths(user)


def _emr_defaults(cluster: EmulatedCluster, user: Mapping[str, str]) -> dict[str, str]:
    nodes = cluster.workers or [cluster.primary]
    size = _smallest_type(nodes)
    return {
        **spark_conf.emr_defaults(size),
        **spark_conf.fitted_executor(size, len(nodes), user),
        "spark.eventLog.enabled": "true",
        "spark.stage.attempt.ignoreOnDecommissionFetchFailure": "true",
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
    }


def _smallest_type(nodes: Sequence[EmulatedNode]) -> InstanceType:
    """Return the type with the least memory for YARN, of which fleets may have several."""
    sizes = [instance_types.instance_type(node.instance_type) for node in nodes]
    return min(sizes, key=lambda size: size.yarn_mb)


def _localhost(folder: Path, spark: SparkInstallation) -> dict[str, str]:
    event_logs = f"file://{folder / 'eventlogs'}"
    executor_class_path = f"{spark.s3a}:{hdfs_classes.client_class_path(spark.home)}"
    java_options = " ".join(hadoop_jars.JVM_OPTIONS)
    return {
        "spark.master": "yarn",
        "spark.eventLog.dir": event_logs,
        "spark.history.fs.logDirectory": event_logs,
        "spark.shuffle.service.enabled": "false",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.yarn.jars": f"local:{spark.home}/jars/*",
        "spark.yarn.stagingDir": f"file://{folder / 'staging'}",
        "spark.sql.warehouse.dir": f"file://{folder / 'warehouse'}",
        # Otherwise every spark-sql creates /tmp/hive on HDFS, and so starts it.
        "spark.hadoop.hive.exec.scratchdir": f"file://{folder / 'scratch'}",
        # Before the JARs of Spark, because it replaces one of their classes.
        "spark.driver.extraClassPath": f"{ui_filter.class_path(spark.home)}:{executor_class_path}",
        "spark.executor.extraClassPath": executor_class_path,
        "spark.driver.extraJavaOptions": java_options,
        "spark.executor.extraJavaOptions": java_options,
        "spark.yarn.am.extraJavaOptions": java_options,
        "spark.ui.port": "0",
        "spark.ui.killEnabled": "false",
        "spark.ui.filters": ui_filter.CLASS,
        "spark.ui.view.acls": hadoop_conf.VIEWER,
        "spark.authenticate": "true",
    }


def _maximize_resource_allocation(
    cluster: EmulatedCluster, user: Mapping[str, str]
) -> dict[str, str]:
    """Return the properties of EMR's maximizeResourceAllocation, if it is on."""
    enabled = hadoop_conf.classification(cluster, "spark").get("maximizeResourceAllocation", "")
    if enabled.lower() != "true" or not cluster.workers:
        return {}
    size = _smallest_type(cluster.workers)
    return spark_conf.maximized(size, len(cluster.workers), user)


def _adapt_paths(user: Mapping[str, str]) -> dict[str, str]:
    """Return the user's properties without paths of EMR's image that do not exist here."""
    properties = {}
    for key, value in user.items():
        if key.endswith(".JAVA_HOME") and not Path(value).is_dir():
            continue
        is_python = key in _PYTHON_PROPERTIES or key.endswith(_PYTHON_VARIABLES)
        missing = is_python and value.startswith("/") and not Path(value).exists()
        properties[key] = node_folder.local_python(value) if missing else value
    return properties


def environment(cluster: EmulatedCluster) -> dict[str, str]:
    """Return the variables of spark-env.sh: the user's, with the node's own Python and Java."""
    variables = {"PYSPARK_PYTHON": "python3"}
    for key, value in hadoop_conf.exports(cluster, "spark-env").items():
        if key == "JAVA_HOME":
            continue
        # /usr/bin/python3 does not see the packages of the node's own Python.
        emr_python = key in _PYTHON_VARIABLES and value.startswith("/usr/")
        variables[key] = node_folder.local_python(value) if emr_python else value
    return variables


def write(cluster: EmulatedCluster, folder: Path, spark: SparkInstallation) -> None:
    """Write Spark's configuration to `conf` in the cluster's folder."""
    conf = folder / "conf"
    for name in ("eventlogs", "staging", "warehouse"):
        (folder / name).mkdir(exist_ok=True)
    lines = [f"{key} {value}\n" for key, value in sorted(defaults(cluster, folder, spark).items())]
    (conf / "spark-defaults.conf").write_text("".join(lines), encoding="utf-8")
    exports = [f"export {key}={shlex.quote(v)}\n" for key, v in environment(cluster).items()]
    (conf / "spark-env.sh").write_text("".join(exports), encoding="utf-8")
    (conf / "log4j2.properties").write_text(_log4j2(cluster), encoding="utf-8")


def _log4j2(cluster: EmulatedCluster) -> str:
    properties = {
        "rootLogger.level": "info",
        "rootLogger.appenderRef.stderr.ref": "console",
        "appender.console.type": "Console",
        "appender.console.name": "console",
        "appender.console.target": "SYSTEM_ERR",
        "appender.console.layout.type": "PatternLayout",
        "appender.console.layout.pattern": "%d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex",
        "logger.jetty.name": "org.sparkproject.jetty",
        "logger.jetty.level": "warn",
        "logger.parquet.name": "org.apache.parquet",
        "logger.parquet.level": "error",
    } | hadoop_conf.classification(cluster, "spark-log4j2")
    return "".join(f"{key} = {value}\n" for key, value in properties.items())
