"""bootstrap/step.py, run in a temporary folder, with moto's S3."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from tests.bootstrap.primary import FINAL, PrimaryNode


@pytest.fixture
def node(tmp_path: Path) -> Iterator[PrimaryNode]:
    node = PrimaryNode(tmp_path / "node")
    yield node
    for state in node.call_json("show"):
        if state["state"] not in FINAL:
            node.call("cancel", state["id"])
            node.wait(state["id"], *FINAL)


def test_step_runs_in_node_environment_and_records_result(node: PrimaryNode) -> None:
    id_ = node.run("one", 'echo "$FROM_ENV_SH $EMRCTL_STEP_ID"; echo aside >&2; pwd')
    done = node.wait(id_, "COMPLETED")
    assert done["exit_code"] == 0
    assert done["created"] <= done["started"] <= done["ended"]
    out = node.text(id_, "stdout").splitlines()
    assert out == [f"yes {id_}", str(node.folder / "steps" / id_ / "work")]
    assert node.text(id_, "stderr") == "aside\n"
    assert (node.folder / "steps" / id_).stat().st_mode & 0o777 == 0o700


def test_step_arguments_are_passed_unchanged(node: PrimaryNode) -> None:
    odd = ("a b", "", "it's", 'say "x"', "$HOME", "é\n", "*")
    id_ = node.submit("odd", "printf", "[%s]", *odd)
    node.wait(id_, "COMPLETED")
    assert node.text(id_, "stdout") == "".join(f"[{item}]" for item in odd)


def test_step_with_failing_program_fails_with_its_exit_code(node: PrimaryNode) -> None:
    failed = node.wait(node.run("bad", "exit 3"), "FAILED")
    assert (failed["exit_code"], failed["reason"]) == (3, "exit code 3")
    killed = node.wait(node.run("killed", "kill -9 $$"), "FAILED")
    assert killed["exit_code"] == 137
    missing = node.wait(node.submit("missing", "no-such-program"), "FAILED")
    assert missing["exit_code"] == 127
    assert "no-such-program" in node.text(missing["id"], "stderr")


def test_steps_run_in_order_up_to_step_concurrency(node: PrimaryNode) -> None:
    wait = "while [[ ! -e ~/go ]]; do sleep 0.05; done"
    ids = [node.run(f"n{number}", f"{wait}; echo {number} >>~/order") for number in range(3)]
    node.wait(ids[0], "RUNNING")
    assert node.call("running").returncode == 0
    assert [node.state(id_)["state"] for id_ in ids] == ["RUNNING", "PENDING", "PENDING"]
    (node.folder / "go").touch()
    for id_ in ids:
        node.wait(id_, "COMPLETED")
    assert (node.folder / "order").read_text() == "0\n1\n2\n"
    assert node.call("running").returncode == 1
    (node.folder / "go").unlink()
    node.write_cluster(step_concurrency=2)
    ids = [node.run(f"m{number}", wait) for number in range(3)]
    node.wait(ids[1], "RUNNING")
    assert [node.state(id_)["state"] for id_ in ids] == ["RUNNING", "RUNNING", "PENDING"]
    assert [state["id"] for state in node.call_json("show")][:3] == ids[::-1]
    (node.folder / "go").touch()


def test_find_returns_step_by_name(node: PrimaryNode) -> None:
    id_ = node.run("a name", "true")
    assert node.call_json("find", "a name")["id"] == id_
    missing = node.call("find", "another")
    assert (missing.returncode, missing.stdout) == (3, b"null\n")
    assert node.call("cancel", "s-NONE").returncode == 3
    assert node.call("logs", "s-NONE").returncode == 3
    assert node.call_json("show", "s-NONE") == []


def test_cancel_ends_waiting_and_running_steps(node: PrimaryNode) -> None:
    running = node.run("running", 'trap "echo bye; exit 9" TERM; sleep 60 & wait')
    waiting = node.run("waiting", "true")
    node.wait(running, "RUNNING")
    node.call_json("cancel", waiting)
    assert node.wait(waiting, *FINAL)["state"] == "CANCELLED"
    assert not (node.folder / "steps" / waiting / "stdout").exists()
    time.sleep(0.3)  # until bash has set its trap
    assert node.call_json("cancel", running)["state"] == "CANCEL_PENDING"
    assert node.wait(running, *FINAL)["state"] == "CANCELLED"
    assert node.text(running, "stdout") == "bye\n"
    assert node.call_json("cancel", running)["state"] == "CANCELLED"


def test_processes_left_by_step_are_killed(node: PrimaryNode) -> None:
    id_ = node.run("leaves", "sleep 77 & echo $!")
    node.wait(id_, "COMPLETED")
    pid = int(node.text(id_, "stdout"))
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_runner_interrupts_step_and_starts_next(node: PrimaryNode) -> None:
    first = node.run("first", "echo $$; sleep 60")
    second = node.run("second", "true")
    runner = node.wait(first, "RUNNING")["runner"]
    while not node.text(first, "stdout"):
        time.sleep(0.05)
    os.kill(runner, signal.SIGKILL)
    assert node.wait(first, *FINAL)["state"] == "INTERRUPTED"
    assert node.wait(second, *FINAL)["state"] == "COMPLETED"
    pid = int(node.text(first, "stdout"))
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():  # its program is terminated too
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_stopping_node_interrupts_steps(node: PrimaryNode) -> None:
    first, second = node.run("first", "sleep 60"), node.run("second", "sleep 60")
    node.wait(first, "RUNNING")
    for id_ in (first, second):
        os.kill(node.state(id_)["runner"], signal.SIGTERM)
    for id_ in (first, second):
        step = node.wait(id_, *FINAL)
        assert (step["state"], "was stopped" in step["reason"]) == ("INTERRUPTED", True)


def test_step_runs_in_its_own_session(node: PrimaryNode) -> None:
    id_ = node.run("detached", "ps -o sid= -p $$; sleep 0.5")
    node.wait(id_, "COMPLETED")
    assert int(node.text(id_, "stdout")) != os.getsid(0)


def test_logs_of_running_step_are_current(node: PrimaryNode) -> None:
    id_ = node.run("talks", "echo partial; sleep 60")
    while not (node.folder / "steps" / id_ / "stdout").exists() or not node.text(id_, "stdout"):
        time.sleep(0.05)
    with tarfile.open(fileobj=io.BytesIO(node.call("logs", id_).stdout)) as archive:
        assert archive.getnames() == ["controller", "stdout", "stderr"]
        file = archive.extractfile("stdout")
        assert file is not None
        assert file.read() == b"partial\n"


def test_secrets_of_command_line_are_not_logged(node: PrimaryNode) -> None:
    id_ = node.submit("env", "env", "API_KEY=hush", "MODE=fast", "true")
    node.wait(id_, "COMPLETED")
    controller = node.text(id_, "controller")
    assert "hush" not in controller
    assert "MODE=fast true" in controller


def test_logs_are_uploaded_before_step_ends(instances: Target, tmp_path: Path) -> None:
    s3 = instances.client("s3")
    s3.create_bucket(Bucket="steps")
    credentials = str(instances.credentials)
    node = PrimaryNode(
        tmp_path / "node",
        {"AWS_ENDPOINT_URL": str(instances.endpoint), "AWS_SHARED_CREDENTIALS_FILE": credentials},
    )
    facts = {"cluster_id": "i-1", "log_uri": "s3://steps/logs/", "region": "us-east-1"}
    node.write_cluster(**facts, upload_s=0.2)

    def read_object(id_: str, name: str) -> bytes:
        key = f"logs/i-1/steps/{id_}/{name}"
        return bytes(s3.get_object(Bucket="steps", Key=key)["Body"].read())

    id_ = node.run("one", "echo early; sleep 2; echo late")
    node.wait(id_, "RUNNING")
    deadline = time.monotonic() + 20
    while True:
        listed = s3.list_objects_v2(Bucket="steps").get("Contents", ())
        if any(item["Key"].endswith("stdout.gz") for item in listed):
            break
        assert time.monotonic() < deadline, listed
        time.sleep(0.05)
    assert json.loads(read_object(id_, "state.json"))["state"] == "RUNNING"
    node.wait(id_, "COMPLETED")
    assert gzip.decompress(read_object(id_, "stdout.gz")) == b"early\nlate\n"
    kept = json.loads(read_object(id_, "state.json"))
    assert (kept["state"], kept["exit_code"]) == ("COMPLETED", 0)
    assert b"Step is COMPLETED" in gzip.decompress(read_object(id_, "controller.gz"))

    broken = node.run("two", "echo x")
    node.write_cluster(**{**facts, "log_uri": "s3://no-such-bucket/"})
    third = node.run("three", "echo x")
    assert (
        node.wait(third, *FINAL)["state"] == "COMPLETED"
    )  # a failed upload does not fail the step
    assert "could not upload logs" in node.text(third, "runner.log")
    assert node.wait(broken, *FINAL)["state"] == "COMPLETED"
