"""bootstrap/step.py: run for real in a folder of its own; S3 is moto's, asked as a node asks it."""

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
from tests.bootstrap.primary import FINAL, Node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    found = Node(tmp_path / "node")
    yield found
    for state in found.ask("show"):
        if state["state"] not in FINAL:
            found.call("cancel", state["id"])
            found.until(state["id"], *FINAL)


def test_a_step_runs_with_the_nodes_environment_and_its_end_is_kept(node: Node) -> None:
    id_ = node.run("one", 'echo "$FROM_ENV_SH $EMRCTL_STEP_ID"; echo aside >&2; pwd')
    done = node.until(id_, "COMPLETED")
    assert done["exit_code"] == 0
    assert done["created"] <= done["started"] <= done["ended"]
    out = node.text(id_, "stdout").splitlines()
    assert out == [f"yes {id_}", str(node.folder / "steps" / id_ / "work")]
    assert node.text(id_, "stderr") == "aside\n"
    assert (node.folder / "steps" / id_).stat().st_mode & 0o777 == 0o700


def test_arguments_arrive_as_they_are(node: Node) -> None:
    odd = ("a b", "", "it's", 'say "x"', "$HOME", "é\n", "*")
    id_ = node.submit("odd", "printf", "[%s]", *odd)
    node.until(id_, "COMPLETED")
    assert node.text(id_, "stdout") == "".join(f"[{item}]" for item in odd)


def test_how_a_program_ends_is_how_its_step_does(node: Node) -> None:
    failed = node.until(node.run("bad", "exit 3"), "FAILED")
    assert (failed["exit_code"], failed["reason"]) == (3, "exit code 3")
    killed = node.until(node.run("killed", "kill -9 $$"), "FAILED")
    assert killed["exit_code"] == 137
    missing = node.until(node.submit("missing", "no-such-program"), "FAILED")
    assert missing["exit_code"] == 127
    assert "no-such-program" in node.text(missing["id"], "stderr")


def test_steps_run_in_their_order_and_no_more_than_may(node: Node) -> None:
    wait = "while [[ ! -e ~/go ]]; do sleep 0.05; done"
    ids = [node.run(f"n{number}", f"{wait}; echo {number} >>~/order") for number in range(3)]
    node.until(ids[0], "RUNNING")
    assert node.call("running").returncode == 0
    assert [node.state(id_)["state"] for id_ in ids] == ["RUNNING", "PENDING", "PENDING"]
    (node.folder / "go").touch()
    for id_ in ids:
        node.until(id_, "COMPLETED")
    assert (node.folder / "order").read_text() == "0\n1\n2\n"
    assert node.call("running").returncode == 1
    (node.folder / "go").unlink()
    node.know(step_concurrency=2)
    ids = [node.run(f"m{number}", wait) for number in range(3)]
    node.until(ids[1], "RUNNING")
    assert [node.state(id_)["state"] for id_ in ids] == ["RUNNING", "RUNNING", "PENDING"]
    assert [state["id"] for state in node.ask("show")][:3] == ids[::-1]
    (node.folder / "go").touch()


def test_a_step_is_found_by_its_name(node: Node) -> None:
    id_ = node.run("a name", "true")
    assert node.ask("find", "a name")["id"] == id_
    missing = node.call("find", "another")
    assert (missing.returncode, missing.stdout) == (3, b"null\n")
    assert node.call("cancel", "s-NONE").returncode == 3
    assert node.call("logs", "s-NONE").returncode == 3
    assert node.ask("show", "s-NONE") == []


def test_a_waiting_and_a_running_step_are_cancelled(node: Node) -> None:
    running = node.run("running", 'trap "echo bye; exit 9" TERM; sleep 60 & wait')
    waiting = node.run("waiting", "true")
    node.until(running, "RUNNING")
    node.ask("cancel", waiting)
    assert node.until(waiting, *FINAL)["state"] == "CANCELLED"
    assert not (node.folder / "steps" / waiting / "stdout").exists()
    time.sleep(0.3)  # until bash has set its trap
    assert node.ask("cancel", running)["state"] == "CANCEL_PENDING"
    assert node.until(running, *FINAL)["state"] == "CANCELLED"
    assert node.text(running, "stdout") == "bye\n"
    assert node.ask("cancel", running)["state"] == "CANCELLED"


def test_what_a_step_leaves_running_ends_with_it(node: Node) -> None:
    id_ = node.run("leaves", "sleep 77 & echo $!")
    node.until(id_, "COMPLETED")
    pid = int(node.text(id_, "stdout"))
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_killed_runner_makes_its_step_interrupted_and_lets_the_next_begin(node: Node) -> None:
    first = node.run("first", "echo $$; sleep 60")
    second = node.run("second", "true")
    runner = node.until(first, "RUNNING")["runner"]
    while not node.text(first, "stdout"):
        time.sleep(0.05)
    os.kill(runner, signal.SIGKILL)
    assert node.until(first, *FINAL)["state"] == "INTERRUPTED"
    assert node.until(second, *FINAL)["state"] == "COMPLETED"
    pid = int(node.text(first, "stdout"))
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():  # its program has gone with it
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_node_that_stops_interrupts_its_steps(node: Node) -> None:
    first, second = node.run("first", "sleep 60"), node.run("second", "sleep 60")
    node.until(first, "RUNNING")
    for id_ in (first, second):
        os.kill(node.state(id_)["runner"], signal.SIGTERM)
    for id_ in (first, second):
        found = node.until(id_, *FINAL)
        assert (found["state"], "was stopped" in found["reason"]) == ("INTERRUPTED", True)


def test_whoever_submits_may_go(node: Node) -> None:
    """The step's program is in no session or group of whoever submitted it."""
    id_ = node.run("detached", "ps -o sid= -p $$; sleep 0.5")
    node.until(id_, "COMPLETED")
    assert int(node.text(id_, "stdout")) != os.getsid(0)


def test_logs_come_as_they_are_now(node: Node) -> None:
    id_ = node.run("talks", "echo so far; sleep 60")
    while not (node.folder / "steps" / id_ / "stdout").exists() or not node.text(id_, "stdout"):
        time.sleep(0.05)
    with tarfile.open(fileobj=io.BytesIO(node.call("logs", id_).stdout)) as archive:
        assert archive.getnames() == ["controller", "stdout", "stderr"]
        file = archive.extractfile("stdout")
        assert file is not None
        assert file.read() == b"so far\n"


def test_secrets_of_a_command_line_reach_no_log(node: Node) -> None:
    id_ = node.submit("env", "env", "API_KEY=hush", "MODE=fast", "true")
    node.until(id_, "COMPLETED")
    controller = node.text(id_, "controller")
    assert "hush" not in controller
    assert "MODE=fast true" in controller


def test_all_of_it_lies_on_s3_before_the_step_counts_as_ended(
    instances: Target, tmp_path: Path
) -> None:
    s3 = instances.client("s3")
    s3.create_bucket(Bucket="steps")
    credentials = str(instances.credentials)
    node = Node(
        tmp_path / "node",
        {"AWS_ENDPOINT_URL": str(instances.endpoint), "AWS_SHARED_CREDENTIALS_FILE": credentials},
    )
    facts = {"cluster_id": "i-1", "log_uri": "s3://steps/logs/", "region": "us-east-1"}
    node.know(**facts, upload_s=0.2)

    def object_(id_: str, name: str) -> bytes:
        key = f"logs/i-1/steps/{id_}/{name}"
        return bytes(s3.get_object(Bucket="steps", Key=key)["Body"].read())

    id_ = node.run("one", "echo early; sleep 2; echo late")
    node.until(id_, "RUNNING")
    end = time.monotonic() + 20
    while True:
        listed = s3.list_objects_v2(Bucket="steps").get("Contents", ())
        if any(item["Key"].endswith("stdout.gz") for item in listed):
            break
        assert time.monotonic() < end, listed
        time.sleep(0.05)
    assert json.loads(object_(id_, "state.json"))["state"] == "RUNNING"
    node.until(id_, "COMPLETED")
    assert gzip.decompress(object_(id_, "stdout.gz")) == b"early\nlate\n"
    kept = json.loads(object_(id_, "state.json"))
    assert (kept["state"], kept["exit_code"]) == ("COMPLETED", 0)
    assert b"Step is COMPLETED" in gzip.decompress(object_(id_, "controller.gz"))

    broken = node.run("two", "echo x")
    node.know(**{**facts, "log_uri": "s3://no-such-bucket/"})
    third = node.run("three", "echo x")
    assert node.until(third, *FINAL)["state"] == "COMPLETED"  # logs that get lost fail no step
    assert "did not reach S3" in node.text(third, "runner.log")
    assert node.until(broken, *FINAL)["state"] == "COMPLETED"
