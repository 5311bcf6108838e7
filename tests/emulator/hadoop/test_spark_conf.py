from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from emrctl.emulator.cluster.model import EmulatedCluster
from emrctl.emulator.hadoop import hadoop_jars, hdfs_classes, spark_conf, ui_filter
from emrctl.emulator.hadoop.spark_install import SparkInstallation
from tests.emulator.hadoop.clusters import classification, emulated_cluster


@contextmanager
def compiled_classes() -> Iterator[None]:
    """Use folders that do not exist in place of classes for a Spark that is not installed."""
    with (
        mock.patch.object(ui_filter, "class_path", return_value=Path("/filter")),
        mock.patch.object(hdfs_classes, "client_class_path", return_value=Path("/hdfs")),
    ):
        yield


def defaults(tmp_path: Path, cluster: EmulatedCluster) -> dict[str, str]:
    spark = SparkInstallation(version="4.1.1", packages=tmp_path, s3a="s3a/*")
    with compiled_classes():
        return spark_conf.defaults(cluster, tmp_path, spark)


def test_defaults_protect_pages_of_drivers(tmp_path: Path) -> None:
    properties = defaults(tmp_path, emulated_cluster())
    assert properties["spark.ui.filters"] == "emrctl.LocalUserFilter"
    assert properties["spark.driver.extraClassPath"] == "/filter:s3a/*:/hdfs"
    assert properties["spark.executor.extraClassPath"] == "s3a/*:/hdfs"


def test_filter_is_compiled_for_the_installed_spark() -> None:
    folder = ui_filter.class_path(hadoop_jars.spark_home())
    assert (folder / "emrctl/LocalUserFilter.class").is_file()
    assert ui_filter.class_path(hadoop_jars.spark_home()) == folder


def test_defaults_are_emr_defaults(tmp_path: Path) -> None:
    properties = defaults(tmp_path, emulated_cluster())
    assert properties["spark.executor.memory"] == "9486M"
    assert properties["spark.executor.cores"] == "4"
    assert properties["spark.driver.memory"] == "2048M"
    assert properties["spark.executor.memoryOverheadFactor"] == "0.1875"
    assert properties["spark.dynamicAllocation.enabled"] == "true"
    assert properties["spark.shuffle.service.enabled"] == "false"
    assert properties["spark.authenticate"] == "true"
    assert (
        defaults(tmp_path, emulated_cluster(instance_type="r5.xlarge"))["spark.executor.memory"]
        == "18971M"
    )


def test_default_executor_fits_beside_a_driver_on_the_only_worker(tmp_path: Path) -> None:
    assert defaults(tmp_path, emulated_cluster(workers=1))["spark.executor.memory"] == "8300M"
    assert defaults(tmp_path, emulated_cluster(workers=0))["spark.executor.memory"] == "8300M"
    for key, value in (("memory", "9486M"), ("cores", "2")):
        own = classification("spark-defaults", **{f"spark__executor__{key}": value})
        assert (
            defaults(tmp_path, emulated_cluster(own, workers=1))[f"spark.executor.{key}"] == value
        )
    off = classification("spark-defaults", spark__yarn__heterogeneousExecutors__enabled="false")
    properties = defaults(tmp_path, emulated_cluster(off, workers=1))
    assert properties["spark.executor.memory"] == "9486M"
    large = emulated_cluster(instance_type="m5.4xlarge", workers=1)
    assert defaults(tmp_path, large)["spark.executor.memory"] == "11067M"


def test_user_settings_override_defaults_except_missing_paths(tmp_path: Path) -> None:
    configuration = classification(
        "spark-defaults",
        spark__executor__memory="2g",
        spark__executorEnv__JAVA_HOME="/usr/lib/jvm/java-17-amazon-corretto.x86_64",
        spark__pyspark__python="/usr/bin/python3.99",
    )
    properties = defaults(tmp_path, emulated_cluster(configuration))
    assert properties["spark.executor.memory"] == "2g"
    assert "spark.executorEnv.JAVA_HOME" not in properties
    assert properties["spark.pyspark.python"] == "python3"
    export = classification(
        "export", PYSPARK_PYTHON="/usr/bin/python3.9", JAVA_HOME="/x", MINE="a b"
    )
    environment = spark_conf.environment(
        emulated_cluster({"Classification": "spark-env", "Configurations": [export]})
    )
    assert environment == {"PYSPARK_PYTHON": "python3", "MINE": "a b"}


def test_maximize_resource_allocation_sets_one_executor_per_node(tmp_path: Path) -> None:
    configuration = classification("spark", maximizeResourceAllocation="true")
    properties = defaults(tmp_path, emulated_cluster(configuration, instance_type="m5.2xlarge"))
    assert properties["spark.executor.instances"] == "2"
    assert properties["spark.executor.cores"] == "8"
    assert properties["spark.default.parallelism"] == "32"
    assert properties["spark.dynamicAllocation.enabled"] == "false"
    dynamic = classification("spark-defaults", spark__dynamicAllocation__enabled="true")
    properties = defaults(tmp_path, emulated_cluster(configuration, dynamic))
    assert "spark.executor.instances" not in properties


def test_files_have_configurations_of_cluster_and_primary_group(tmp_path: Path) -> None:
    cluster = emulated_cluster(
        classification("spark-log4j2", rootLogger__level="warn", logger__mine__name="pets"),
        classification("spark-defaults", spark__executor__memory="1g", spark__a="1"),
        {
            "Classification": "spark-env",
            "Properties": {},
            "Configurations": [classification("export", MINE="a b")],
        },
    )
    own = classification("spark-defaults", spark__executor__memory="3g")
    cluster.groups[0].request = {"Configurations": [own]}
    spark = SparkInstallation(version="4.1.1", packages=tmp_path, s3a="s3a/*")
    (tmp_path / "conf").mkdir()
    with compiled_classes():
        spark_conf.write(cluster, tmp_path, spark)

    def lines(name: str) -> list[str]:
        return (tmp_path / "conf" / name).read_text().splitlines()

    assert {"spark.executor.memory 3g", "spark.a 1"} <= set(lines("spark-defaults.conf"))
    assert "export MINE='a b'" in lines("spark-env.sh")
    assert {"rootLogger.level = warn", "logger.mine.name = pets"} <= set(lines("log4j2.properties"))
