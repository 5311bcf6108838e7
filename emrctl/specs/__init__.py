"""What the user wants: a project's spec, checked, frozen, knowing neither AWS nor Pulumi.

Every model refuses unknown keys. The models' field names are the keys of `emrctl.yaml`.
"""

from emrctl.specs.base import Count, Memory, Name, Properties, Spec, Texts, memory_mb
from emrctl.specs.cluster import BootstrapSpec, Classification, ClusterSpec
from emrctl.specs.clusters import AnyClusterSpec
from emrctl.specs.ec2 import DisksSpec, Ec2ClusterSpec, MachineSpec, WorkersSpec
from emrctl.specs.engine import EngineSpec
from emrctl.specs.jobs import DeployMode, ExperimentSpec, JobSpec, SparkSettings
from emrctl.specs.local import aws_alone, refuse_local
from emrctl.specs.nodes import (
    FleetSpec,
    FleetsSpec,
    FleetTypeSpec,
    GroupSpec,
    ScalingSpec,
    TaskSpec,
)
from emrctl.specs.place import BucketSpec, NetworkSpec, RolesSpec, SecuritySpec, StorageSpec
from emrctl.specs.project import ProjectSpec

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
    "aws_alone",
    "memory_mb",
    "refuse_local",
]
