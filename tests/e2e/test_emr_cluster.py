"""The main job end to end on EMR: real pictures, real Spark on a real YARN, emrctl commands."""

from __future__ import annotations

import io
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from emrctl.aws.target import Target
from tests.e2e.conftest import SMALL

if TYPE_CHECKING:
    from tests.e2e.conftest import Shell

pytestmark = [pytest.mark.yarn, pytest.mark.timeout(600)]


def _table(local: Target, uri: str) -> Any:
    """Read the Parquet files below an `s3://` address."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    s3 = local.client("s3")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    bodies = [
        s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        for item in listed
        if item["Key"].endswith(".parquet")
    ]
    return pa.concat_tables([pq.read_table(io.BytesIO(body)) for body in bodies])


def test_second_up_changes_nothing(shell: Shell) -> None:
    first = shell.json("show")
    assert first["state"] == "WAITING"
    assert "yarn" in first["urls"]
    assert all(plan["empty"] for plan in shell.json("preview"))
    assert shell.json("up")["id"] == first["id"]


def test_bootstrap_actions_run_on_every_node(shell: Shell) -> None:
    cluster = shell.json("show")
    nodes = [
        shell.home / "local/clusters" / cluster["id"] / "nodes" / n["id"] for n in cluster["nodes"]
    ]
    assert len(nodes) == 3
    for node in nodes:
        assert (node / "home" / "marked").read_text() == "two words\n"


def test_features_job_writes_one_vector_per_picture(features: str, local: Target) -> None:
    table = _table(local, features + "/")
    assert table.column_names == ["path", "label", "features"]
    assert table.num_rows % 12 == 0
    assert len({len(vector) for vector in table["features"].to_pylist()}) == 1


@pytest.mark.parametrize("mode", ["client", "cluster"])
def test_svm_job_writes_models_and_metrics(
    shell: Shell, features: str, local: Target, mode: str
) -> None:
    classes = sorted(set(_table(local, features + "/")["label"].to_pylist()))[:2]
    [run], _ = shell.submit(
        *("--deploy-mode", mode, *SMALL, "--executors", "2", "--partitions", "4"),
        *("--no-dynamic-allocation", "--env", "GREETING=grüß dich", "svm"),
        *("--features", features, "--task", "pairs", "--classes", ",".join(classes)),
        *("--shares", "0.5", "--seed", "1", "--iterations", "5"),
    )
    assert run["state"] == "COMPLETED"
    output = f"{run['bucket']}/runs/{run['id']}/output"
    accuracies = _table(local, f"s3://{output}/accuracies.parquet").to_pylist()
    assert [row["n_train"] for row in accuracies] == [12]
    assert accuracies[0]["accuracy"] == accuracies[0]["n_correct"] / accuracies[0]["n_test"]
    name = f"{classes[0]}_VS_{classes[1]}"
    local.client("s3").head_object(
        Bucket=run["bucket"],
        Key=f"runs/{run['id']}/output/models/{name}/share=0.5/weights.npy",
    )
    metrics = run["metrics"]
    assert metrics["complete"]
    assert metrics["peak_executors"] == 2
    assert metrics["tasks_ok"] > 0
    assert metrics["yarn"]["final_status"] == "SUCCEEDED"
    assert metrics["yarn"]["memory_mb_seconds"] > 0
    assert metrics["cluster"]["memory_total_mb"] == 2 * 12288
    assert run["result"]["job"] == "svm"


def test_failed_job_reports_exception(shell: Shell) -> None:
    (shell.folder / "raises.py").write_text(
        "from pyspark.sql import SparkSession\n"
        "SparkSession.builder.getOrCreate()\n"
        "raise LookupError('no pictures of düdel')\n"
    )
    for mode in ("client", "cluster"):
        [run], err = shell.submit("--deploy-mode", mode, *SMALL, "raises.py", code=6)
        assert run["state"] == "FAILED"
        assert run["failure"] == "LookupError: no pictures of düdel"
        assert run["failure"] in err
        assert run["failure_log"].startswith("s3://")


def test_compare_prints_json_and_writes_html(shell: Shell, features: str) -> None:
    completed = [
        run for run in shell.json("runs") if (run["state"], run["job"]) == ("COMPLETED", "svm")
    ]
    ids = [run["id"] for run in completed]
    assert len(ids) == 2
    comparison = shell.json("compare", *ids)
    assert [row["name"] for row in comparison["settings"]] == ["deploy_mode"]
    shell.run("compare", *ids, "--html", "page.html")
    page = (shell.folder / "page.html").read_text()
    assert "deploy mode" in page
    assert "localhost" in page


def test_next_command_completes_run_of_killed_client(shell: Shell) -> None:
    (shell.folder / "sleeps.py").write_text("import time\ntime.sleep(4)\n")
    process = shell.start("submit", *SMALL, "sleeps.py")
    deadline = time.monotonic() + 60
    while not any(r["job"] == "sleeps" and r["step_id"] for r in shell.records()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    [run] = shell.json("wait", "latest")
    assert (run["job"], run["state"]) == ("sleeps", "COMPLETED")


def test_ctrl_c_keeps_step_and_cancel_cancels_it(shell: Shell) -> None:
    (shell.folder / "sleeps.py").write_text("import time\ntime.sleep(300)\n")
    before = {record["id"] for record in shell.records()}
    process = shell.start("submit", *SMALL, "sleeps.py")
    deadline = time.monotonic() + 60
    while not [r for r in shell.records() if r["id"] not in before and r["state"] == "RUNNING"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "emrctl cancel" in err
    [run] = shell.json("cancel", "latest")
    assert run["state"] == "CANCELLED"


def test_changed_core_count_resizes_cluster(shell: Shell) -> None:
    before = shell.json("show")
    shell.resize(3)
    [_, plan] = shell.json("preview")
    changed = [change for change in plan["changes"] if change["operation"] != "same"]
    assert [change["operation"] for change in changed] == ["update"]
    after = shell.json("up")
    assert (after["id"], len(after["nodes"])) == (before["id"], 4)
    shell.resize(2)
    assert len(shell.json("up")["nodes"]) == 3
