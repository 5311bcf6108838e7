"""SparkSettings as spark-submit's arguments."""

from __future__ import annotations

import pytest

from emrctl.aws.s3 import event_log_conf
from emrctl.errors import UsageError
from emrctl.runs.backends import spark_submit
from emrctl.runs.backends.launcher import Program
from emrctl.spec import SparkSettings

PROGRAM = Program(script="s3://b/svm.py", py_files=("s3://b/c.py",), arguments=("--one", "a b"))


def test_command_without_settings_has_no_options() -> None:
    assert spark_submit.command(PROGRAM, SparkSettings(), {}) == (
        *("spark-submit", "--master", "yarn", "--deploy-mode", "client"),
        *("--py-files", "s3://b/c.py", "s3://b/svm.py", "--one", "a b"),
    )


def test_command_with_settings_has_options_and_conf() -> None:
    settings = SparkSettings(executors=5, partitions=24, dynamic_allocation=False)
    found = spark_submit.command(PROGRAM, settings, {})
    assert found[5:7] == ("--num-executors", "5")
    assert "spark.dynamicAllocation.enabled=false" in found
    assert "spark.default.parallelism=24" in found
    assert "spark.sql.shuffle.partitions=24" in found


def test_command_takes_deploy_mode_from_conf() -> None:
    settings = SparkSettings(conf={"spark.submit.deployMode": "cluster"})
    assert spark_submit.command(PROGRAM, settings, {})[3:5] == ("--deploy-mode", "cluster")


def test_command_with_conf_overrides_defaults() -> None:
    settings = SparkSettings(conf={"spark.eventLog.enabled": "false"})
    found = spark_submit.command(PROGRAM, settings, event_log_conf("b"))
    assert "spark.eventLog.enabled=false" in found
    assert "spark.eventLog.enabled=true" not in found


def test_command_for_standalone_master_omits_num_executors() -> None:
    settings = SparkSettings(executors=5, executor_cores=1)
    conf = {"spark.cores.max": "5"}
    found = spark_submit.command(PROGRAM, settings, conf, "spark://10.0.0.1:7077")
    assert found[:5] == (
        *("spark-submit", "--master", "spark://10.0.0.1:7077", "--deploy-mode", "client"),
    )
    assert "--num-executors" not in found
    assert "spark.cores.max=5" in found
    with pytest.raises(UsageError, match="cluster mode"):
        spark_submit.command(
            PROGRAM, SparkSettings(deploy_mode="cluster"), {}, "spark://10.0.0.1:7077"
        )


def test_command_with_environment_sets_driver_and_executors() -> None:
    program = Program(script="a.py", environment={"K": "v w"})
    client = spark_submit.command(program, SparkSettings(), {})
    assert client[:3] == ("env", "K=v w", "spark-submit")
    assert "spark.executorEnv.K=v w" in client
    cluster = spark_submit.command(program, SparkSettings(deploy_mode="cluster"), {})
    assert cluster[0] == "spark-submit"
    assert "spark.yarn.appMasterEnv.K=v w" in cluster
