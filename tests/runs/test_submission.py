"""What a step asks of either kind of cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emrctl.clusters.model import Cluster, Node
from emrctl.errors import ProvisioningError, UsageError
from emrctl.runs import submission
from emrctl.spec import Ec2ClusterSpec, SparkSettings
from tests.facts import CLUSTER as ON_EMR
from tests.facts import run_on

PRIMARY = Node(
    id="i-1",
    role="primary",
    name="primary",
    type="m5.xlarge",
    state="RUNNING",
    private_dns="ip-10-0-0-7.ec2.internal",
    public_dns="",
    private_ip="10.0.0.7",
)
ON_EC2 = replace(ON_EMR, id="i-1", state="RUNNING", spec=Ec2ClusterSpec(), nodes=(PRIMARY,))
FIVE = SparkSettings(executors=5, executor_cores=2, executor_memory="4743M")


def test_yarn_is_asked_for_containers() -> None:
    found = submission.master_conf(ON_EMR, FIVE)
    assert (found.master, found.conf) == ("yarn", {})
    assert found.warning is not None
    assert "room for 4" in found.warning
    conf = submission.application_conf(ON_EMR, run_on(ON_EMR.id))
    assert (conf["spark.app.name"], conf["spark.yarn.tags"]) == ("svm", "emrctl-r1")


def test_a_standalone_master_is_asked_for_cores_by_its_private_address() -> None:
    found = submission.master_conf(ON_EC2, FIVE)
    assert found.master == "spark://10.0.0.7:7077"
    assert found.conf["spark.cores.max"] == "10"
    assert found.warning is not None
    conf = submission.application_conf(ON_EC2, run_on(ON_EC2.id))
    assert conf["spark.app.name"] == "svm emrctl-r1"
    assert "spark.yarn.tags" not in conf
    assert conf["spark.eventLog.dir"] == "s3://b/eventlogs/"


@pytest.mark.parametrize("place", [ON_EMR, ON_EC2], ids=["emr", "ec2"])
def test_an_executor_that_fits_nowhere_is_refused(place: Cluster) -> None:
    with pytest.raises(UsageError, match="executor needs"):
        submission.master_conf(place, SparkSettings(executor_memory="64g"))


def test_a_stopped_cluster_takes_no_steps() -> None:
    still = replace(ON_EC2, nodes=(replace(PRIMARY, state="STOPPED"),))
    with pytest.raises(ProvisioningError, match="is not running") as caught:
        submission.master_conf(still, SparkSettings())
    assert "emrctl start" in caught.value.hint
