"""Cost of a run's work on other instance types: nodes and figures computed by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from emrctl.aws import instance_types, prices
from emrctl.cost import work
from emrctl.cost.services import CostOption
from emrctl.errors import NotFoundError
from emrctl.runs import run_cost
from emrctl.runs.record import ClusterFacts, Run
from emrctl.runs.run_cost import EC2, EKS, EMR, Clusters
from emrctl.runs.store import RunFiles
from emrctl.runs.workspace import Workspace
from emrctl.spec import ProjectSpec
from emrctl.spec.config import Config
from tests.cost.works import metrics
from tests.facts import FACTS, RUN

# An hour on 2 m5.xlarge: executors of 2 cores and 5,120 MB, application master of 896 MB.
WORK = work.of_run(metrics(), 3600.0)
M5, M5_FEE, R5, R5_FEE = 0.192, 0.048, 0.252, 0.063


def _clusters(cluster: ClusterFacts = FACTS, **changes: object) -> Clusters:
    return Clusters(replace(WORK, **changes), cluster, "us-east-1", 0.6)  # type: ignore[arg-type]


def _options(clusters: Clusters) -> dict[tuple[str, str, str], CostOption]:
    return {(item.service, item.name, item.market): item for item in clusters.options()}


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("m5.xlarge", 2),  # 12,288 MB: two executors, and the application master beside them
        ("r5.xlarge", 2),  # 24,576 MB hold all four, and 8 cores need two nodes of 4 vCPUs
        ("m5.2xlarge", 1),
        ("c5.xlarge", 4),
        ("c5.2xlarge", 2),
        ("m4.large", 4),
        ("c4.xlarge", 5),  # 5,632 MB: one executor, and none beside the application master
    ],
)
def test_nodes_hold_executors_by_memory_and_by_vcpus(name: str, nodes: int) -> None:
    assert _clusters().nodes(instance_types.instance_type(name)) == nodes


def test_nodes_of_a_type_too_small_for_an_executor_are_none() -> None:
    large = tuple(replace(item, memory_mb=6000) for item in WORK.executors)
    clusters = _clusters(executors=large)
    assert clusters.nodes(instance_types.instance_type("c4.xlarge")) is None


def test_vcpus_are_at_most_those_of_the_nodes() -> None:
    # Eight executors of two cores shared the 8 vCPUs of two m5.xlarge.
    assert _clusters(peak=8).vcpus == 8
    assert _clusters(peak=8, hosts=3).vcpus == 12
    assert _clusters(peak=3).vcpus == 6
    assert _clusters(peak=3, driver_in_cluster=True).vcpus == 7


def test_options_price_the_primary_and_the_nodes_for_the_time_of_the_step() -> None:
    found = _options(_clusters())
    assert found[EMR, "m5.xlarge", "on demand"].usd == pytest.approx(3 * (M5 + M5_FEE))
    assert found[EMR, "m5.xlarge", "on demand"].count == 3
    assert found[EMR, "r5.xlarge", "on demand"].usd == pytest.approx(
        M5 + M5_FEE + 2 * (R5 + R5_FEE)
    )
    half = _options(_clusters(duration_s=1799.2))
    assert half[EMR, "m5.xlarge", "on demand"].usd == pytest.approx(1.5 * (M5 + M5_FEE))


def test_options_on_spot_discount_the_nodes_but_not_the_primary_and_the_fee() -> None:
    found = _options(_clusters())[EMR, "m5.xlarge", "spot"]
    assert found.usd == pytest.approx(M5 + M5_FEE + 2 * (0.4 * M5 + M5_FEE))
    assert any("60 % below on demand, assumed" in text for text in found.assumptions)


def test_options_on_spot_use_downloaded_prices() -> None:
    table = json.loads(json.dumps(instance_types.shipped()["regions"]["us-east-1"]))
    table |= {"spot": {"m5.xlarge": 0.07}, "as_of": "2026-11-26"}
    prices.file().parent.mkdir(parents=True)
    prices.file().write_text(json.dumps({"regions": {"us-east-1": table}}))
    found = _options(_clusters())
    assert found[EMR, "m5.xlarge", "spot"].usd == pytest.approx(M5 + M5_FEE + 2 * (0.07 + M5_FEE))
    assert "spot price of 2026-11-26" in found[EMR, "m5.xlarge", "spot"].assumptions
    assert any("assumed" in text for text in found[EMR, "r5.xlarge", "spot"].assumptions)


def test_options_name_types_whose_cores_may_differ() -> None:
    found = _options(_clusters())
    text = "cores of {} as fast as those of m5, not measured"
    for name in ("m5.xlarge", "r5.xlarge", "m5d.2xlarge", "c5.xlarge"):
        family = name.partition(".")[0]
        assert text.format(family) not in found[EMR, name, "on demand"].assumptions
    for name in ("m6i.xlarge", "m5a.xlarge", "m4.xlarge", "m6g.xlarge"):
        family = name.partition(".")[0]
        assert text.format(family) in found[EMR, name, "on demand"].assumptions


def test_options_of_another_architecture_have_a_primary_of_their_family() -> None:
    found = _options(_clusters())[EMR, "m6g.2xlarge", "on demand"]
    assert "primary node: m6g.xlarge, on demand" in found.assumptions


def test_options_of_an_ec2_cluster_have_no_fee_and_one_worker_per_two_executors() -> None:
    found = _options(_clusters(replace(FACTS, id="i-1")))
    assert found[EC2, "m5.xlarge", "on demand"].usd == pytest.approx(3 * M5)
    assert (EMR, "m5.xlarge", "on demand") not in found
    assert (EC2, "m5.large", "on demand") in found
    assert not any(name.startswith(("t", "g4", "p3")) for _, name, _ in found)


def test_options_on_eks_have_nodes_for_the_driver_and_the_fee_per_pod() -> None:
    # 15 GiB of each m5.xlarge hold two executors of 2 cores: the driver needs a third node.
    found = _options(_clusters())[EKS, "m5.xlarge", "on demand"]
    executor = 2 * 0.01012 + 5 * 0.00111125
    fee = (3 + 60 / 3600) * executor + 0.01012 + 2.375 * 0.00111125
    assert found.usd == pytest.approx(3 * M5 + fee)
    # Three executors leave room for it on the second node.
    assert _options(_clusters(peak=3))[EKS, "m5.xlarge", "on demand"].count == 2


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Config(ProjectSpec(project="pets"), tmp_path, {}))


def _store(workspace: Workspace, **values: object) -> Run:
    run = replace(
        RUN,
        started="2026-11-20T10:00:00+00:00",
        ended="2026-11-20T11:00:00+00:00",
        **values,  # type: ignore[arg-type]
    )
    workspace.store.save(run)
    workspace.store.files(run.id).write_json(RunFiles.METRICS, metrics().to_json())
    return run


def test_of_run_sorts_by_cost_and_compares_with_the_run(workspace: Workspace) -> None:
    found = run_cost.of_run(workspace, _store(workspace), 0.5)
    costs = [item.usd for item in found.options]
    assert costs == sorted(costs)
    assert found.usd == pytest.approx(0.72)
    own = next(item for item in found.options if item.name == "m5.xlarge")
    assert own.ratio == pytest.approx(own.usd / 0.72)
    services = {item.service for item in found.options}
    assert services == {EMR, EKS, "EMR Serverless", "EMR on EKS, Fargate", "AWS Glue"}
    assert any("us-east-1, 2026-11-20" in note for note in found.notes)
    assert any("localhost" in note for note in found.notes)
    spot = [item for item in found.options if item.market == "spot"]
    assert any("50 % below" in text for text in spot[0].assumptions)


def test_of_run_of_an_imported_log_assumes_a_primary(workspace: Workspace) -> None:
    cluster = replace(FACTS, id="", core_type="", primary_type="", hourly_usd=0.0)
    found = run_cost.of_run(workspace, _store(workspace, cluster=cluster, target="imported"))
    assert (found.usd, found.options[0].ratio) == (None, None)
    on_emr = next(
        item for item in found.options if item.service == EMR and item.name == "m5.xlarge"
    )
    assert "primary node: m5.xlarge, on demand" in on_emr.assumptions


def test_of_run_in_another_region_names_the_region_of_the_prices(tmp_path: Path) -> None:
    project = ProjectSpec(project="pets", region="eu-west-3")
    workspace = Workspace(Config(project, tmp_path, {}))
    notes = run_cost.of_run(workspace, _store(workspace)).notes
    assert any(
        "instances of us-east-1" in note and "services of us-east-1" in note for note in notes
    )


def test_of_run_without_metrics_is_an_error(workspace: Workspace) -> None:
    workspace.store.save(RUN)
    with pytest.raises(NotFoundError, match="no metrics"):
        run_cost.of_run(workspace, RUN)


def test_shortlist_has_few_families_and_the_type_of_the_run(workspace: Workspace) -> None:
    found = run_cost.of_run(workspace, _store(workspace))
    shown = run_cost.shortlist(found, "m5.xlarge")
    on_demand = [item for item in shown if (item.service, item.market) == (EMR, "on demand")]
    assert len({item.name.partition(".")[0] for item in on_demand}) in {5, 6}
    assert "m5.xlarge" in [item.name for item in on_demand]
    assert [item.service for item in shown].count("EMR Serverless") == 1
    assert len(shown) < len(found.options) / 5


def test_to_csv_has_a_row_per_option(workspace: Workspace) -> None:
    found = run_cost.of_run(workspace, _store(workspace))
    head, *rows = run_cost.to_csv(found).splitlines()
    assert head == "service,name,market,count,usd,ratio,assumptions"
    assert len(rows) == len(found.options)
