from __future__ import annotations

import json
from typing import Any

from tests.emulator.api.test_checks import RUNTIME_ROLES, code
from tests.emulator.conftest import Emr


def test_release_labels_are_filtered_and_paged(emr: Emr) -> None:
    labels = emr.list_release_labels()["ReleaseLabels"]
    assert "emr-7.5.0" in labels
    sixes = emr.list_release_labels(Filters={"Prefix": "emr-6"})["ReleaseLabels"]
    assert sixes == [label for label in labels if label.startswith("emr-6")]
    first = emr.list_release_labels(MaxResults=3)
    rest = emr.list_release_labels(NextToken=first["NextToken"])
    assert first["ReleaseLabels"] + rest["ReleaseLabels"] == labels
    assert emr.list_release_labels(Filters={"Application": "spark"})["ReleaseLabels"] == labels
    for application, expected in (
        ("Spark@0.1.0", []),
        ("Spark@4.1.1", ["emr-spark-8.1.0"]),
        ("Hadoop@3.4.2", ["emr-7.14.0", "emr-7.13.0"]),
    ):
        rows = emr.list_release_labels(Filters={"Application": application})["ReleaseLabels"]
        assert rows == expected


def test_describe_release_label_lists_applications(emr: Emr) -> None:
    answer = emr.describe_release_label(ReleaseLabel="emr-7.5.0")
    versions = {one["Name"]: one.get("Version") for one in answer["Applications"]}
    assert (versions["Spark"], versions["Hadoop"], versions["Hive"]) == ("3.5.2", "3.4.0", None)
    answer = emr.describe_release_label(ReleaseLabel="emr-spark-8.1.0")
    versions = {one["Name"]: one.get("Version") for one in answer["Applications"]}
    assert versions["Spark"] == "4.1.1"
    assert "Hadoop" not in versions
    for call in (emr.describe_release_label, emr.list_supported_instance_types):
        assert code(call, ReleaseLabel="emr-7.99.0") == "InvalidRequestException"
    assert code(emr.describe_release_label) == "InvalidRequestException"


def test_security_configurations_are_stored_by_region(emr: Emr) -> None:
    emr.create_security_configuration(Name="secure", SecurityConfiguration='{"a": 1}')
    for wrong in ('{"a": 1}', "{", "[]", "[" * 100_000):
        name = "secure" if wrong.startswith('{"') else "other"
        answer = code(
            emr.create_security_configuration, Name=name, SecurityConfiguration=wrong[:10_000]
        )
        assert answer == "InvalidRequestException"
    assert [
        one["Name"] for one in emr.list_security_configurations()["SecurityConfigurations"]
    ] == ["secure"]
    stored = emr.describe_security_configuration(Name="secure")
    assert json.loads(stored["SecurityConfiguration"]) == {"a": 1}
    emr.delete_security_configuration(Name="secure")
    assert code(emr.describe_security_configuration, Name="secure") == "InvalidRequestException"


def test_block_public_access_is_on_until_changed(emr: Emr) -> None:
    key = "BlockPublicAccessConfiguration"
    assert emr.get_block_public_access_configuration()[key]["BlockPublicSecurityGroupRules"]
    changed = {
        "BlockPublicSecurityGroupRules": False,
        "PermittedPublicSecurityGroupRuleRanges": [{"MinRange": 22, "MaxRange": 23}],
    }
    emr.put_block_public_access_configuration(**{key: changed})
    assert emr.get_block_public_access_configuration()[key] == changed
    changed["PermittedPublicSecurityGroupRuleRanges"] = [{"MinRange": 23, "MaxRange": 22}]
    answer = code(emr.put_block_public_access_configuration, **{key: changed})
    assert answer == "InvalidRequestException"


def test_session_credentials_need_runtime_roles(
    emr: Emr, waiting: str, request_body: dict[str, Any]
) -> None:
    assert code(emr.get_cluster_session_credentials, ClusterId=waiting) == "InvalidRequestException"
    emr.create_security_configuration(Name="roles", SecurityConfiguration=RUNTIME_ROLES)
    request = request_body | {"SecurityConfiguration": "roles"}
    cluster = emr.run_job_flow(**request)["JobFlowId"]
    answer = emr.get_cluster_session_credentials(ClusterId=cluster)
    assert answer["Credentials"]["UsernamePassword"]["Password"]
    assert answer["ExpiresAt"].timestamp() > 0


def test_describe_job_flows_returns_clusters(emr: Emr, waiting: str) -> None:
    (flow,) = emr.describe_job_flows()["JobFlows"]
    assert flow["JobFlowId"] == waiting
    assert flow["ExecutionStatusDetail"]["State"] == "WAITING"
    assert flow["Instances"]["InstanceCount"] == 3
    assert emr.describe_job_flows(JobFlowStates=["FAILED"])["JobFlows"] == []
    assert emr.describe_job_flows(JobFlowIds=[waiting])["JobFlows"]
