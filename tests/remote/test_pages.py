"""Which way leads to a page: tried in order, each with its reason where it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.clusters import ec2
from emrctl.errors import NotFoundError
from emrctl.remote import host_keys, page_addresses, pages
from emrctl.remote.errors import HostKeyError, UnreachableError
from emrctl.spec import Ec2ClusterSpec
from tests.remote.sshd import Sshd
from tests.remote.ways import CLUSTER, OPENER, served, ssm


@dataclass
class Yarn:
    """What YARN says of its applications."""

    apps: Any = None

    def answer(self, _path: str) -> bytes:
        return json.dumps({"apps": self.apps}).encode()


@pytest.fixture
def yarn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Yarn]:
    """YARN's REST on the primary, and every page of it on the same port."""
    found = Yarn()
    with served(found.answer) as port:
        for page in ("yarn", "spark", "history", "namenode"):
            monkeypatch.setitem(page_addresses.EMR, page, port)
        yield found


def _closed(opened: pages.Opened) -> None:
    assert opened.held is not None
    opened.held.close()


def test_ssh_comes_first(mocked: Target, reached: page_addresses.Visit, yarn: Yarn) -> None:
    opened = pages.opened(mocked, reached)
    assert opened.way == "ssh"
    assert opened.url.startswith("http://127.0.0.1:")
    with OPENER.open(opened.url, timeout=10) as answer:
        assert json.load(answer) == {"apps": None}
    _closed(opened)


def test_sparks_page_is_that_of_the_newest_application(
    mocked: Target, reached: page_addresses.Visit, yarn: Yarn
) -> None:
    yarn.apps = {
        "app": [
            {"id": "application_1", "startedTime": 1},
            {"id": "application_2", "startedTime": 2},
        ]
    }
    opened = pages.opened(mocked, replace(reached, page="spark"))
    assert opened.url.endswith("/proxy/application_2/")
    _closed(opened)


def test_without_a_running_application_the_history_is_shown(
    mocked: Target, reached: page_addresses.Visit, yarn: Yarn
) -> None:
    said: list[str] = []
    opened = pages.opened(mocked, replace(reached, page="spark", report=said.append))
    assert "proxy" not in opened.url
    assert any("history" in line for line in said)
    _closed(opened)


def test_a_changed_host_key_is_no_reason_to_take_another_way(
    mocked: Target, reached: page_addresses.Visit, yarn: Yarn, sshd: Sshd
) -> None:
    wrong = host_keys.HostKey(type=sshd.host_key.type, text=sshd.host_key.text[:-4] + "AAAA")
    host_keys.remember("i-1", wrong)
    with pytest.raises(HostKeyError, match="has changed"):
        pages.opened(mocked, reached)


def test_session_manager_is_taken_where_ssh_is_closed(
    mocked: Target, standing: str, plugin: Path
) -> None:
    visit = page_addresses.Visit(cluster=replace(CLUSTER, id=standing), page="yarn")
    with ssm(mocked):
        opened = pages.opened(mocked, visit)
    assert opened.way == "ssm"
    with OPENER.open(opened.url, timeout=10) as answer:
        assert answer.read() == b"over the session"
    _closed(opened)


def test_where_no_way_is_open_each_says_why(
    mocked: Target, standing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    visit = page_addresses.Visit(cluster=replace(CLUSTER, id=standing), page="yarn")
    with pytest.raises(UnreachableError) as caught:
        pages.opened(mocked, visit)
    for words in ("ssh: the cluster was made without", "ssm: session-manager-plugin", "emr: "):
        assert words in caught.value.message
    assert "cluster.key_pair" in caught.value.hint


# --- a standalone cluster's -----------------------------------------------------------------------


@pytest.fixture
def standalone(
    reached: page_addresses.Visit, monkeypatch: pytest.MonkeyPatch
) -> Iterator[page_addresses.Visit]:
    """A visit to a standalone cluster whose master and driver have one port."""
    answers: dict[str, Any] = {
        "/json/": {"activeapps": [{"id": "app-1", "starttime": 1}]},
        "/api/v1/applications": [{"id": "app-1"}],
        "/": "the page",
    }
    with served(lambda path: json.dumps(answers[path]).encode()) as port:
        monkeypatch.setitem(ec2.PAGES, "master", port)
        monkeypatch.setattr(page_addresses, "_DRIVERS", [port])
        yield replace(reached, cluster=replace(reached.cluster, spec=Ec2ClusterSpec()))


@pytest.mark.parametrize("page", ["master", "spark"])
def test_a_standalone_clusters_pages_come_over_ssh(
    mocked: Target, standalone: page_addresses.Visit, page: page_addresses.Page
) -> None:
    opened = pages.opened(mocked, replace(standalone, page=page))
    assert opened.way == "ssh"
    with OPENER.open(opened.url, timeout=10) as answer:
        assert json.load(answer) == "the page"
    _closed(opened)


def test_emr_signs_no_address_of_a_standalone_cluster(
    mocked: Target, standalone: page_addresses.Visit
) -> None:
    with pytest.raises(UnreachableError, match="emr: EMR signs no addresses"):
        pages.opened(mocked, replace(standalone, page="master", ways=("emr",)))


# --- on localhost ---------------------------------------------------------------------------------


class _Local:
    """The emulator's target as far as pages ask it."""

    endpoint = "http://127.0.0.1:1"

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
def test_on_localhost_the_emulator_lets_the_browser_in(
    page: page_addresses.Page, apps: Any, url: str
) -> None:
    visit = page_addresses.Visit(cluster=replace(CLUSTER, urls={"yarn": "http://y"}), page=page)
    opened = pages.opened(_Local(apps), visit)  # type: ignore[arg-type]
    assert (opened.url, opened.way, opened.held) == (url, "local", None)


def test_on_localhost_there_is_no_hdfs() -> None:
    visit = page_addresses.Visit(
        cluster=replace(CLUSTER, urls={"yarn": "http://y"}), page="namenode"
    )
    with pytest.raises(NotFoundError, match="has no HDFS"):
        pages.opened(_Local(None), visit)  # type: ignore[arg-type]
