"""What the user wants: a project's spec, checked, frozen, knowing neither AWS nor Pulumi.

Every model refuses unknown keys. The models' field names are the keys of `emrctl.yaml`.
"""

from emrctl.spec.cluster import AnyClusterSpec
from emrctl.spec.ec2 import DisksSpec, Ec2ClusterSpec, MachineSpec, WorkersSpec
from emrctl.spec.emr import BootstrapSpec, Classification, ClusterSpec
from emrctl.spec.engine import EngineSpec
from emrctl.spec.jobs import DeployMode, ExperimentSpec, JobSpec, SparkSettings
from emrctl.spec.localhost import aws_only_keys, check_local
from emrctl.spec.network_security import (
    BucketSpec,
    NetworkSpec,
    RolesSpec,
    SecuritySpec,
    StorageSpec,
)
from emrctl.spec.nodes import FleetSpec, FleetsSpec, FleetTypeSpec, GroupSpec, ScalingSpec, TaskSpec
from emrctl.spec.project import ProjectSpec
from emrctl.spec.types import Count, Memory, Name, Properties, Spec, Texts, memory_mb

__all__ = [
    "AnyClusterSpec",
    "BootstrapSpec",
    "BucketSpec",
    "Classification",
    "ClusterSpec",
    "Count",
    "DeployMode",
    "DisksSpec",
    "Ec2ClusterSpec",
    "EngineSpec",
    "ExperimentSpec",
    "FleetSpec",
    "FleetTypeSpec",
    "FleetsSpec",
    "GroupSpec",
    "JobSpec",
    "MachineSpec",
    "Memory",
    "Name",
    "NetworkSpec",
    "ProjectSpec",
    "Properties",
    "RolesSpec",
    "ScalingSpec",
    "SecuritySpec",
    "SparkSettings",
    "Spec",
    "StorageSpec",
    "TaskSpec",
    "Texts",
    "WorkersSpec",
    "aws_only_keys",
    "check_local",
    "memory_mb",
]
