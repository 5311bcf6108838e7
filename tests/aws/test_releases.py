"""The table of EMR's releases, and the rules for labels."""

from __future__ import annotations

import re

import pytest

from emrctl.aws import releases
from emrctl.errors import SpecError


def test_table_rows_are_complete_and_sorted() -> None:
    rows = list(releases.table().values())
    assert len(rows) > 150
    for row in rows:
        assert re.fullmatch(r"\d+\.\d+\.\d+", row.spark), row
        assert re.fullmatch(r"\d+\.\d+\.\d+", row.hadoop), row
        assert row.python3.startswith("3.")
        assert row.wheel_platform
        assert {"Spark"} <= set(row.applications)
    labels = [row.label for row in rows]
    for line in (True, False):
        orders = [releases.order(one) for one in labels if one.startswith("emr-spark") is line]
        assert orders == sorted(orders, reverse=True)


def test_table_states_its_date_and_sources() -> None:
    head = releases.TABLE.read_text().split("emr-spark-8.1.0 ")[0]
    assert re.search(r"as of 20\d\d-\d\d-\d\d", head)
    assert "docs.aws.amazon.com" in head


def test_release_spark_4_has_no_hadoop_application() -> None:
    lts = releases.newest_lts()
    assert (lts.label, lts.spark, lts.scala) == ("emr-spark-8.1.0", "4.1.1", "2.13")
    assert (lts.python_command, lts.java[0]) == ("python3.11", "17")
    assert lts.default_applications == ["Spark"]
    assert "Hadoop" not in lts.applications
    assert lts.hadoop == "3.4.2"
    assert releases.release("emr-7.14.0").default_applications == ["Hadoop", "Spark"]


@pytest.mark.parametrize(
    ("label", "present", "absent"),
    [
        ("emr-7.14.0", {"Trino", "Iceberg", "AmazonCloudWatchAgent"}, {"Ganglia", "Mahout"}),
        ("emr-6.3.1", {"PrestoSQL", "Ganglia"}, {"Trino", "Iceberg", "Delta"}),
        ("emr-6.4.0", {"Trino"}, {"PrestoSQL", "Iceberg"}),
        ("emr-5.0.0", {"Presto", "Mahout"}, {"Flink", "Livy", "JupyterHub"}),
        ("emr-4.6.0", {"Presto-Sandbox", "HBase"}, {"Presto", "Phoenix"}),
    ],
)
def test_applications_follow_the_series(label: str, present: set[str], absent: set[str]) -> None:
    applications = set(releases.release(label).applications)
    assert present <= applications
    assert not absent & applications


@pytest.mark.parametrize(
    ("label", "row"),
    [
        ("emr-7.99.0", "emr-7.14.0"),
        ("emr-7.4.9", "emr-7.4.0"),
        ("emr-spark-9.0.0", "emr-spark-8.1.0"),
        ("emr-spark-7.0.0", "emr-spark-8.0.0"),
        ("emr-3.1.0", "emr-4.0.0"),
    ],
)
def test_release_not_in_table_is_the_latest_earlier_one(label: str, row: str) -> None:
    assert releases.release(label).label == row


def test_release_of_other_text_raises() -> None:
    with pytest.raises(SpecError, match="unknown EMR release 'latest'"):
        releases.release("latest")


@pytest.mark.parametrize(
    "label", ["emr-7.15.0", "emr-spark-8.2.0", "emr-6.0.0-beta", "emr-6.15.1", "emr-7.4.9"]
)
def test_fault_accepts_known_and_later_releases(label: str) -> None:
    assert not releases.fault(label)


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("emr-6.16.0", "the last of this series is emr-6.15.0"),
        ("emr-7.5.0-beta", "is written as"),
        ("spark-8.1.0", "is written as"),
        ("emr-spark-7.1.0", "the series are emr-4 to emr-7 and emr-spark-8"),
    ],
)
def test_fault_names_reason(label: str, reason: str) -> None:
    assert reason in releases.fault(label)


def test_fault_of_region_uses_its_labels() -> None:
    labels = ["emr-7.9.0", "emr-7.8.0"]
    assert not releases.fault("emr-7.10.0", labels)
    assert not releases.fault("emr-spark-8.1.0", labels)
    assert "there is no release" in releases.fault("emr-7.7.0", labels)
