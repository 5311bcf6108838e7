"""The EC2 instances of clusters: records in moto, launched by market and instance type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emrctl.emulator.cluster import failures, fleets, model
from emrctl.emulator.cluster.failures import CapacityFaults, NoCapacityError
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, InstanceGroup, Termination
from emrctl.emulator.cluster.resizing import Launch
from emrctl.emulator.faults import Faults

_AMI = "ami-12c6146b"


def ec2_backend(cluster: EmulatedCluster) -> Any:
    """Return moto's EC2 of the cluster's region."""
    from moto.ec2.models import ec2_backends

    return ec2_backends[cluster.account][cluster.region]


@dataclass(frozen=True)
class ClusterInstances:
    """The EC2 instances of a cluster; implements `resizing.Ec2Instances`."""

    cluster: EmulatedCluster
    faults: Faults

    def provision(self) -> Termination | None:
        """Launch the first instances of a cluster; without capacity return why it terminates.

        As on EMR, a fleet gets On-Demand instead of Spot instances if its TimeoutAction is
        SWITCH_TO_ON_DEMAND. The timeout passes at once.
        """
        capacity, termination = CapacityFaults(self.faults), None
        for group in self.cluster.groups:
            launch = self._launch(group, group.targets, capacity)
            if group.is_fleet and _switches_to_on_demand(group):
                launch = self._switch_to_on_demand(group, launch, capacity)
            nodes = launch.nodes
            if launch.error is not None:
                termination = termination or self._termination(group, launch)
                if group.role == model.MASTER:  # DescribeCluster has a primary node nevertheless
                    nodes = self._run(group, group.market, group.instance_type, group.count)
            if group.is_fleet:
                group.count = len(nodes)
            self.cluster.nodes += nodes
        return termination

    def _switch_to_on_demand(
        self, group: InstanceGroup, launch: Launch, capacity: CapacityFaults
    ) -> Launch:
        units = launch.unfilled.get(model.SPOT, 0)
        if not units:
            return launch
        group.on_demand_for_spot = units
        again = self._launch(group, {model.ON_DEMAND: units}, capacity)
        unfilled = {k: v for k, v in launch.unfilled.items() if k != model.SPOT} | again.unfilled
        error = launch.error if unfilled else None
        return Launch(nodes=launch.nodes + again.nodes, unfilled=unfilled, error=error)

    def _termination(self, group: InstanceGroup, launch: Launch) -> Termination | None:
        error = launch.error
        if not isinstance(error, NoCapacityError):
            return None
        only_spot = group.is_fleet and set(launch.unfilled) == {model.SPOT}
        if only_spot and error.insufficient:
            return failures.fleet_timeout(group, error)
        return error.termination(self.cluster)

    def launch(self, group: InstanceGroup, missing: Mapping[str, int]) -> Launch:
        """Create the instances of new nodes for the missing capacity units of each market."""
        return self._launch(group, missing, CapacityFaults(self.faults))

    def _launch(
        self, group: InstanceGroup, missing: Mapping[str, int], capacity: CapacityFaults
    ) -> Launch:
        """Launch the first type with capacity in each market, until the units are reached."""
        launch = Launch()
        for market, units in missing.items():
            if units <= 0:
                continue
            errors: list[NoCapacityError] = []
            for name in fleets.preferred_types(group, market, self.cluster.region):
                try:
                    capacity.check(name, market)
                except NoCapacityError as error:
                    errors.append(error)
                    continue
                launch.nodes += self._run(group, market, name, -(-units // group.weight(name)))
                break
            else:
                launch.unfilled[market] = units
                launch.error = launch.error or errors[0]
        return launch

    def _run(
        self, group: InstanceGroup, market: str, instance_type: str, count: int
    ) -> list[EmulatedNode]:
        """Create nodes of the group, each with a running EC2 instance."""
        if count == 0:
            return []
        cluster = self.cluster
        primary, worker, _ = cluster.security_groups
        security_group = primary if group.role == model.MASTER else worker
        tags = cluster.tags | {
            "aws:elasticmapreduce:job-flow-id": cluster.id,
            "aws:elasticmapreduce:instance-group-role": group.role,
        }
        options: dict[str, Any] = {
            "instance_type": instance_type,
            "is_instance_type_default": False,
            "region_name": cluster.region,
            "subnet_id": cluster.subnet,
            "key_name": cluster.request["Instances"].get("Ec2KeyName"),
            "tags": {"instance": tags},
            "security_group_ids": [security_group] if security_group else [],
        }
        if market == model.SPOT:
            options["instance_market_options"] = {"MarketType": "spot"}
        reservation = ec2_backend(cluster).run_instances(_AMI, count, None, [], **options)
        return [
            EmulatedNode(
                group=group,
                ec2_id=one.id,
                public_dns=one.public_dns_name or one.private_dns_name,
                public_ip=one.public_ip or "",
                private_dns=one.private_dns_name,
                private_ip=one.private_ip,
                instance_type=instance_type,
                market=market,
            )
            for one in reservation.instances
        ]

    def terminate(self, nodes: Sequence[EmulatedNode]) -> None:
        """Terminate the nodes' instances; some may be terminated already."""
        ec2 = ec2_backend(self.cluster)
        rows = [one for reservation in ec2.all_reservations() for one in reservation.instances]
        existing = {one.id for one in rows}
        ids = [node.ec2_id for node in nodes if node.ec2_id in existing]
        if ids:
            ec2.terminate_instances(ids)


def _switches_to_on_demand(group: InstanceGroup) -> bool:
    launch = group.request.get("LaunchSpecifications", {})
    return bool(launch.get("SpotSpecification", {}).get("TimeoutAction") == "SWITCH_TO_ON_DEMAND")
