"""Sample cluster facts and runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from emrctl.clusters.model import Cluster
from emrctl.runs.record import ClusterFacts, Run
from emrctl.spec import ClusterSpec

CLUSTER = Cluster(
    name="main",
    stack="pets-main",
    id="j-1",
    arn="",
    state="WAITING",
    spec=ClusterSpec(),
    region="us-east-1",
    bucket="b",
    created="",
)
FACTS = ClusterFacts(
    name="main",
    id="j-1",
    release="emr-7.5.0",
    primary_type="m5.xlarge",
    core_type="m5.xlarge",
    core_count=2,
    hourly_usd=0.72,
)
RUN = Run(
    id="r1",
    job="svm",
    project="pets",
    target="local",
    identity="e",
    bucket="b",
    cluster=FACTS,
    created="2026-11-20T10:00:00.000+00:00",
)


def run_on(cluster_id: str, **facts: Any) -> Run:
    """Return a run on the cluster with that id."""
    return replace(RUN, cluster=replace(FACTS, id=cluster_id, **facts))
