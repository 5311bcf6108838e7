"""What the user wants: a project's spec, checked, frozen, knowing neither AWS nor Pulumi.

Every model refuses unknown keys. The models' field names are the keys of `emrctl.yaml`.

The modules with models are imported on first use, as pydantic takes longer than a small command.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emrctl.spec.ec2 import Ec2ClusterSpec, MachineSpec
    from emrctl.spec.emr import ClusterSpec
    from emrctl.spec.experiments import ExperimentSpec
    from emrctl.spec.instance_groups import FleetSpec, FleetTypeSpec, GroupSpec, ScalingSpec
    from emrctl.spec.jobs import JobSpec, SparkSettings
    from emrctl.spec.network_security import BucketSpec, NetworkSpec, StorageSpec
    from emrctl.spec.project import (
        AnyClusterSpec,
        EngineSpec,
        ProjectSpec,
        aws_only_keys,
        check_local,
    )
    from emrctl.spec.types import NodePython, to_text

_MODULES = {
    "ec2": "Ec2ClusterSpec MachineSpec",
    "emr": "ClusterSpec",
    "experiments": "ExperimentSpec",
    "instance_groups": "FleetSpec FleetTypeSpec GroupSpec ScalingSpec",
    "jobs": "JobSpec SparkSettings",
    "network_security": "BucketSpec NetworkSpec StorageSpec",
    "project": "AnyClusterSpec EngineSpec ProjectSpec aws_only_keys check_local",
    "types": "NodePython to_text",
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names.split():
            value = getattr(importlib.import_module(f"emrctl.spec.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


__all__ = [
    "AnyClusterSpec",
    "BucketSpec",
    "ClusterSpec",
    "Ec2ClusterSpec",
    "EngineSpec",
    "ExperimentSpec",
    "FleetSpec",
    "FleetTypeSpec",
    "GroupSpec",
    "JobSpec",
    "MachineSpec",
    "NetworkSpec",
    "NodePython",
    "ProjectSpec",
    "ScalingSpec",
    "SparkSettings",
    "StorageSpec",
    "aws_only_keys",
    "check_local",
    "to_text",
]
