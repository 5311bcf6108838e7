"""Spec of an EMR cluster: its nodes, bootstrap actions, configurations and lifetime."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from emrctl.aws import instance_types, releases
from emrctl.spec.instance_groups import FleetsSpec, GroupSpec, ScalingSpec, TaskSpec
from emrctl.spec.network_security import (
    Buckets,
    NetworkSpec,
    RolesSpec,
    SecuritySpec,
    without_kerberos,
)
from emrctl.spec.types import (
    Name,
    NodePython,
    Properties,
    SparkVersion,
    Spec,
    Tags,
    Texts,
    Usd,
    distinct,
    rule,
    short_form,
)

_PRIMARIES = (1, 3)


class BootstrapSpec(Spec):
    """A script that every node runs before applications are installed.

    `script` is a name in `bootstrap/`, a local path or an `s3://` address.
    """

    script: str
    args: Texts = ()
    name: str | None = None


Bootstrap = Annotated[tuple[BootstrapSpec, ...], short_form("script")]


Classifications = Annotated[tuple["Classification", ...], distinct("classification")]


class Classification(Spec):
    """One of EMR's configuration classifications; values are strings on the wire."""

    classification: str
    properties: Properties = Field(default_factory=dict)
    configurations: Classifications = ()

    def as_emr(self) -> dict[str, Any]:
        """Return the form of EMR's API and of `configurations_json`."""
        document: dict[str, Any] = {
            "Classification": self.classification,
            "Properties": dict(self.properties),
        }
        if self.configurations:
            document["Configurations"] = [inner.as_emr() for inner in self.configurations]
        return document


class ClusterSpec(Spec):
    """An EMR cluster: primary, core and task nodes, bootstrap actions, lifetime.

    `fleets` replace `primary`, `core` and `task`. `placement` is the strategy for three primaries.
    With `gpu`, YARN schedules the GPUs of core and task nodes, one for each executor.
    A cluster that could cost more than `max_hourly_cost` USD per hour is not created. It terminates
    itself after `ttl_s` (0: never), unless it has termination protection then. `spark` is another
    version of Spark than the release's, on localhost only.
    """

    name: Name = "main"
    kind: Literal["emr"] = "emr"
    release: Annotated[str, rule(releases.fault)] = "emr-7.5.0"
    spark: SparkVersion | None = None
    primary: GroupSpec = GroupSpec()
    core: GroupSpec = GroupSpec(count=2)
    task: tuple[TaskSpec, ...] = ()
    fleets: FleetsSpec | None = None
    scaling: ScalingSpec | None = None
    gpu: bool = False
    bootstrap: Bootstrap = (BootstrapSpec(script="python.sh", args=("boto3",)),)
    configurations: Classifications = ()
    step_concurrency: Annotated[int, Field(ge=1, le=256)] = 1
    idle_timeout_s: Annotated[int, Field(ge=60, le=604_800)] = 3600
    ttl_s: Annotated[int, Field(ge=0)] = 4 * 3600
    termination_protection: bool = False
    ami: Annotated[str, Field(pattern=r"^ami-[0-9a-f]+$")] | None = None
    root_volume_gb: Annotated[int, Field(ge=15, le=100)] | None = None
    key_pair: str | None = None
    placement: Literal["spread", "partition", "cluster", "none"] | None = None
    network: NetworkSpec = NetworkSpec()
    roles: RolesSpec = RolesSpec()
    security: SecuritySpec = SecuritySpec()
    buckets: Buckets = ()
    max_hourly_cost: Usd | None = None
    tags: Tags = Field(default_factory=dict)

    emr_fee: ClassVar[bool] = True
    requests_public_address: ClassVar[bool] = False  # nodes get what the subnet assigns
    endpoint_service: ClassVar[str] = "elasticmapreduce"
    wheelhouse: ClassVar[None] = None  # nodes install packages from package indexes

    def classification(self, name: str) -> dict[str, str]:
        """Return the properties of one of the spec's classifications; empty without it."""
        items = [item for item in self.configurations if item.classification == name]
        return dict(items[0].properties) if items else {}

    @model_validator(mode="before")
    @classmethod
    def _no_kerberos(cls, value: Any) -> Any:
        return without_kerberos(value)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.primary.count not in _PRIMARIES:
            raise ValueError(
                f"primary.count is {self.primary.count}: a cluster has 1 or 3 primary nodes"
            )
        if self.primary.count == 3 and "termination_protection" not in self.model_fields_set:
            raise ValueError(
                "three primaries require termination_protection: true (false lets `emrctl down` "
                "delete the cluster)"
            )
        if self.primary.count == 3 and releases.order(self.release) < (5, 23):
            raise ValueError(f"three primaries require emr-5.23.0 or later, not {self.release}")
        actions = len(self.bootstrap) + self.limited + self.gpu
        if actions > 16:
            keys = [name for name, on in (("gpu", self.gpu), ("ttl_s", self.limited)) if on]
            own = f", including those of {' and '.join(keys)}" if keys else ""
            raise ValueError(f"{actions} bootstrap actions{own}: EMR allows 16")
        if self.placement is not None and self.primary.count == 1:
            raise ValueError("placement requires primary.count: 3")
        return self

    @model_validator(mode="after")
    def _gpus_exist(self) -> Self:
        if not self.gpu:
            return self
        if releases.order(self.release) < (6, 2):
            raise ValueError(f"gpu requires emr-6.2.0 or later, not {self.release}")
        # A NodeManager that finds no GPU does not start.
        types = map(instance_types.instance_type, self.worker_types)
        others = sorted(item.name for item in types if not item.gpus)
        if others:
            raise ValueError(
                f"gpu: true requires GPU instance types (g4dn, g5, p3) for all core and task "
                f"nodes; {', '.join(others)} has none"
            )
        return self

    @model_validator(mode="after")
    def _nodes_fit_together(self) -> Self:
        names = [group.name for group in self.task]
        if len(set(names)) < len(names):
            raise ValueError("task groups need distinct names")
        both = {"primary", "core", "task"} & self.model_fields_set
        if self.fleets is not None and both:
            raise ValueError(
                f"fleets cannot be combined with groups: remove {', '.join(sorted(both))}"
            )
        subnets = self.network.subnets
        if self.fleets is None and isinstance(subnets, tuple) and len(subnets) > 1:
            raise ValueError(
                "instance groups use one subnet: set a single one in network.subnets, or use fleets"
            )
        empty = [group.name for group in self.task if not group.count]
        if self.scaling is not None and empty:
            raise ValueError(
                f"task group '{empty[0]}' has count 0: with scaling set 1 at least, or remove it"
            )
        unit = self.scaling and self.scaling.unit
        if unit == "fleet_units" and self.fleets is None:
            raise ValueError("scaling.unit: fleet_units requires fleets")
        if unit == "instances" and self.fleets is not None:
            raise ValueError(
                "scaling.unit: instances is not supported for fleets: use fleet_units or vcpus"
            )
        return self

    @property
    def limited(self) -> bool:
        """Whether the cluster terminates itself after `ttl_s`.

        Independent of termination protection, which can change while the cluster is running,
        unlike its bootstrap actions.
        """
        return self.ttl_s > 0

    @property
    def one_subnet(self) -> bool:
        """Whether all nodes are in one subnet; fleets may use several."""
        return self.fleets is None

    def bootstrap_actions(self, region: str) -> tuple[BootstrapSpec, ...]:
        """Return the spec's bootstrap actions, and those of `gpu` and `ttl_s`."""
        gpu = (BootstrapSpec(script="gpu.sh"),) if self.gpu else ()
        limit = (BootstrapSpec(script="ttl.sh", args=(str(self.ttl_s), region)),)
        own = tuple(self._with_python(action) for action in self.bootstrap)
        return (*own, *gpu, *(limit if self.limited else ()))

    def _with_python(self, action: BootstrapSpec) -> BootstrapSpec:
        """Return python.sh with the Python of the release's Spark, unless it names one."""
        command = releases.release(self.release).python_command
        named = command == "python3" or "python" in "".join(action.args[:1])
        if named or action.script != "python.sh":
            return action
        return action.model_copy(update={"args": (command, *action.args)})

    @property
    def declared_tasks(self) -> tuple[TaskSpec, ...]:
        """The task groups that have instances."""
        return tuple(group for group in self.task if group.count)

    @property
    def groups(self) -> dict[str, GroupSpec]:
        """The instance groups by role and name; empty with fleets."""
        if self.fleets is not None:
            return {}
        tasks = {f"task {group.name}": group for group in self.declared_tasks}
        return {"primary": self.primary, "core": self.core, **tasks}

    @property
    def task_groups(self) -> tuple[GroupSpec, ...]:
        """The task nodes as groups; for a fleet its type with the least YARN memory."""
        if self.fleets is None:
            return self.declared_tasks
        return () if self.fleets.task is None else (self.fleets.task.as_group,)

    @property
    def core_group(self) -> GroupSpec:
        """The core nodes as a group; for a fleet its type with the least YARN memory."""
        if self.fleets is None:
            return self.core
        return self.fleets.core.as_group

    @property
    def primary_group(self) -> GroupSpec:
        """The primary nodes as a group; for a fleet its first type."""
        if self.fleets is None:
            return self.primary
        return GroupSpec(type=self.fleets.primary.types[0].type)

    @property
    def nodes(self) -> int:
        """Number of instances."""
        tasks = sum(group.count for group in self.task_groups)
        return self.primary_group.count + self.core_group.count + tasks

    @property
    def nodes_at_most(self) -> int:
        """Maximum number of instances with scaling."""
        scaled = self.scaling.maximum + self.primary_group.count if self.scaling else 0
        return max(self.nodes, scaled)

    @property
    def python(self) -> NodePython:
        """The Python of Spark: the one that `configurations` set, or the release's default."""
        release, properties = releases.release(self.release), dict[str, str]()
        pending = list(self.configurations)
        while pending:
            item = pending.pop(0)
            pending += item.configurations
            properties |= item.properties
        command = properties.get("spark.pyspark.python") or properties.get("PYSPARK_PYTHON")
        default = NodePython(release.python_command, release.python3, release.wheel_platform)
        return default.replaced(command)

    @property
    def release_major(self) -> int:
        """Major version of the release: 7 of emr-7.5.0, 8 of emr-spark-8.1.0."""
        return releases.order(self.release)[0]

    @property
    def worker_types(self) -> tuple[str, ...]:
        """Distinct instance types of core and task nodes."""
        groups = [self.core.type, *(group.type for group in self.declared_tasks)]
        if self.fleets is not None:
            fleets = filter(None, (self.fleets.core, self.fleets.task))
            groups = [item.type for fleet in fleets for item in fleet.types]
        return tuple(dict.fromkeys(groups))

    @property
    def types(self) -> tuple[str, ...]:
        """Distinct instance types, the primary's first."""
        primaries = [self.primary.type]
        if self.fleets is not None:
            primaries = [item.type for item in self.fleets.primary.types]
        return tuple(dict.fromkeys([*primaries, *self.worker_types]))
