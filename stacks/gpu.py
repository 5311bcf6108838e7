"""EMR's classifications for GPUs that YARN schedules, and executors that use them.

They are those of "Use the Nvidia RAPIDS Accelerator for Apache Spark" in the EMR release guide,
without its SQL plugin: jobs such as `features` use the GPU from Python.
"""

from __future__ import annotations

from typing import Any

from emrctl.spec import ClusterSpec

_DISCOVERY = "/usr/lib/spark/scripts/gpu/getGpusResources.sh"
_EXECUTOR_CORES = 4  # of EMR's default executor; its tasks share one GPU


def configurations(spec: ClusterSpec) -> list[dict[str, Any]]:
    """Return the classifications of a cluster with `gpu`."""
    cgroup = "/spark-rapids-cgroup" if spec.release_major >= 7 else "/sys/fs/cgroup"
    executor = "org.apache.hadoop.yarn.server.nodemanager.LinuxContainerExecutor"
    cgroups = "yarn.nodemanager.linux-container-executor.cgroups"
    plugins = "yarn.nodemanager.resource-plugins"
    return [
        _classification("spark", {"enableSparkRapids": "true"}),
        _classification(
            "yarn-site",
            {
                "yarn.resource-types": "yarn.io/gpu",
                plugins: "yarn.io/gpu",
                f"{plugins}.gpu.allowed-gpu-devices": "auto",
                f"{plugins}.gpu.path-to-discovery-executables": "/usr/bin",
                f"{cgroups}.mount": "true",
                f"{cgroups}.mount-path": cgroup,
                f"{cgroups}.hierarchy": "yarn",
                "yarn.nodemanager.container-executor.class": executor,
            },
        ),
        _classification(
            "container-executor",
            {},
            _classification("gpu", {"module.enabled": "true"}),
            _classification("cgroups", {"root": cgroup, "yarn-hierarchy": "yarn"}),
        ),
        # The default calculator ignores resources other than memory.
        _classification(
            "capacity-scheduler",
            {
                "yarn.scheduler.capacity.resource-calculator": (
                    "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator"
                )
            },
        ),
        _classification(
            "spark-defaults",
            {
                "spark.executor.resource.gpu.amount": "1",
                "spark.executor.resource.gpu.discoveryScript": _DISCOVERY,
                "spark.task.resource.gpu.amount": str(1 / _EXECUTOR_CORES),
            },
        ),
    ]


def _classification(
    name: str, properties: dict[str, str], *inner: dict[str, Any]
) -> dict[str, Any]:
    nested = {"Configurations": list(inner)} if inner else {}
    return {"Classification": name, "Properties": properties, **nested}
