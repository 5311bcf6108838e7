"""Steps of a standalone cluster, asked of a primary that is a folder here, and of S3 without it."""

from __future__ import annotations

import gzip
import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from emrctl.aws.target import Target
from emrctl.errors import NotFoundError, ProvisioningError, UnavailableError
from emrctl.remote.nodes import CommandResult, PrimaryConnection
from emrctl.runs.backends.base import Step
from emrctl.runs.backends.standalone import Ec2Backend
from tests.bootstrap.primary import FINAL, PrimaryNode

BUCKET = "pets-logs"


class Near:
    """A primary on this machine that can become unreachable."""

    def __init__(self, node: PrimaryNode) -> None:
        self.node = node
        self.silent = False
        self.missing = False

    def run(self, command: str, stdin: bytes = b"") -> CommandResult:
        if self.silent:
            raise UnavailableError("port 22 of 203.0.113.7 does not answer")
        program, path, *arguments = shlex.split(command)
        assert (program, path) == ("bash", "emrctl/bin/step")
        if self.missing:
            return CommandResult(code=127, out=b"", err=b"bash: emrctl/bin/step: No such file\n")
        done = self.node.call(*arguments, text=stdin.decode())
        return CommandResult(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture
def near(tmp_path: Path) -> Iterator[Near]:
    found = Near(PrimaryNode(tmp_path / "node"))
    yield found
    for state in found.node.call_json("show"):
        if state["state"] not in FINAL:
            found.node.call("cancel", state["id"])
            found.node.wait(state["id"], *FINAL)


@pytest.fixture
def instance(mocked: Target) -> str:
    mocked.client("s3").create_bucket(Bucket=BUCKET)
    made = mocked.client("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)
    return str(made["Instances"][0]["InstanceId"])


@pytest.fixture
def backend(mocked: Target, instance: str, near: Near) -> Ec2Backend:
    return Ec2Backend(mocked, instance, f"s3://{BUCKET}/logs/", cast("PrimaryConnection", near))


def bash(script: str) -> tuple[str, ...]:
    return ("bash", "-c", script)


def until(backend: Ec2Backend, id_: str, *states: str) -> Step:
    end = time.monotonic() + 60
    while (step := backend.step(id_)).state not in states:
        assert time.monotonic() < end, step
        time.sleep(0.1)
    return step


def kept(backend: Ec2Backend, id_: str, **facts: Any) -> None:
    """Write state and logs of a step to S3, as the primary does."""
    state = {"id": id_, "name": "old", "state": "RUNNING", "created": "2026-11-20T10:00:00+00:00"}
    folder = f"logs/{backend.cluster_id}/steps/{id_}"
    s3 = backend.target.client("s3")
    body = json.dumps({**state, **facts}).encode()
    s3.put_object(Bucket=BUCKET, Key=f"{folder}/state.json", Body=body)
    s3.put_object(Bucket=BUCKET, Key=f"{folder}/stderr.gz", Body=gzip.compress(b"what is left"))


def test_submit_runs_step_and_returns_logs(backend: Ec2Backend) -> None:
    id_ = backend.submit("one", bash("echo out; echo err >&2; exit 2"))
    step = until(backend, id_, "FAILED")
    assert (step.name, step.reason, step.finished) == ("one", "exit code 2", True)
    assert step.started is not None
    assert step.ended is not None
    assert step.started <= step.ended
    logs = {log.name: log for log in backend.step_logs(id_)}
    assert set(logs) == {"step/controller", "step/stdout", "step/stderr"}
    assert logs["step/stderr"].open().read() == b"err\n"
    folder = f"s3://{BUCKET}/logs/{backend.cluster_id}/steps/{id_}"
    assert logs["step/stderr"].uri == f"{folder}/stderr.gz"


def test_steps_and_find_return_submitted_steps(backend: Ec2Backend) -> None:
    ids = [backend.submit(name, bash("true")) for name in ("a", "b")]
    assert set(backend.steps([*ids, "s-NONE"])) == set(ids)
    assert backend.steps([]) == {}
    found = backend.find("b")
    assert found is not None
    assert found.id == ids[1]
    assert backend.find("c") is None
    with pytest.raises(NotFoundError, match="has no step s-NONE"):
        backend.step("s-NONE")
    for id_ in ids:
        until(backend, id_, "COMPLETED")


def test_cancel_cancels_step(backend: Ec2Backend) -> None:
    id_ = backend.submit("long", bash("sleep 60"))
    until(backend, id_, "RUNNING")
    backend.cancel(id_)
    assert until(backend, id_, "CANCELLED").finished
    with pytest.raises(NotFoundError):
        backend.cancel("s-NONE")


def test_unresponsive_primary_is_unavailable_error(backend: Ec2Backend, near: Near) -> None:
    near.silent = True
    for ask in (
        lambda: backend.step("s-1"),
        lambda: backend.find("one"),
        lambda: backend.cancel("s-1"),
        lambda: backend.submit("one", bash("true")),
    ):
        with pytest.raises(UnavailableError, match="does not answer"):
            ask()


@pytest.mark.parametrize("how", ["stop_instances", "terminate_instances"])
def test_steps_without_primary_are_read_from_s3(backend: Ec2Backend, near: Near, how: str) -> None:
    kept(backend, "s-1")
    kept(backend, "s-2", state="COMPLETED", ended="2026-11-20T10:05:00+00:00")
    near.silent = True
    getattr(backend.target.client("ec2"), how)(InstanceIds=[backend.cluster_id])
    first, second = backend.steps(["s-1", "s-2"]).values()
    assert first.state == "INTERRUPTED"
    assert first.reason.startswith(f"the primary is {how.partition('_')[0]}")
    assert second.state == "COMPLETED"
    assert second.ended is not None
    assert backend.steps(["s-3"]) == {}
    assert backend.find("old") is None
    assert [(log.name, log.open().read()) for log in backend.step_logs("s-1")] == [
        ("step/stderr", b"what is left")
    ]
    with pytest.raises(ProvisioningError, match=r"cannot cancel step s-1: the primary is"):
        backend.cancel("s-1")


def test_steps_of_unknown_instance_are_interrupted(
    mocked: Target, near: Near, instance: str
) -> None:
    backend = Ec2Backend(
        mocked, "i-0123456789abcdef0", f"s3://{BUCKET}/logs/", cast("PrimaryConnection", near)
    )
    kept(backend, "s-1")
    near.silent = True
    step = backend.step("s-1")
    assert (step.state, "does not exist" in step.reason) == ("INTERRUPTED", True)


def test_logs_of_executors_are_read_from_s3(backend: Ec2Backend) -> None:
    id_ = backend.submit("one", bash("true"))
    until(backend, id_, "COMPLETED")
    app = "app-20261120120000-0000"
    key = f"logs/{backend.cluster_id}/containers/{app}/10.0.0.7-0/stderr.gz"
    s3 = backend.target.client("s3")
    s3.put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(b"an executor"))
    found = {
        log.name: log.open().read()
        for log in (*backend.step_logs(id_), *backend.container_logs(app))
    }
    assert found["containers/10.0.0.7-0/stderr"] == b"an executor"


def test_primary_without_step_program_is_provisioning_error(
    backend: Ec2Backend, near: Near
) -> None:
    near.missing = True
    with pytest.raises(
        ProvisioningError, match="could not submit: bash: emrctl/bin/step"
    ) as caught:
        backend.submit("one", bash("true"))
    assert not isinstance(caught.value, UnavailableError)
    assert "emrctl up" in caught.value.hint
