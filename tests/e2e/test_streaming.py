"""The streaming job as a step on a real YARN: watched, cancelled, continued and stopped."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from emrctl.aws.target import Target
from tests.e2e.conftest import SMALL

if TYPE_CHECKING:
    from tests.e2e.conftest import Shell

pytestmark = [pytest.mark.yarn, pytest.mark.timeout(600)]


def _start(shell: Shell) -> dict[str, Any]:
    small = (*SMALL, "--executors", "1", "--partitions", "2")
    job = ("streaming", "--rate", "50", "--window", "2", "--late", "1")
    [run], _ = shell.submit("--detach", *small, *job, "--output", "s3://{bucket}/stream")
    return run


def _wait_for_batch(local: Target, run: dict[str, Any], after: int) -> None:
    """Wait until the last batch in the job's result.json is later than `after`."""
    s3 = local.client("s3")
    for _ in range(900):
        listed = s3.list_objects_v2(Bucket=run["bucket"], Prefix="stream/result.json")
        if listed["KeyCount"]:
            body = s3.get_object(Bucket=run["bucket"], Key="stream/result.json")["Body"].read()
            if json.loads(body)["figures"]["last_batch"] > after:
                return
        time.sleep(0.2)
    raise AssertionError(f"no batch after {after}")


def _watch(shell: Shell, run: dict[str, Any]) -> dict[str, Any]:
    """Return the first document of `top` with Spark's state of the running job."""
    for _ in range(30):
        live = dict(shell.json("top", run["id"], "--once"))
        assert live["state"] == "RUNNING"
        if live["spark"] is not None:
            return live
    raise AssertionError("top shows no Spark application")


def test_streaming_is_watched_cancelled_continued_and_stopped(shell: Shell, local: Target) -> None:
    first = _start(shell)
    _wait_for_batch(local, first, after=-1)
    live = _watch(shell, first)
    assert live["spark"]["progress"]["jobs_done"] > 0
    [cancelled] = shell.json("cancel", first["id"])
    assert cancelled["state"] == "CANCELLED"
    last = cancelled["result"]["figures"]["last_batch"]
    assert last >= 0

    second = _start(shell)
    _wait_for_batch(local, second, after=last)
    [stopped] = shell.json("cancel", "--graceful", second["id"])
    assert stopped["state"] == "COMPLETED"
    figures = stopped["result"]["figures"]
    assert figures["last_batch"] > last  # from the checkpoint of the first
    assert figures["rows"] > 0
    assert figures["state_rows"] > 0
    assert figures["watermark"].startswith("20")
    text, _ = shell.run("runs", "show", second["id"])
    for name in ("batches", "input_rows_per_s", "batch_s", "state_rows", "watermark"):
        assert f"figures.{name}" in text
