"""What the user wants: a project's spec, checked, frozen, knowing neither AWS nor Pulumi.

Every model refuses unknown keys. The models' field names are the keys of `emrctl.yaml`.
"""

from emrctl.spec.ec2 import Ec2ClusterSpec, MachineSpec
from emrctl.spec.emr import ClusterSpec, FleetSpec, FleetTypeSpec, GroupSpec, ScalingSpec
from emrctl.spec.experiments import ExperimentSpec
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
