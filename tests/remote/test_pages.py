"""Methods of opening a page, tried in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.clusters import ec2
from emrctl.errors import HostKeyError, NotFoundError, UnreachableError
from emrctl.remote import host_keys, pages
from emrctl.spec import Ec2ClusterSpec
from tests.remote.connections import CLUSTER, OPENER, served, ssm
from tests.remote.sshd import Sshd


@dataclass
class Yarn:
    """YARN's list of applications."""

    apps: Any = None

    def answer(self, _path: str) -> bytes:
        return json.dumps({"apps": self.apps}).encode()


@pytest.fixture
def yarn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Yarn]:
    """YARN's REST API and all pages of the primary on one port."""
    found = Yarn()
    with served(found.answer) as port:
        for page in ("yarn", "spark", "history", "namenode"):
            monkeypatch.setitem(pages.EMR, page, port)
        yield found


def _closed(opened: pages.OpenPage) -> None:
    assert opened.forwarding is not None
    opened.forwarding.close()


def test_open_page_prefers_ssh(mocked: Target, reached: pages.PageRequest, yarn: Yarn) -> None:
    opened = pages.open_page(mocked, reached)
    assert opened.method == "ssh"
    assert opened.url.startswith("http://127.0.0.1:")
    with OPENER.open(opened.url, timeout=60) as answer:
        assert json.load(answer) == {"apps": None}
    _closed(opened)


def test_open_page_spark_opens_newest_application(
    mocked: Target, reached: pages.PageRequest, yarn: Yarn
) -> None:
    yarn.apps = {
        "app": [
            {"id": "application_1", "startedTime": 1},
            {"id": "application_2", "startedTime": 2},
        ]
    }
    opened = pages.open_page(mocked, replace(reached, page="spark"))
    assert opened.url.endswith("/proxy/application_2/")
    _closed(opened)


def test_open_page_spark_without_application_opens_history(
    mocked: Target, reached: pages.PageRequest, yarn: Yarn
) -> None:
    said: list[str] = []
    opened = pages.open_page(mocked, replace(reached, page="spark", report=said.append))
    assert "proxy" not in opened.url
    assert any("history" in line for line in said)
    _closed(opened)


def test_open_page_changed_host_key_tries_no_other_method(
    mocked: Target, reached: pages.PageRequest, yarn: Yarn, sshd: Sshd
) -> None:
    wrong = host_keys.HostKey(type=sshd.host_key.type, text=sshd.host_key.text[:-4] + "AAAA")
    host_keys.remember("i-1", wrong)
    with pytest.raises(HostKeyError, match="has changed"):
        pages.open_page(mocked, reached)


def test_open_page_uses_session_manager_if_ssh_fails(
    mocked: Target, standing: str, plugin: Path
) -> None:
    visit = pages.PageRequest(cluster=replace(CLUSTER, id=standing), page="yarn")
    with ssm(mocked):
        opened = pages.open_page(mocked, visit)
    assert opened.method == "ssm"
    with OPENER.open(opened.url, timeout=60) as answer:
        assert answer.read() == b"over the session"
    _closed(opened)


def test_open_page_all_methods_fail_lists_reasons(
    mocked: Target, standing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    visit = pages.PageRequest(cluster=replace(CLUSTER, id=standing), page="yarn")
    with pytest.raises(UnreachableError) as caught:
        pages.open_page(mocked, visit)
    for words in ("ssh: the cluster has no key pair", "ssm: session-manager-plugin", "emr: "):
        assert words in caught.value.message
    assert "cluster.key_pair" in caught.value.hint


# --- Spark standalone -----------------------------------------------------------------------------


@pytest.fixture
def standalone(
    reached: pages.PageRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pages.PageRequest]:
    """A page request to a standalone cluster whose master and driver share a port."""
    answers: dict[str, Any] = {
        "/json/": {"activeapps": [{"id": "app-1", "starttime": 1}]},
        "/api/v1/applications": [{"id": "app-1"}],
        "/": "the page",
    }
    with served(lambda path: json.dumps(answers[path]).encode()) as port:
        monkeypatch.setitem(ec2.PAGE_PORTS, "master", port)
        monkeypatch.setattr(pages, "_DRIVER_PORTS", [port])
        yield replace(reached, cluster=replace(reached.cluster, spec=Ec2ClusterSpec()))


@pytest.mark.parametrize("page", ["master", "spark"])
def test_open_page_standalone_over_ssh(
    mocked: Target, standalone: pages.PageRequest, page: pages.Page
) -> None:
    opened = pages.open_page(mocked, replace(standalone, page=page))
    assert opened.method == "ssh"
    with OPENER.open(opened.url, timeout=60) as answer:
        assert json.load(answer) == "the page"
    _closed(opened)


def test_open_page_standalone_has_no_presigned_url(
    mocked: Target, standalone: pages.PageRequest
) -> None:
    with pytest.raises(UnreachableError, match="emr: presigned URLs exist only for EMR clusters"):
        pages.open_page(mocked, replace(standalone, page="master", methods=("emr",)))


# --- on localhost ---------------------------------------------------------------------------------


class _Local:
    """The part of the emulator's target that pages use."""

    endpoint = "http://127.0.0.1:1"
    emr_nodes_are_folders = True

    def __init__(self, apps: Any) -> None:
        self._apps = apps

    def page(self, cluster_id: str, _dns: str, name: str) -> str:
        return f"{self.endpoint}/emrctl/clusters/{cluster_id}/{name}"

    def fetch(self, url: str) -> Any:
        assert "/yarn/ws/v1/cluster/apps" in url
        return {"apps": self._apps}

    def browser_url(self, url: str) -> str:
        return f"let-in:{url}"


@pytest.mark.parametrize(
    ("page", "apps", "url"),
    [
        ("yarn", None, "let-in:http://y"),
        ("history", None, "let-in:http://127.0.0.1:1/emrctl/clusters/j-1/history"),
        ("spark", {"app": [{"id": "a_1", "startedTime": 1}]}, "let-in:http://y/proxy/a_1/"),
        ("spark", None, "let-in:http://127.0.0.1:1/emrctl/clusters/j-1/history"),
    ],
)
def test_open_page_on_localhost_returns_browser_url(page: pages.Page, apps: Any, url: str) -> None:
    visit = pages.PageRequest(cluster=replace(CLUSTER, urls={"yarn": "http://y"}), page=page)
    opened = pages.open_page(_Local(apps), visit)  # type: ignore[arg-type]
    assert (opened.url, opened.method, opened.forwarding) == (url, "local", None)


def test_open_page_on_localhost_has_no_namenode() -> None:
    visit = pages.PageRequest(cluster=replace(CLUSTER, urls={"yarn": "http://y"}), page="namenode")
    with pytest.raises(NotFoundError, match="HDFS has no web page"):
        pages.open_page(_Local(None), visit)  # type: ignore[arg-type]
