"""Nodes over time, instances and CloudWatch metrics."""

from __future__ import annotations

import dataclasses

import pytest

from emrctl.aws.target import Target
from emrctl.metrics.live import nodes
from emrctl.metrics.live.nodes import InstanceUse, NodeSample, Samples
from emrctl.metrics.model import ClusterAccount, NodeAccount

HOUR = 3_600_000


def sample(
    at_ms: int, used: int = 0, state: str = "RUNNING", cpu: float | None = 1.0
) -> NodeSample:
    node = NodeAccount(
        id="n1",
        state=state,
        memory_used_mb=used,
        memory_available_mb=1000 - used,
        cpu_used_cores=cpu,
    )
    return nodes.sample(at_ms, ClusterAccount(nodes=(node,), containers_pending=2))


def test_read_round_trips_samples_and_skips_truncated_lines() -> None:
    samples = Samples(1000)
    samples.add(sample(1))
    samples.add(sample(2, used=500))
    assert nodes.read(samples.lines()) == samples.taken
    assert nodes.read(samples.lines()[:-9]) == samples.taken[:1]
    assert nodes.read(None) == []


def test_samples_are_thinned_over_the_whole_span() -> None:
    samples = Samples(1000)
    for second in range(5_000):
        if samples.due(second * 1000):
            samples.add(sample(second * 1000))
    assert 128 <= len(samples.taken) <= 512
    assert samples.taken[0].at_ms == 0
    assert samples.taken[-1].at_ms >= 4_900_000


def test_use_returns_means_and_peaks() -> None:
    seen = [sample(0, 200), sample(1, 600, cpu=None), sample(2, 100, state="LOST", cpu=3.0)]
    [found] = nodes.use(seen)
    assert (found.memory_total_mb, found.memory_used_mb_peak, found.memory_used_mb_mean) == (
        1000,
        600,
        300.0,
    )
    assert (found.cpu_cores_peak, found.cpu_cores_mean, found.lost_ms) == (3.0, 2.0, 2)
    assert nodes.use([]) == ()
    assert nodes.use([sample(0, 0, state="SHUTDOWN")]) == ()


def test_histories_have_the_containers_use_or_else_the_machines() -> None:
    machine, containers = sample(0, 200, cpu=3.0), sample(1000, 600, cpu=3.0)
    measured = dataclasses.replace(
        containers.nodes[0],
        containers_cpu_cores=0.5,
        containers_memory_mb=400,
        vcores_used=1,
        vcores_available=3,
    )
    [found] = nodes.histories([machine, dataclasses.replace(containers, nodes=(measured,))])
    assert (found.at_ms, found.cpu_cores, found.physical_mb) == ((0, 1000), (3.0, 0.5), (None, 400))
    assert (found.allocated_mb, found.memory_total_mb, found.cores) == ((200, 600), 1000, 4)
    assert nodes.histories([sample(0, state="LOST")]) == ()


def price(name: str, spot: bool) -> float | None:
    if name == "odd":
        return None
    return 0.5 if spot else 1.0


def test_cost_usd_counts_hours_in_span() -> None:
    fleet = (
        InstanceUse(id="1", type="m5.xlarge", ready_ms=0),
        InstanceUse(id="2", type="m5.xlarge", spot=True, ready_ms=HOUR, ended_ms=2 * HOUR),
        InstanceUse(id="3", type="m5.xlarge", ready_ms=9 * HOUR),
        InstanceUse(id="4", type="odd", ready_ms=9 * HOUR),
    )
    assert nodes.cost_usd(fleet, (0, 4 * HOUR), price) == pytest.approx(4.5)
    assert nodes.cost_usd(fleet, (0, 10 * HOUR), price) is None
    assert nodes.cost_usd((), (0, HOUR), price) is None
    assert nodes.hours(InstanceUse(id="5"), (0, HOUR)) == 0.0


def test_list_emr_instances(mocked: Target, standing: str) -> None:
    found = nodes.list_emr_instances(mocked.client("emr"), standing)
    assert [item.type for item in found] == ["m5.xlarge"] * 3
    assert all(item.created_ms and item.ended_ms is None for item in found)


def test_list_ec2_instances_includes_terminated(mocked: Target) -> None:
    ec2 = mocked.client("ec2")
    [image] = ec2.describe_images(Owners=["amazon"])["Images"][:1]
    ids = []
    for stack, role in (("pets-main", "primary"), ("pets-main", "worker"), ("other", "worker")):
        tags = [{"Key": "emrctl:stack", "Value": stack}, {"Key": "emrctl:role", "Value": role}]
        made = ec2.run_instances(
            ImageId=image["ImageId"],
            InstanceType="m5.xlarge",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        ids.append(made["Instances"][0]["InstanceId"])
    ec2.terminate_instances(InstanceIds=ids[1:2])
    found = {item.group: item for item in nodes.list_ec2_instances(ec2, ids[0])}
    assert {name: item.id for name, item in found.items()} == {
        "primary": ids[0],
        "worker": ids[1],
    }
    assert found["primary"].ended_ms is None
    worker = found["worker"]
    assert worker.created_ms is not None
    assert worker.ended_ms is not None
    # EC2 tells the end in whole seconds.
    assert worker.ended_ms >= worker.created_ms - 1000
