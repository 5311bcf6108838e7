"""The `pulumi` executable: lookup, versions, installation, and its error output."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from emrctl.engine.pulumi import binary
from emrctl.engine.pulumi.binary import EngineBinary, EngineMissingError
from emrctl.engine.pulumi.grpc_provider import CreateJournal
from emrctl.engine.pulumi.output import (
    EventListener,
    engine_error,
    lock_holder,
    locked,
    resource_errors,
)
from emrctl.errors import CredentialsError, EmrctlError, ProvisioningError, StackLockedError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set PATH to an empty folder."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    binary._version.cache_clear()
    return place


def _put(place: Path, version: str, *, body: str = "") -> Path:
    place.mkdir(parents=True, exist_ok=True)
    pulumi = place / "pulumi"
    pulumi.write_text(f"#!/bin/sh\n{body}\necho v{version}\n")
    pulumi.chmod(0o755)
    return pulumi


def test_find_without_engine_raises_with_paths_and_command(path: Path) -> None:
    with pytest.raises(EngineMissingError, match="neither on PATH nor in") as caught:
        binary.find()
    assert str(binary.own_root()) in caught.value.message
    assert "emrctl engine install" in caught.value.hint
    assert binary.MIN_VERSION in caught.value.hint
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("version", ["3.249.9", "4.0.0", "nonsense"])
def test_find_unsupported_version_raises_with_path_and_version(path: Path, version: str) -> None:
    pulumi = _put(path, version)
    with pytest.raises(EngineMissingError, match="no supported version") as caught:
        binary.find()
    assert f"{pulumi} is {version}" in caught.value.message


def test_find_prefers_path_then_own_engine(path: Path) -> None:
    own = _put(binary.own_root() / "bin", "3.272.0")
    assert binary.find().path == own
    first = _put(path, "3.300.0")
    assert binary.find() == EngineBinary(path=first, version="3.300.0")
    binary._version.cache_clear()
    _put(path, "3.1.0")
    assert binary.find().path == own


def test_missing_returns_downloads_with_size(path: Path) -> None:
    assert len(binary.missing(plugin=True)) == 2
    (engine,) = binary.missing(plugin=False)
    assert "about 100 MB" in engine
    assert str(binary.own_root()) in engine


def test_install_engine_failure_raises_with_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise subprocess.CalledProcessError(1, "install.sh", output=b"no route")

    monkeypatch.setattr("pulumi.automation.PulumiCommand.install", fail)
    with pytest.raises(ProvisioningError, match="could not install Pulumi's engine: no route"):
        binary.install_engine()


def test_engine_command_runs_in_own_process_group(path: Path, tmp_path: Path) -> None:
    _put(path, "3.250.0", body="echo $(($(ps -o pgid= -p $$)))")
    os.environ["PATH"] += ":/usr/bin:/bin"
    command = binary.EngineCommand(binary.EngineBinary(path=path / "pulumi", version="3.250.0"))
    output = command.run(["anything"], str(tmp_path), {}).stdout
    assert output.splitlines()[0] != str(os.getpgrp())


def _listener(urn: str, output: str) -> EventListener:
    listener = EventListener(lambda _event: None)
    listener.errors.append((urn, output))
    return listener


ROLE = "urn:pulumi:pets-main::emrctl::aws:iam/role:Role::service-role"
CLUSTER = "urn:pulumi:pets-main::emrctl::aws:emr/cluster:Cluster::cluster"

# The error format of the AWS SDK for Go, which the AWS plugin uses.
PLUGIN_ERRORS = (
    (
        ROLE,
        (
            "creating IAM Role (pets-main-service): operation error IAM: CreateRole, "
            "https response error StatusCode: 409, RequestID: 1f0c, "
            "EntityAlreadyExists: Role with name pets-main-service already exists."
        ),
        (
            "iam.Role 'service-role': CreateRole: Role with name pets-main-service already exists. "
            "(EntityAlreadyExists)"
        ),
        ProvisioningError,
        "another name",
    ),
    (
        CLUSTER,
        (
            "running EMR Job Flow (pets-main): operation error EMR: RunJobFlow, "
            "https response error StatusCode: 400, RequestID: 9, "
            "api error ExpiredTokenException: The security token included in the request is expired"
        ),
        (
            "emr.Cluster 'cluster': RunJobFlow: the session has expired. AWS returned: The "
            "security token included in the request is expired (ExpiredTokenException)"
        ),
        CredentialsError,
        "",
    ),
    (
        CLUSTER,
        "waiting for EMR Cluster (j-1) to be created: unexpected state 'TERMINATED_WITH_ERRORS'",
        "emr.Cluster 'cluster': waiting for EMR Cluster (j-1) to be created",
        ProvisioningError,
        "",
    ),
)


@pytest.mark.parametrize(("urn", "output", "message", "family", "hint"), PLUGIN_ERRORS)
def test_resource_errors_have_resource_and_aws_message(
    urn: str, output: str, message: str, family: type[EmrctlError], hint: str
) -> None:
    (error,) = resource_errors(_listener(urn, output))
    assert message in error.message
    assert isinstance(error, family)
    assert hint in error.hint


@pytest.mark.parametrize(
    ("output", "message", "family", "hint"),
    [
        ("error: incorrect passphrase", "another passphrase", ProvisioningError, "PASSPHRASE"),
        (
            "error: no resource plugin 'pulumi-resource-aws' found in the workspace",
            "AWS plugin is not installed",
            ProvisioningError,
            "engine install",
        ),
        (
            "error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions",
            "not logged in",
            CredentialsError,
            "engine.state",
        ),
        ("stdout:\n\nerror: something else\n", "failed: something else", ProvisioningError, ""),
    ],
)
def test_engine_error_has_meaning_and_hint(
    output: str, message: str, family: type[EmrctlError], hint: str
) -> None:
    error = engine_error(output)
    assert message in error.message
    assert isinstance(error, family)
    assert hint in error.hint


LOCK = (
    "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to "
    "end or delete the lock file with `pulumi cancel`.\n"
    "  file:///s/.pulumi/locks/x.json: created by ada@{} (pid {}) at 2026-11-20T10:00:00Z"
)


def test_locked_names_holder_and_detects_dead_process() -> None:
    error = locked("pets-main", LOCK.format("laptop", 12))
    assert isinstance(error, StackLockedError)
    assert "process 12 of ada on laptop since 2026-11-20T10:00:00Z" in error.message
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = socket.gethostname()
    for host, pid, dead in ((here, gone.pid, True), (here, os.getpid(), False), ("x", 1, False)):
        holder = lock_holder(LOCK.format(host, pid))
        assert holder is not None
        assert holder.dead == dead
    assert "another process" in locked("s", "[409] Conflict").message


def test_create_journal_returns_interrupted_creations(tmp_path: Path) -> None:
    first = CreateJournal(tmp_path / "begun")
    assert not first.start("a")
    assert not first.start("b")
    first.end("b")
    later = CreateJournal(tmp_path / "begun")
    assert later.start("a")
    assert not later.start("b")
    for urn in ("a", "b"):
        later.end(urn)
    assert list(tmp_path.iterdir()) == []
