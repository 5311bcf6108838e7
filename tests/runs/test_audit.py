from __future__ import annotations

from typing import Any

import pytest

from emrctl.metrics.model import RunMetrics, SqlMetrics, StageMetrics
from emrctl.runs.audit import Submission, audit, of_log


def remarks(properties: dict[str, str], **run: Any) -> list[tuple[str, str]]:
    """Return kind and text of the remarks on these `--conf` properties."""
    record = RunMetrics(**({"spark_version": "3.5.6"} | run))
    return [(item.kind, item.text) for item in audit(Submission(conf=properties), record)]


@pytest.mark.parametrize(
    ("version", "words"), [("3.5.6", "is deprecated: use"), ("4.1.1", "is ignored since Spark 4.1")]
)
def test_audit_old_name_is_ignored_by_later_spark(version: str, words: str) -> None:
    properties = {"spark.blacklist.enabled": "true"}
    [(kind, text)] = remarks(properties, spark_version=version)
    assert kind == "deprecated"
    assert words in text
    assert text.endswith("use spark.excludeOnFailure.enabled")


@pytest.mark.parametrize(
    ("properties", "kind", "words"),
    [
        ({"spark.speculation.multiplier": "2"}, "no effect", "spark.speculation is off"),
        ({"spark.dynamicAllocation.maxExecutors": "4"}, "no effect", "enabled is off"),
        ({"spark.memory.offHeap.size": "1g"}, "no effect", "offHeap.enabled is off"),
        ({"spark.kryoserializer.buffer.max": "1g"}, "no effect", "not Kryo"),
        ({"spark.master": "yarn", "spark.cores.max": "8"}, "no effect", "YARN has no such limit"),
        ({"spark.master": "spark://a:1", "spark.yarn.queue": "q"}, "no effect", "standalone"),
        ({"spark.master": "local[2]", "spark.executor.memory": "4g"}, "no effect", "local"),
        (
            {"spark.sql.adaptive.enabled": "false", "spark.sql.adaptive.localShuffleReader": "x"},
            "no effect",
            "spark.sql.adaptive.enabled is off",
        ),
        (
            {"spark.dynamicAllocation.enabled": "true", "spark.executor.instances": "4"},
            "no effect",
            "the first number only",
        ),
        ({"spark.yarn.executor.memoryOverhead": "512"}, "deprecated", "spark.executor.memoryOver"),
        ({"spark.storage.memoryFraction": "0.5"}, "deprecated", "since Spark 1.6"),
        (
            {
                "spark.dynamicAllocation.enabled": "true",
                "spark.dynamicAllocation.minExecutors": "9",
                "spark.dynamicAllocation.maxExecutors": "3",
            },
            "contradiction",
            "above maxExecutors=3",
        ),
    ],
)
def test_audit_names_setting_and_reason(properties: dict[str, str], kind: str, words: str) -> None:
    [found] = remarks(properties)
    assert found[0] == kind
    assert words in found[1]


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"spark.executor.memory": "4g", "spark.executor.instances": "4"},
        {"spark.speculation": "true", "spark.speculation.multiplier": "2"},
        {"spark.sql.adaptive.skewJoin.skewedPartitionFactor": "3"},
        {"spark.master": "yarn", "spark.yarn.queue": "default"},
    ],
)
def test_audit_settings_with_effect_have_no_remark(properties: dict[str, str]) -> None:
    assert remarks(properties) == []


def test_audit_partitions_depend_on_kind_of_stages() -> None:
    stages = (StageMetrics(id=0), StageMetrics(id=1))
    shuffle, parallelism = "spark.sql.shuffle.partitions", "spark.default.parallelism"
    assert "no SQL queries" in remarks({shuffle: "8"}, stages=stages)[0][1]
    both = (SqlMetrics(id=0, stages=(0,)),)
    assert remarks({shuffle: "8", parallelism: "8"}, stages=stages, sql=both) == []
    only = (SqlMetrics(id=0, stages=(0, 1)),)
    assert "all stages belong" in remarks({parallelism: "8"}, stages=stages, sql=only)[0][1]


def test_audit_option_and_conf_that_differ_are_a_contradiction() -> None:
    options = ("--executor-memory 4g", "--conf spark.executor.memory=2g", "--conf spark.a=1")
    submission = of_log(RunMetrics(submit_options=(*options, "--conf spark.a=2")))
    first, second = audit(submission, RunMetrics())
    assert first.text == (
        "--executor-memory 4g and --conf spark.executor.memory=2g: the option wins, 4g is in effect"
    )
    assert second.text == "--conf spark.a is given twice: the last one wins, 2"
    assert submission.properties == {"spark.executor.memory": "4g", "spark.a": "2"}


def test_audit_emr_defaults_need_the_type_of_core_nodes() -> None:
    conf = {"spark.executor.memory": "9486m", "spark.executor.cores": "4"}
    submission = Submission(conf=conf, core_type="m5.xlarge")
    texts = [item.text for item in audit(submission, RunMetrics())]
    assert texts == [
        "spark.executor.cores=4 is EMR's default on m5.xlarge",
        "spark.executor.memory=9486m is EMR's default on m5.xlarge",
    ]
    assert audit(Submission(conf=conf, core_type="unknown"), RunMetrics()) == ()
