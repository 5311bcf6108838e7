"""The engine as a program: where it is looked for, what is refused, what it says when it fails."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from emrctl.engine.pulumi import binary, failures
from emrctl.engine.pulumi.binary import EngineBinary, EngineMissingError
from emrctl.engine.pulumi.events import EventListener
from emrctl.engine.pulumi.grpc_provider import CreateJournal
from emrctl.errors import CredentialsError, EmrctlError, ProvisioningError, StackLockedError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    binary._version.cache_clear()
    return place


def _put(place: Path, version: str, *, body: str = "") -> Path:
    place.mkdir(parents=True, exist_ok=True)
    found = place / "pulumi"
    found.write_text(f"#!/bin/sh\n{body}\necho v{version}\n")
    found.chmod(0o755)
    return found


def test_no_engine_anywhere_says_where_it_was_looked_for_and_what_to_type(path: Path) -> None:
    with pytest.raises(EngineMissingError, match="neither on PATH nor in") as caught:
        binary.find()
    assert str(binary.own_root()) in caught.value.message
    assert "emrctl engine install" in caught.value.hint
    assert binary.MIN_VERSION in caught.value.hint
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("version", ["3.249.9", "4.0.0", "nonsense"])
def test_a_version_that_does_not_fit_is_refused_by_its_name(path: Path, version: str) -> None:
    found = _put(path, version)
    with pytest.raises(EngineMissingError, match="no supported version") as caught:
        binary.find()
    assert f"{found} is {version}" in caught.value.message


def test_path_comes_first_and_emrctl_s_own_where_path_s_does_not_fit(path: Path) -> None:
    own = _put(binary.own_root() / "bin", "3.272.0")
    assert binary.find().path == own
    first = _put(path, "3.300.0")
    assert binary.find() == EngineBinary(path=first, version="3.300.0")
    binary._version.cache_clear()
    _put(path, "3.1.0")
    assert binary.find().path == own


def test_what_is_missing_is_named_with_its_size(path: Path) -> None:
    assert len(binary.missing(plugin=True)) == 2
    (engine,) = binary.missing(plugin=False)
    assert "about 100 MB" in engine
    assert str(binary.own_root()) in engine


def test_an_installation_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise subprocess.CalledProcessError(1, "install.sh", output=b"no route")

    monkeypatch.setattr("pulumi.automation.PulumiCommand.install", fail)
    with pytest.raises(ProvisioningError, match="could not install Pulumi's engine: no route"):
        binary.install_engine()


def test_the_engine_stands_apart_from_the_terminal_s_ctrl_c(path: Path, tmp_path: Path) -> None:
    _put(path, "3.250.0", body="echo $(($(ps -o pgid= -p $$)))")
    os.environ["PATH"] += ":/usr/bin:/bin"
    done = binary.EngineCommand(binary.EngineBinary(path=path / "pulumi", version="3.250.0"))
    said = done.run(["anything"], str(tmp_path), {}).stdout
    assert said.splitlines()[0] != str(os.getpgrp())


def _heard(urn: str, said: str) -> EventListener:
    listener = EventListener(lambda _event: None)
    listener.errors.append((urn, said))
    return listener


ROLE = "urn:pulumi:pets-main::emrctl::aws:iam/role:Role::service-role"
CLUSTER = "urn:pulumi:pets-main::emrctl::aws:emr/cluster:Cluster::cluster"

# In the form that the AWS SDK for Go, on which the AWS plugin stands, gives its errors.
SAID = (
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


@pytest.mark.parametrize(("urn", "said", "words", "family", "hint"), SAID)
def test_the_plugin_s_errors_are_told_by_resource_and_in_aws_s_words(
    urn: str, said: str, words: str, family: type[EmrctlError], hint: str
) -> None:
    (error,) = failures.resource_errors(_heard(urn, said))
    assert words in error.message
    assert isinstance(error, family)
    assert hint in error.hint


@pytest.mark.parametrize(
    ("said", "words", "family", "hint"),
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
def test_what_belongs_to_no_resource_is_told_with_what_to_do(
    said: str, words: str, family: type[EmrctlError], hint: str
) -> None:
    error = failures.engine_error(said)
    assert words in error.message
    assert isinstance(error, family)
    assert hint in error.hint


LOCK = (
    "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to "
    "end or delete the lock file with `pulumi cancel`.\n"
    "  file:///s/.pulumi/locks/x.json: created by ada@{} (pid {}) at 2026-11-20T10:00:00Z"
)


def test_a_lock_names_its_holder_and_a_dead_one_of_this_machine_is_known() -> None:
    error = failures.locked("pets-main", LOCK.format("laptop", 12))
    assert isinstance(error, StackLockedError)
    assert "process 12 of ada on laptop since 2026-11-20T10:00:00Z" in error.message
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = socket.gethostname()
    for host, pid, dead in ((here, gone.pid, True), (here, os.getpid(), False), ("x", 1, False)):
        found = failures.lock_holder(LOCK.format(host, pid))
        assert found is not None
        assert found.dead == dead
    assert "another process" in failures.locked("s", "[409] Conflict").message


def test_a_journal_remembers_what_was_begun_and_not_ended(tmp_path: Path) -> None:
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
