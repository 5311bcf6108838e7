"""Output of clusters and their nodes."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.cli.render import stacks
from emrctl.clusters.model import Cluster, Node
from emrctl.spec import ClusterSpec


def _cluster(**spec: Any) -> Cluster:
    return Cluster(
        name="main",
        stack="pets-main",
        id="j-1",
        arn="",
        state="WAITING",
        spec=ClusterSpec.model_validate(spec),
        region="us-east-1",
        bucket="pets",
        created="2026-11-20T10:00:00",
        nodes=(
            Node(
                id="i-1",
                role="task",
                type="m5.xlarge",
                state="RUNNING",
                private_dns="",
                public_dns="",
                spot=True,
            ),
        ),
    )


_FLEETS = {
    "core": {"types": [{"type": "r5.xlarge"}, {"type": "m5.xlarge"}], "on_demand": 2, "spot": 4},
    "task": {"types": [{}], "spot": 3},
}


@pytest.mark.parametrize(
    ("spec", "nodes"),
    [
        ({}, "1 + 2 m5.xlarge"),
        (
            {"task": [{"type": "r5.xlarge", "count": 4}, {"name": "no", "count": 0}]},
            "1 + 2 m5.xlarge + 4 r5.xlarge",
        ),
        ({"fleets": _FLEETS}, "fleets of 1 + 6 (r5.xlarge or m5.xlarge) + 3 (m5.xlarge) units"),
    ],
)
def test_print_clusters_shows_nodes_by_role(
    spec: dict[str, Any], nodes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stacks.print_clusters([_cluster(**spec)], [], as_json=False)
    assert f" {nodes} " in " ".join(capsys.readouterr().out.split()) + " "


def test_print_cluster_marks_spot_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    stacks.print_cluster(_cluster(), Target(kind="local", region="us-east-1"), as_json=False)
    assert "i-1 m5.xlarge spot RUNNING" in " ".join(capsys.readouterr().out.split())
