from __future__ import annotations

import pytest

from emrctl.metrics.configuration import configuration, program, submit_options
from emrctl.redact import REDACTED

SPARK_JAVA = (
    "--enable-native-access=ALL-UNNAMED "
    "-Djava.net.preferIPv6Addresses=false -XX:+IgnoreUnrecognizedVMOptions "
    "--add-modules=jdk.incubator.vector --add-opens=java.base/java.lang=ALL-UNNAMED "
    "-Djdk.reflect.useDirectMethodHandle=false -Dio.netty.allocator.type=pooled "
    "-Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE "
    "-Dio.netty.tryReflectionSetAccessible=true"
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spark.app.id", "application_1795797183693_0003"),
        ("spark.app.name", "job emrctl-20261127-145148317-job-a960"),
        ("spark.app.startTime", "1795797263057"),
        ("spark.driver.appUIAddress", "http://ip-10-0-0-1:4040"),
        ("spark.driver.host", "10.0.0.1"),
        ("spark.driver.port", "42709"),
        ("spark.eventLog.dir", "s3://bucket/eventlogs/"),
        ("spark.local.dir", "/mnt/yarn"),
        ("spark.org.apache.hadoop.yarn.server.webproxy.amfilter.AmIpFilter.param.PROXY_HOSTS", "a"),
        ("spark.repl.class.uri", "spark://10.0.0.1:4040/classes"),
        ("spark.sql.warehouse.dir", "file:///home/hadoop/warehouse"),
        ("spark.ui.port", "0"),
        ("spark.yarn.app.container.log.dir", "/var/log/application_1795797183693_0003"),
        ("spark.yarn.cache.timestamps", "1795797263057"),
        ("spark.yarn.stagingDir", "hdfs:///user"),
        ("spark.yarn.tags", "emrctl-20261127-163418812-job-f722"),
        ("spark.submit.pyFiles", ""),
        ("spark.rdd.compress", "True"),
        ("spark.driver.extraJavaOptions", SPARK_JAVA),
        ("java.version", "17"),
    ],
)
def test_configuration_omits_what_differs_between_repeats(name: str, value: str) -> None:
    assert configuration({name: value}) == {}


@pytest.mark.parametrize(
    "name",
    [
        "spark.default.parallelism",
        "spark.driver.maxResultSize",
        "spark.executor.extraJavaOptions",
        "spark.executorEnv.OMP_NUM_THREADS",
        "spark.hadoop.fs.s3a.connection.maximum",
        "spark.io.compression.codec",
        "spark.jars.packages",
        "spark.kryoserializer.buffer",
        "spark.locality.wait",
        "spark.master",
        "spark.memory.offHeap.size",
        "spark.my.own.setting",
        "spark.rapids.sql.enabled",
        "spark.scheduler.mode",
        "spark.shuffle.file.buffer",
        "spark.sql.adaptive.enabled",
        "spark.sql.session.timeZone",
        "spark.task.cpus",
        "spark.yarn.queue",
    ],
)
def test_configuration_keeps_other_properties(name: str) -> None:
    assert configuration({name: "4"}) == {name: "4"}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("-XX:+UseG1GC -Djava.io.tmpdir=/tmp/spark-1", "-XX:+UseG1GC -Djava.io.tmpdir=…"),
        ("hdfs:///stage/application_1795797183693_0003/a.jar", "hdfs:///stage/…/a.jar"),
        ("spark://10.0.0.1:7077", "spark…"),
        ("s3://a-emrctl-1/code/1/a.zip", "s3://a-emrctl-1/code/1/a.zip"),
        ("s3://bucket/j-UHEB2PUCVW9P4/a.zip", "s3://bucket/…/a.zip"),
    ],
)
def test_configuration_replaces_names_of_one_run(value: str, kept: str) -> None:
    assert configuration({"spark.x": value}) == {"spark.x": kept}


SUBMIT = "org.apache.spark.deploy.SparkSubmit --master yarn --verbose --num-executors 2"
MASTER = "org.apache.spark.deploy.yarn.ApplicationMaster --class org.apache.spark.PythonRunner"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (f"{SUBMIT} s3://b/code/1/a.py --x 1 b.py", ("s3://b/code/1/a.py", "--x", "1", "b.py")),
        (f"{SUBMIT} --conf spark.x=-Da=1 -Db=2 --class org.A a.jar 7", ("a.jar", "7")),
        (f"{SUBMIT} --name Spark shell spark-shell", ("spark-shell",)),
        (f"{SUBMIT} a.py --out s3://b/20261127-145148317-a-0a1b/", ("a.py", "--out", "s3://b/…/")),
        (f"{SUBMIT} a.py --token abc", ("a.py", "--token", REDACTED)),
        (f"{SUBMIT} a.py application_1_5", ("a.py", "application_1_5")),
        (
            f"{MASTER} --primary-py-file a.py --arg --x --arg 1 --properties-file p",
            ("a.py", "--x", "1"),
        ),
        (f"{MASTER} --jar a.jar --arg 7", ("a.jar", "7")),
        ("com.databricks.backend.daemon.driver.DriverDaemon", ()),
        ("", ()),
    ],
)
def test_program_returns_file_and_arguments(command: str, words: tuple[str, ...]) -> None:
    assert program(command) == words


def test_submit_options_are_those_before_the_program() -> None:
    command = (
        "org.apache.spark.deploy.SparkSubmit --master yarn --verbose --conf spark.a=1 "
        "--conf spark.my.password=hunter2 --executor-memory 4g job.py --conf x"
    )
    assert submit_options(command) == (
        "--master yarn",
        "--verbose",
        "--conf spark.a=1",
        f"--conf spark.my.password={REDACTED}",
        "--executor-memory 4g",
    )
    assert program(command) == ("job.py", "--conf", "x")


@pytest.mark.parametrize(
    "command",
    ["", "org.apache.spark.deploy.yarn.ApplicationMaster --class A --arg x", "Main --conf a=b"],
)
def test_submit_options_of_other_drivers_are_empty(command: str) -> None:
    assert submit_options(command) == ()
