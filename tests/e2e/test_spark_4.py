"""emrctl's jobs on a release with Spark 4: real Spark 4.1 from PyPI on a real YARN."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws import releases
from emrctl.aws.target import Target
from emrctl.emulator.server.state import EmulatorInfo
from tests.e2e.conftest import SMALL, Shell

pytestmark = [pytest.mark.yarn, pytest.mark.timeout(600)]

LTS = releases.release("emr-spark-8.1.0")
YAML = f"""\
project: spark4
cluster:
  release: {LTS.label}
  core: {{type: m5.xlarge, count: 1}}
  bootstrap: [{{script: python.sh, args: [boto3]}}]
"""
OPTIONS = (*SMALL, "--executors", "1", "--executor-cores", "2", "--no-dynamic-allocation")


@pytest.fixture(scope="module")
def spark_4(emulator: EmulatorInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Create a project with a cluster of the newest LTS release; delete it afterwards."""
    shell = Shell(tmp_path_factory.mktemp("spark4"), Path(emulator.home).parent)
    (shell.folder / "emrctl.yaml").write_text(YAML)
    shell.run("up")
    yield shell
    shell.run("down", "--yes")
    shell.run("down", "--storage", "--yes")


def _features() -> bytes:
    """Return Parquet features of two classes, in the format of the features job."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [f"{label}/{n}.png" for label in ("cat", "dog") for n in range(12)]
    columns = {
        "path": names,
        "label": [name[:3] for name in names],
        "features": [[float(n % 7), float(name[:3] == "dog"), 1.0] for n, name in enumerate(names)],
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _submit(shell: Shell, *arguments: str) -> dict[str, Any]:
    [run], _ = shell.submit(*OPTIONS, *arguments)
    assert run["state"] == "COMPLETED"
    assert run["metrics"]["spark_version"] == LTS.spark
    assert run["metrics"]["complete"]
    result: dict[str, Any] = run["result"]
    return result


def test_wordcount_and_svm_run_on_the_spark_of_the_release(spark_4: Shell, local: Target) -> None:
    cluster = spark_4.json("show")
    described = local.client("emr").describe_cluster(ClusterId=cluster["id"])["Cluster"]
    assert described["Applications"] == [{"Name": "Spark", "Version": LTS.spark}]
    s3, bucket = local.client("s3"), cluster["bucket"]
    s3.put_object(Bucket=bucket, Key="texts/a.txt", Body="one two\nTwo: three\n" * 50)
    s3.put_object(Bucket=bucket, Key="features/a.parquet", Body=_features())
    words = _submit(spark_4, "wordcount", "--input", f"s3://{bucket}/texts/")
    assert (words["figures"]["words"], words["figures"]["distinct"]) == (200, 3)
    assert words["figures"]["top"][0] == {"word": "two", "count": 100}
    svm = _submit(
        spark_4,
        *("svm", "--features", f"s3://{bucket}/features/", "--task", "pairs"),
        *("--shares", "0.5", "--seed", "1", "--solver", "mllib", "--iterations", "5"),
    )
    assert svm["job"] == "svm"
