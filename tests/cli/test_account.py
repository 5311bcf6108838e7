"""`emrctl gc`, `ui`, `ssh`, `doctor` and a failed `up`, against moto."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emrctl import doctor
from emrctl.aws.target import Target
from emrctl.clusters import registry
from emrctl.clusters.model import Cluster
from emrctl.provision import lifecycle
from emrctl.spec import ClusterSpec
from tests.cli.answers import Emrctl
from tests.emulator.fake_runtime import FakeRuntime

YAML = "project: pets\ncluster: {core: {count: 2}, bootstrap: [python.sh]}\n"


def _answered(monkeypatch: pytest.MonkeyPatch, answer: bool) -> list[str]:
    """Answer every question with `answer`, as on a terminal; returns the questions."""
    asked: list[str] = []

    def confirm(question: str, **_: Any) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", confirm)
    return asked


def _expire(target: Target) -> str:
    emr = target.client("emr")
    [cluster] = emr.list_clusters(ClusterStates=["WAITING"])["Clusters"]
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    tags = [{"Key": "emrctl:expires", "Value": past}]
    emr.add_tags(ResourceId=cluster["Id"], Tags=tags)
    return str(cluster["Id"])


def test_gc_lists_costs_and_deletes_expired_resources_after_confirmation(
    emrctl: Emrctl, mocked: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert emrctl("up", "--json")[0] == 0
    code, out, _ = emrctl("gc")
    assert code == 0
    assert "in use" in out
    assert "Total 0.7" in out
    _expire(mocked)
    code, out, err = emrctl("gc")
    assert (code, "expired" in out, "`emrctl gc --yes`" in err) == (0, True, True)
    asked = _answered(monkeypatch, False)
    assert emrctl("gc")[0] == 0
    assert len(asked) == 1
    found = json.loads(emrctl("gc", "--json", "--yes")[1])
    assert found["deletion"]["remaining"] == []
    left = json.loads(emrctl("gc", "--json")[1])
    assert [one["kind"] for one in left["resources"]] == ["bucket"]
    assert left["resources"][0]["usage"] == "retained"
    assert left["deletion"] is None
    # The local state is correct, so `up` creates the cluster again.
    assert json.loads(emrctl("up", "--json")[1])["state"] == "WAITING"


def test_gc_without_a_project_deletes_expired_resources(
    emrctl: Emrctl, mocked: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert emrctl("up", "--json")[0] == 0
    _expire(mocked)
    elsewhere = tmp_path / "elsewhere" / "deep"
    elsewhere.mkdir(parents=True)
    (tmp_path / "emrctl.yaml").unlink()
    monkeypatch.chdir(elsewhere)
    code, out, err = emrctl("gc", "--target", "local", "--yes")
    assert code == 0, err
    assert "pets-main" in out
    assert "deleting cluster" in err
    assert "deleting VPC" in err
    left = json.loads(emrctl("gc", "--target", "local", "--json")[1])
    assert [one["kind"] for one in left["resources"]] == ["bucket"]
    code, out, _ = emrctl("gc", "--target", "local", "--buckets", "--yes")
    assert (code, "bucket" in out) == (0, True)
    assert "No resources created by emrctl" in emrctl("gc", "--target", "local")[1]


def test_gc_with_project_filter_deletes_nothing_else(emrctl: Emrctl, mocked: Target) -> None:
    assert emrctl("up", "--json")[0] == 0
    _expire(mocked)
    assert json.loads(emrctl("gc", "--project", "birds", "--json", "--yes")[1])["resources"] == []
    assert len(mocked.client("emr").list_clusters(ClusterStates=["WAITING"])["Clusters"]) == 1


def test_gc_reports_clusters_with_termination_protection(emrctl: Emrctl, mocked: Target) -> None:
    assert emrctl("up", "--json")[0] == 0
    id_ = _expire(mocked)
    emr = mocked.client("emr")
    emr.set_termination_protection(JobFlowIds=[id_], TerminationProtected=True)
    code, _, err = emrctl("gc", "--yes")
    assert code == 5
    assert "protected" in err


def test_up_failure_prints_resources_and_commands(emrctl: Emrctl, runtime: FakeRuntime) -> None:
    runtime.failing_bootstrap = 1
    code, _, err = emrctl("up")
    assert code == 5
    assert "a bootstrap script failed" in err
    assert "Resources of pets-main: " in err
    assert "USD per hour" in err
    assert "emrctl down --cluster main --yes" in err


def test_up_failed_bootstrap_action_prints_its_last_lines(
    emrctl: Emrctl, runtime: FakeRuntime
) -> None:
    runtime.failing_bootstrap = 1
    _, _, err = emrctl("up")
    assert "\n  bootstrap action failed\n" in err
    assert "emrctl logs --bootstrap" in err
    node = runtime.bootstrapped[0]
    code, out, err = emrctl("logs", "--bootstrap")
    assert (code, out) == (0, "bootstrap action failed\n")
    assert f"{node} bootstrap action 1 stderr" in err
    assert emrctl("logs", "--bootstrap", "--node", node)[1] == out
    assert emrctl("logs", "--bootstrap", "--node", "i-other")[0] == 3
    assert emrctl("logs")[0] == 2


def test_up_failure_deletes_resources_after_confirmation(
    emrctl: Emrctl, runtime: FakeRuntime, mocked: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _answered(monkeypatch, True)
    runtime.failing_bootstrap = 1
    code, _, err = emrctl("up")
    assert code == 5
    assert any("Delete them?" in question for question in asked)
    assert "Deleted." in err
    assert json.loads(emrctl("gc", "--json")[1])["resources"][0]["kind"] == "bucket"


def test_up_interrupted_prints_resources(
    emrctl: Emrctl, mocked: Target, standing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Cluster:
        raise KeyboardInterrupt

    monkeypatch.setattr(lifecycle, "deploy", interrupted)
    code, _, err = emrctl("up")
    assert code == 130
    assert "1 cluster: 0.720 USD per hour" in err


def test_up_locked_stack_lists_no_resources(
    emrctl: Emrctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emrctl.errors import StackLockedError

    def locked(*_: Any, **__: Any) -> Cluster:
        raise StackLockedError("stack pets-main is held by process 1")

    monkeypatch.setattr(lifecycle, "deploy", locked)
    code, _, err = emrctl("up")
    assert (code, "there are now" in err) == (5, False)


def test_ssh_emr_on_localhost_is_rejected(
    emrctl: Emrctl, mocked: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_emr = SimpleNamespace(spec=ClusterSpec())
    monkeypatch.setattr(registry, "find_cluster", lambda *_: of_emr)
    object.__setattr__(mocked, "endpoint", "http://127.0.0.1:1")
    code, _, err = emrctl("ssh", "core-1", "--", "ls", "-l")
    assert code == 5
    assert "no SSH server: they are folders" in err
    assert "emrctl ui yarn" in err


def test_ssh_words_after_dashes_are_the_remote_command(
    emrctl: Emrctl, standing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emrctl.cli import remote

    seen: list[tuple[str, str | None]] = []

    def way(login: Any, command: str | None) -> int:
        seen.append((login.node.role, command))
        return 3

    monkeypatch.setitem(remote._METHODS, "ssh", way)
    assert emrctl("ssh", "--", "ls", "-l", "a b")[0] == 3
    assert emrctl("ssh", "core-2")[0] == 3
    assert seen == [("primary", "ls -l 'a b'"), ("core", None)]
    code, _, err = emrctl("ssh", "task-9")
    assert (code, "core-2" in err) == (3, True)


def test_ssh_no_open_port_uses_session_manager(
    emrctl: Emrctl, standing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emrctl.cli import remote
    from emrctl.remote import nodes

    found = nodes.find_node
    monkeypatch.setattr(nodes, "find_node", lambda *of: replace(found(*of), session=True))
    monkeypatch.setitem(remote._METHODS, "ssm", lambda _way, _command: 4)
    code, _, err = emrctl("ssh")
    assert (code, "no open port" in err) == (4, True)


def test_ssh_unreachable_node_reports_every_method(
    emrctl: Emrctl, standing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = emrctl("ssh", "--", "true")
    assert code == 5
    assert "has no key pair" in err
    assert "session-manager-plugin is not on PATH" in err
    code, _, err = emrctl("ui", "yarn", "--print", "--by", "ssm")
    assert (code, "cannot reach the yarn page" in err) == (5, True)


def test_ui_opens_address_until_ctrl_c(
    emrctl: Emrctl, standing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emrctl.remote import pages

    closed: list[bool] = []

    class Held:
        def keep(self, _until: object) -> None:
            try:
                raise KeyboardInterrupt
            finally:
                self.close()

        def close(self) -> None:
            closed.append(True)

    def opened(_target: Target, _visit: pages.PageRequest) -> pages.OpenPage:
        held: Any = Held()
        return pages.OpenPage(url="http://127.0.0.1:8088/cluster", method="ssh", forwarding=held)

    browsed: list[str] = []
    monkeypatch.setattr(pages, "open_page", opened)
    monkeypatch.setattr("webbrowser.open", browsed.append)
    code, out, err = emrctl("ui", "yarn", "--print")
    assert (code, out.strip(), browsed) == (0, "http://127.0.0.1:8088/cluster", [])
    assert "until Ctrl-C" in err
    assert emrctl("ui", "yarn")[0] == 0
    assert browsed == ["http://127.0.0.1:8088/cluster"]
    assert closed == [True, True]
    assert emrctl("ui", "nonsense")[0] == 2


def test_ui_sigterm_closes_tunnel(
    emrctl: Emrctl, standing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emrctl.remote import pages

    closed: list[bool] = []

    class Held:
        def keep(self, _until: object) -> None:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(20)
            finally:
                self.close()

        def close(self) -> None:
            closed.append(True)

    def opened(_target: Target, _visit: pages.PageRequest) -> pages.OpenPage:
        held: Any = Held()
        return pages.OpenPage(url="http://127.0.0.1:1", method="ssm", forwarding=held)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(pages, "open_page", opened)
    code, _, err = emrctl("ui", "yarn", "--print")
    for number, handler in before.items():
        signal.signal(number, handler)
    assert (code, closed, "closed" in err) == (0, [True], True)


def test_doctor_missing_requirement_exits_with_1(
    emrctl: Emrctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    well = doctor.CheckResult(name="Python", status="ok", message="3.11")
    warned = doctor.CheckResult(name="memory", status="warning", message="4 GB", hint="Buy some.")
    missing = doctor.CheckResult(name="Java", status="missing", message="none", hint="Install it.")
    monkeypatch.setattr(doctor, "run_checks", lambda _config: (well, warned))
    code, out, _ = emrctl("doctor")
    assert (code, "memory: Buy some." in out) == (0, True)
    monkeypatch.setattr(doctor, "run_checks", lambda _config: (well, missing))
    code, out, _ = emrctl("doctor", "--json")
    assert code == 1
    assert [one["status"] for one in json.loads(out)] == ["ok", "missing"]
    (tmp_path / "emrctl.yaml").unlink()
    code, _, err = emrctl("doctor", "--target", "local")
    assert (code, "emrctl init" in err) == (1, True)
