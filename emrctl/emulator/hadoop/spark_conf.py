"""Spark's configuration of a cluster: EMR's defaults, what localhost needs, the user's on top."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from emrctl.aws import instance_types
from emrctl.emulator.cluster import node_folder
from emrctl.emulator.cluster.model import EmulatedCluster
from emrctl.emulator.hadoop import auth, hadoop_conf, hadoop_jars
from emrctl.emulator.hadoop.hadoop_jars import HadoopJars

_JVM = " ".join(hadoop_jars.JVM_OPTIONS)


def defaults(cluster: EmulatedCluster, folder: Path, hadoop: HadoopJars) -> dict[str, str]:
    """spark-defaults.conf of the cluster in that folder."""
    user = hadoop_conf.classification(cluster, "spark-defaults")
    return _emr(cluster) | _local(folder, hadoop) | _maximized(cluster, user) | _adapted(user)


def _emr(cluster: EmulatedCluster) -> dict[str, str]:
    size = instance_types.instance_type(
        (cluster.workers or [cluster.primary])[0].group.instance_type
    )
    return {
        "spark.dynamicAllocation.enabled": "true",
        "spark.executor.cores": str(size.executor_cores),
        "spark.executor.memory": f"{size.executor_memory_mb}M",
        "spark.executor.memoryOverheadFactor": str(instance_types.MEMORY_OVERHEAD_FACTOR),
        "spark.driver.memory": "2048M",
        "spark.eventLog.enabled": "true",
        "spark.stage.attempt.ignoreOnDecommissionFetchFailure": "true",
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
    }


def _local(folder: Path, hadoop: HadoopJars) -> dict[str, str]:
    events = f"file://{folder / 'eventlogs'}"
    options = dict.fromkeys(
        (f"spark.{who}.extraJavaOptions" for who in ("driver", "executor", "yarn.am")), _JVM
    )
    return {
        "spark.master": "yarn",
        "spark.eventLog.dir": events,
        "spark.history.fs.logDirectory": events,
        "spark.shuffle.service.enabled": "false",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.yarn.jars": f"local:{hadoop_jars.spark_home()}/jars/*",
        "spark.yarn.stagingDir": f"file://{folder / 'staging'}",
        "spark.sql.warehouse.dir": f"file://{folder / 'warehouse'}",
        "spark.driver.extraClassPath": hadoop.s3a,
        "spark.executor.extraClassPath": hadoop.s3a,
        "spark.ui.port": "0",
        "spark.ui.killEnabled": "false",
        "spark.ui.view.acls": auth.VIEWER,
        "spark.authenticate": "true",
        **options,
    }


def _maximized(cluster: EmulatedCluster, user: Mapping[str, str]) -> dict[str, str]:
    """EMR's maximizeResourceAllocation: one executor for each worker, with all that it has."""
    asked = hadoop_conf.classification(cluster, "spark").get("maximizeResourceAllocation", "")
    if asked.lower() != "true" or not cluster.workers:
        return {}
    size = instance_types.instance_type(cluster.workers[0].group.instance_type)
    memory_mb = int(size.yarn_mb * 11 / 12 / (1 + instance_types.MEMORY_OVERHEAD_FACTOR))
    count = len(cluster.workers)
    found = {
        "spark.executor.cores": str(size.vcpus),
        "spark.executor.memory": f"{memory_mb}M",
        "spark.default.parallelism": str(2 * size.vcpus * count),
    }
    if user.get("spark.dynamicAllocation.enabled", "").lower() == "true":
        return found
    return found | {
        "spark.executor.instances": str(count),
        "spark.dynamicAllocation.enabled": "false",
    }


_PYTHONS = ("spark.pyspark.python", "spark.pyspark.driver.python")


def _adapted(user: Mapping[str, str]) -> dict[str, str]:
    """The user's settings, but for paths of EMR's image that this machine does not have."""
    found = {}
    for key, value in user.items():
        if key.endswith(".JAVA_HOME") and not Path(value).is_dir():
            continue
        python = key in _PYTHONS or key.endswith(("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"))
        absent = python and value.startswith("/") and not Path(value).exists()
        found[key] = node_folder.python_of(value) if absent else value
    return found


def environment(cluster: EmulatedCluster) -> dict[str, str]:
    """What spark-env.sh exports: the user's variables, adapted likewise."""
    user = hadoop_conf.exports(cluster, "spark-env")
    found = {"PYSPARK_PYTHON": "python3"}
    for key, value in user.items():
        if key == "JAVA_HOME":
            continue
        is_python = key in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON")
        # EMR's own Python is the node's: an absolute one would not see the node's packages.
        found[key] = (
            node_folder.python_of(value) if is_python and value.startswith("/usr/") else value
        )
    return found


def write(cluster: EmulatedCluster, folder: Path, hadoop: HadoopJars) -> None:
    """The cluster's `conf` has Spark's files."""
    conf = folder / "conf"
    for name in ("eventlogs", "staging", "warehouse"):
        (folder / name).mkdir(exist_ok=True)
    lines = [f"{key} {value}\n" for key, value in sorted(defaults(cluster, folder, hadoop).items())]
    (conf / "spark-defaults.conf").write_text("".join(lines), encoding="utf-8")
    exports = [f"export {key}={shlex.quote(v)}\n" for key, v in environment(cluster).items()]
    (conf / "spark-env.sh").write_text("".join(exports), encoding="utf-8")
    (conf / "log4j2.properties").write_text(_log4j2(cluster), encoding="utf-8")


def _log4j2(cluster: EmulatedCluster) -> str:
    ours = {
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
    }
    wanted = ours | hadoop_conf.classification(cluster, "spark-log4j2")
    return "".join(f"{key} = {value}\n" for key, value in wanted.items())
