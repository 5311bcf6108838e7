"""HDFS of a cluster, which starts with the first step that uses it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.hadoop import hadoop_jars
from emrctl.emulator.server import processes, state
from tests.e2e.test_listeners import NOBODY, PATHS, ask, listeners, served
from tests.emulator.hadoop.test_yarn import SMALL, logs, wait

pytestmark = pytest.mark.yarn

JOB = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = spark.read.csv("hdfs:///in")
assert rows.inputFiles()[0].startswith("hdfs://ip-"), rows.inputFiles()
rows.repartition(2).write.parquet("out")
print("ROWS", spark.read.parquet("/user/hadoop/out").count())
"""
WEBHDFS = ("/webhdfs/v1/?op=LISTSTATUS", "/webhdfs/v1/in?op=LISTSTATUS&user.name=hadoop", "/jmx")


@pytest.fixture(scope="module")
def text(local: Target, yarn_cluster: str) -> str:
    """Copy from S3 to HDFS, use it in Spark and list it, in one step; return its output."""
    s3 = local.client("s3")
    s3.put_object(Bucket="yarn-logs", Key="rows/a.csv", Body=b"1\n2\n")
    s3.put_object(Bucket="yarn-logs", Key="rows/deep/b.csv", Body=b"3\n")
    s3.put_object(Bucket="yarn-logs", Key="rows/c.txt", Body=b"no rows\n")
    s3.put_object(Bucket="yarn-logs", Key="code/hdfs.py", Body=JOB.encode())
    spark = " ".join(("spark-submit", *SMALL, "s3://yarn-logs/code/hdfs.py"))
    script = f"""set -e
        s3-dist-cp --src s3://yarn-logs/rows --dest hdfs:///in --srcPattern '.*[.]csv'
        hadoop fs -mv /in/deep/b.csv /in/
        {spark}
        hadoop fs -ls -R hdfs:///"""
    jar = {"Jar": "command-runner.jar", "Args": ["bash", "-c", script]}
    step = {"Name": "hdfs", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
    [step_id] = local.client("emr").add_job_flow_steps(JobFlowId=yarn_cluster, Steps=[step])[
        "StepIds"
    ]
    result = wait(local, yarn_cluster, step_id)
    texts = logs(local, f"{yarn_cluster}/steps/{step_id}/")
    assert result["State"] == "COMPLETED", texts["stderr.gz"][-3000:]
    return texts["stdout.gz"]


def test_steps_copy_read_write_and_list_files(text: str) -> None:
    assert "ROWS 3\n" in text
    paths = [line.split()[-1] for line in text.splitlines() if line.startswith(("d", "-"))]
    assert {"hdfs:///in/a.csv", "hdfs:///in/b.csv"} <= set(paths)
    assert not any(path.endswith("c.txt") for path in paths)
    assert sum("/user/hadoop/out/part-" in path for path in paths) == 2
    assert "hdfs:///tmp" in paths


def test_daemons_of_hdfs_serve_no_page_without_cookie(
    emulator: state.EmulatorInfo, text: str
) -> None:
    addresses = sorted(listeners(emulator))
    assert {ip for ip, _ in addresses if not ip.startswith("127.") and ip != "::1"} == set()
    every = [f"{ip} {port} {path}" for ip, port in addresses for path in (*PATHS, *WEBHDFS)]
    users = (None, NOBODY) if os.geteuid() == 0 else (None,)
    for user in users:
        assert [one for one in served(ask(every, user)) if "api/v1/app" not in one] == []


@pytest.mark.parametrize("user", ["root", "hadoop", "hadoop@emr", "kabc@def"])
def test_rpc_with_another_user_name_is_rejected(
    emulator: state.EmulatorInfo, yarn_cluster: str, text: str, user: str, tmp_path: Path
) -> None:
    folder = Path(emulator.home) / "clusters" / yarn_cluster / "hdfs"
    (tmp_path / "core-site.xml").write_text("<configuration/>")
    done = subprocess.run(
        [
            *(str(hadoop_jars.java_home() / "bin/java"), "-cp"),
            f"{tmp_path}:{hadoop_jars.spark_home()}/jars/*",
            *("org.apache.hadoop.fs.FsShell", "-ls"),
            f"hdfs://{(folder / 'address').read_text()}/",
        ],
        env={"HADOOP_USER_NAME": user, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert "not authorized" in done.stderr


def test_killed_name_node_is_restarted_with_its_files(
    local: Target, yarn_cluster: str, text: str
) -> None:
    def name_nodes() -> list[Any]:
        marked = processes.marked(processes.CLUSTER_MARK, yarn_cluster)
        return [one for one in marked if "emrctl.FormattedNameNode" in one.cmdline()]

    [name_node] = name_nodes()
    name_node.kill()
    deadline = time.monotonic() + 60
    while [one.pid for one in name_nodes()] in ([], [name_node.pid]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # HDFS is in safe mode, without blocks, until the DataNodes have reported theirs.
    script = """for attempt in {1..60}; do
        hadoop fs -cat hdfs:///in/a.csv hdfs:///in/b.csv > rows && exec cat rows
        sleep 1
    done
    exit 1"""
    jar = {"Jar": "command-runner.jar", "Args": ["bash", "-c", script]}
    step = {"Name": "cat", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
    emr = local.client("emr")
    step_id = emr.add_job_flow_steps(JobFlowId=yarn_cluster, Steps=[step])["StepIds"][0]
    result = wait(local, yarn_cluster, step_id)
    texts = logs(local, f"{yarn_cluster}/steps/{step_id}/")
    assert result["State"] == "COMPLETED", texts["stderr.gz"]
    assert texts["stdout.gz"] == "1\n2\n3\n"
