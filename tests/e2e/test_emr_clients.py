"""Clients of EMR from PyPI, unchanged, against the EMR on localhost: AWS CLI, mrjob, emr-cli."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from tests.conftest import CACHE

pytestmark = [pytest.mark.yarn, pytest.mark.timeout(600)]

PACKAGES = ("awscli==1.46.3", "mrjob==0.7.4", "emr-cli==0.0.19")
BUCKET = "emr-clients"
SMALL = "spark.executor.memory=512m,spark.driver.memory=512m"
SUM = """
import sys
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print("sum is", spark.sparkContext.parallelize(range(1000), 4).map(lambda n: 2 * n).sum())
sys.exit(len(sys.argv) > 1 and sys.argv[1] == "fail")
"""
BOOTSTRAP = "#!/bin/bash\necho prepared by $1\n"


@dataclass(frozen=True)
class Clients:
    """Runs commands of the installed clients in a folder."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, code: int = 0, folder: Path | None = None) -> str:
        """Run a command, check its exit code and return its stdout and stderr."""
        done = subprocess.run(
            command,
            cwd=folder or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def emr(self, *arguments: str, code: int = 0) -> Any:
        """Run `aws emr` and return its document."""
        out = self.run("aws", "emr", *arguments, "--output", "json", code=code)
        return json.loads(out) if not code and out.strip() else out


def _install() -> Path:
    """Return a virtual environment with the clients; it is created once."""
    uv = str(Path(sys.executable).with_name("uv"))
    digest = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:16]
    folder = Path(CACHE) / "test-clients" / digest
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        pip = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
        subprocess.run([*pip, *PACKAGES], check=True)
        (folder / "installed").touch()
    return folder


@pytest.fixture(scope="module")
def clients(local: Target, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    folder = tmp_path_factory.mktemp("clients")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "EMRCTL_"))}
    environment = {
        **inherited,
        "HOME": str(folder),
        "PATH": f"{_install() / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": str(local.endpoint),
        "AWS_SHARED_CREDENTIALS_FILE": str(local.credentials),
        "AWS_REGION": local.region,
        "AWS_DEFAULT_REGION": local.region,
    }
    s3 = local.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="sum.py", Body=SUM)
    s3.put_object(Bucket=BUCKET, Key="prepare.sh", Body=BOOTSTRAP)
    (folder / "sum.py").write_text(SUM)
    return Clients(folder, environment)


@pytest.fixture(scope="module")
def cluster(clients: Clients) -> Iterator[str]:
    """A cluster that `aws emr create-cluster` has made; terminated after the tests."""
    found = clients.emr(
        *("create-cluster", "--name", "clients", "--release-label", "emr-7.5.0"),
        *("--applications", "Name=Spark", "--use-default-roles", "--instance-count", "2"),
        *("--instance-type", "m5.xlarge", "--log-uri", f"s3://{BUCKET}/logs"),
        *("--bootstrap-actions", f"Path=s3://{BUCKET}/prepare.sh,Name=prepare,Args=[hand]"),
    )["ClusterId"]
    clients.emr("wait", "cluster-running", "--cluster-id", found)
    yield found
    clients.emr("terminate-clusters", "--cluster-ids", found)
    clients.emr("wait", "cluster-terminated", "--cluster-id", found)


def _log(local: Target, path: str) -> str:
    body = local.client("s3").get_object(Bucket=BUCKET, Key=f"logs/{path}")["Body"].read()
    return gzip.decompress(body).decode()


def _step(name: str, mode: str, *arguments: str) -> str:
    conf = [item for one in SMALL.split(",") for item in ("--conf", one)]
    words = [*conf, "--deploy-mode", mode, f"s3://{BUCKET}/sum.py", *arguments]
    return f"Type=Spark,Name={name},ActionOnFailure=CONTINUE,Args=[{','.join(words)}]"


def test_aws_cli_runs_fails_and_cancels_steps(
    clients: Clients, cluster: str, local: Target
) -> None:
    steps = [
        *(_step("client", "client"), _step("cluster", "cluster")),
        *(_step("failing", "client", "fail"), _step("cancelled", "client")),
    ]
    ids = clients.emr("add-steps", "--cluster-id", cluster, "--steps", *steps)["StepIds"]
    of_cluster = ("--cluster-id", cluster)
    cancelled = clients.emr("cancel-steps", *of_cluster, "--step-ids", ids[3])
    assert cancelled["CancelStepsInfoList"][0]["Status"] == "SUBMITTED"
    for step in ids[:2]:
        clients.emr("wait", "step-complete", *of_cluster, "--step-id", step)
    failure = clients.emr("wait", "step-complete", *of_cluster, "--step-id", ids[2], code=255)
    assert "FAILED" in failure
    listed = clients.emr("list-steps", *of_cluster)["Steps"]
    states = {one["Name"]: one["Status"]["State"] for one in listed}
    expected = ("COMPLETED", "COMPLETED", "FAILED", "CANCELLED")
    assert states == dict(zip(("client", "cluster", "failing", "cancelled"), expected, strict=True))
    assert _log(local, f"{cluster}/steps/{ids[0]}/stdout.gz") == "sum is 999000\n"
    primary = clients.emr("list-instances", *of_cluster, "--instance-group-types", "MASTER")
    node = primary["Instances"][0]["Ec2InstanceId"]
    actions = f"{cluster}/node/{node}/bootstrap-actions/1/stdout.gz"
    assert _log(local, actions) == "prepared by hand\n"


def test_aws_cli_resizes_and_keeps_policies(clients: Clients, cluster: str) -> None:
    of_cluster = ("--cluster-id", cluster)
    groups = clients.emr("describe-cluster", *of_cluster)["Cluster"]["InstanceGroups"]
    core = next(one["Id"] for one in groups if one["InstanceGroupType"] == "CORE")
    clients.emr(
        "modify-instance-groups", "--instance-groups", f"InstanceGroupId={core},InstanceCount=2"
    )
    clients.emr(
        "put-auto-termination-policy", *of_cluster, "--auto-termination-policy", "IdleTimeout=900"
    )
    policy = clients.emr("get-auto-termination-policy", *of_cluster)["AutoTerminationPolicy"]
    assert policy == {"IdleTimeout": 900}
    limits = "MinimumCapacityUnits=2,MaximumCapacityUnits=2,UnitType=Instances"
    clients.emr(
        "put-managed-scaling-policy",
        *of_cluster,
        "--managed-scaling-policy",
        f"ComputeLimits={{{limits}}}",
    )
    stored = clients.emr("get-managed-scaling-policy", *of_cluster)["ManagedScalingPolicy"]
    assert stored["ComputeLimits"]["MaximumCapacityUnits"] == 2
    clients.emr("modify-cluster-attributes", *of_cluster, "--termination-protected")
    refused = clients.emr("terminate-clusters", "--cluster-ids", cluster, code=255)
    assert "ValidationException" in refused
    clients.emr("modify-cluster-attributes", *of_cluster, "--no-termination-protected")
    groups = clients.emr("describe-cluster", *of_cluster)["Cluster"]["InstanceGroups"]
    assert next(one["RequestedInstanceCount"] for one in groups if one["Id"] == core) == 2


def test_emr_cli_deploys_and_runs_project(clients: Clients, cluster: str) -> None:
    project = clients.folder / "project"
    project.mkdir()
    (project / "sum.py").write_text(SUM)
    options = " ".join(f"--conf {one}" for one in SMALL.split(","))
    out = clients.run(
        *("emr", "run", "--entry-point", "sum.py", "--cluster-id", cluster),
        *("--s3-code-uri", f"s3://{BUCKET}/code/", "--build", "--wait", "--show-stdout"),
        *("--spark-submit-opts", options),
        folder=project,
    )
    assert "Job completed successfully" in out
    assert "sum is 999000" in out


def test_mrjob_submits_spark_script(clients: Clients, cluster: str) -> None:
    conf = {
        "region": "us-east-1",
        "cloud_tmp_dir": f"s3://{BUCKET}/mrjob/",
        "check_cluster_every": 0.2,
        "jobconf": dict(one.split("=") for one in SMALL.split(",")),
    }
    (clients.folder / "mrjob.conf").write_text(json.dumps({"runners": {"emr": conf}}))
    out = clients.run(
        *("mrjob", "spark-submit", "-c", "mrjob.conf", "-r", "emr", "--cluster-id", cluster),
        "sum.py",
    )
    assert "COMPLETED" in out
