"""Cost of a run on services that bill vCPUs, memory or DPUs: figures computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emrctl.cost import services, work
from emrctl.cost.services import CostOption
from emrctl.cost.work import Work
from emrctl.errors import NotFoundError
from tests.cost.works import metrics

WORK = work.of_run(metrics(), 4000.0)


def _options(done: Work = WORK) -> dict[tuple[str, str, str], CostOption]:
    found = services.options(done, "us-east-1")
    return {(item.service, item.name, item.market): item for item in found}


def test_of_run_sums_hours_and_idle_time() -> None:
    assert (WORK.duration_s, WORK.peak, WORK.hosts) == (4000.0, 4, 2)
    assert (WORK.executor.cores, WORK.executor.memory_mb, WORK.driver.memory_mb) == (2, 5120, 2432)
    # 3 executors for an hour and one for 30 s; the driver has one core and 2.375 GiB.
    assert WORK.vcpu_hours == pytest.approx(2 * (3 + 30 / 3600) + 1)
    assert WORK.gb_hours == pytest.approx(5 * (3 + 30 / 3600) + 2.375)
    # Tasks used 4 x 0.5 of 6.0167 core-hours.
    assert WORK.idle_percent == pytest.approx(100 * (1 - 2 / 6.016667), abs=0.001)
    # spark.yarn.am.memory is 512 MB and its overhead 384.
    assert (WORK.first_mb, WORK.driver_in_cluster) == (896, False)


def test_of_run_in_cluster_mode_counts_the_driver_on_the_nodes() -> None:
    done = work.of_run(metrics(spark_submit_deployMode="cluster"), None)
    assert (done.duration_s, done.first_mb, done.driver_in_cluster) == (3600.0, 2432, True)


def test_of_run_without_executors_is_an_error() -> None:
    with pytest.raises(NotFoundError, match="no executors"):
        work.of_run(metrics(()), 10.0)


@pytest.mark.parametrize(
    ("cores", "memory_mb", "size"),
    [
        (1, 2432, (1, 3)),
        (2, 5120, (2, 5)),
        (1, 9000, (2, 9)),
        (3, 1024, (4, 8)),
        (8, 17_000, (8, 20)),
        (16, 100_000, (16, 104)),
        (5, 70_000, (16, 72)),
        (17, 1024, None),
        (1, 130_000, None),
    ],
)
def test_worker_size_is_the_smallest_that_is_offered(
    cores: int, memory_mb: int, size: tuple[int, int] | None
) -> None:
    assert services.worker_size(cores, memory_mb) == size


def test_serverless_bills_vcpus_and_memory_with_a_minute_at_least() -> None:
    found = _options()["EMR Serverless", "2 vCPUs, 5 GB", ""]
    # 3 h + 60 s of 2 vCPUs and 5 GB, 1 h of 1 vCPU and 3 GB.
    executor = 2 * 0.052624 + 5 * 0.0057785
    assert found.usd == pytest.approx((3 + 60 / 3600) * executor + 0.052624 + 3 * 0.0057785)
    assert found.usd == pytest.approx(0.47462, abs=1e-5)
    assert found.count == 5


def test_serverless_bills_shuffle_data_beyond_20_gb() -> None:
    executors = [replace(item, shuffle_bytes=0) for item in WORK.executors]
    executors[0] = replace(executors[0], shuffle_bytes=49_500_000_000)
    more = _options(replace(WORK, executors=tuple(executors)))
    key = ("EMR Serverless", "2 vCPUs, 5 GB", "")
    assert more[key].usd - _options()[key].usd == pytest.approx(30 * 0.000111)


def test_fargate_adds_memory_for_kubernetes_and_the_fee_of_emr() -> None:
    found = _options()["EMR on EKS, Fargate", "2 vCPUs, 6 GB", ""]
    pods = (3 + 60 / 3600) * (2 * 0.04048 + 6 * 0.004445) + (0.04048 + 3 * 0.004445)
    fee = (3 + 60 / 3600) * (2 * 0.01012 + 5 * 0.00111125) + (0.01012 + 2.375 * 0.00111125)
    assert found.usd == pytest.approx(pods + fee)
    assert services.uplift_usd(WORK, "us-east-1") == pytest.approx(fee)


def test_glue_bills_dpus_of_whole_workers_for_the_application() -> None:
    found = _options()
    # Two executors of 2 cores per G.1X, four per G.2X; and the driver's worker.
    assert found["AWS Glue", "G.1X", "standard"].usd == pytest.approx(3 * 1 * 0.44)
    assert found["AWS Glue", "G.1X", "flex"].usd == pytest.approx(3 * 1 * 0.29)
    assert found["AWS Glue", "G.2X", "standard"].usd == pytest.approx(2 * 2 * 0.44)
    assert found["AWS Glue", "G.8X", "standard"].usd == pytest.approx(2 * 8 * 0.44)
    assert ("AWS Glue", "G.4X", "flex") not in found


def test_glue_of_a_short_run_bills_one_minute() -> None:
    short = replace(WORK, driver=replace(WORK.driver, seconds=5.0))
    found = _options(short)["AWS Glue", "G.1X", "standard"]
    assert found.usd == pytest.approx(3 * 0.44 / 60)


def test_options_omit_services_without_workers_of_the_size() -> None:
    large = tuple(replace(item, memory_mb=100_000, cores=20) for item in WORK.executors)
    found = _options(replace(WORK, executors=large))
    assert {key[:2] for key in found} == {("AWS Glue", "G.8X")}
