"""Page addresses by kind of cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from emrctl.errors import NotFoundError, UnreachableError
from emrctl.remote import pages
from emrctl.remote.pages import Page, PageAddress
from emrctl.spec import ClusterSpec, Ec2ClusterSpec
from tests.remote.connections import CLUSTER

STANDALONE = replace(CLUSTER, id="i-1", spec=Ec2ClusterSpec())
APPS = "/api/v1/applications"


class Primary:
    """Serves documents by port, raises on other ports, and records requests."""

    def __init__(self, pages: Mapping[tuple[int, str], Any]) -> None:
        self.pages = pages
        self.asked: list[tuple[int, str]] = []

    def __call__(self, port: int, path: str) -> Any:
        self.asked.append((port, path))
        found = self.pages.get((port, path))
        if found is None:
            raise UnreachableError(f"port {port} is closed")
        if isinstance(found, Exception):
            raise found
        return found


def _active(*ids: str) -> dict[tuple[int, str], Any]:
    """Return the master's JSON with these applications, the newest last."""
    apps = [{"id": id_, "starttime": at} for at, id_ in enumerate(ids)]
    return {(8080, "/json/"): {"activeapps": apps}}


# --- EMR ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("yarn", PageAddress(page="yarn", port=8088, path="/cluster")),
        ("history", PageAddress(page="history", port=18080)),
        ("namenode", PageAddress(page="namenode", port=9870)),
    ],
)
def test_address_emr_pages_have_fixed_ports(page: Page, address: PageAddress) -> None:
    ask = Primary({})
    assert pages.find_page(pages.PageRequest(cluster=CLUSTER, page=page), ask) == address
    assert not ask.asked


def test_address_namenode_of_emr_5_uses_hadoop_2_port() -> None:
    old = replace(CLUSTER, spec=ClusterSpec(release="emr-5.36.0"))
    found = pages.find_page(pages.PageRequest(cluster=old, page="namenode"), Primary({}))
    assert found.port == 50070


def test_address_given_application_makes_no_request() -> None:
    visit = pages.PageRequest(cluster=CLUSTER, page="spark", application_id="application_1_1")
    ask = Primary({})
    found = pages.find_page(visit, ask)
    assert (found.port, found.path) == (20888, "/proxy/application_1_1/")
    assert not ask.asked


@pytest.mark.parametrize("failure", [ConnectionError("closed"), ValueError("no JSON")])
def test_address_yarn_unreachable_raises(failure: Exception) -> None:
    ask = Primary({(8088, "/ws/v1/cluster/apps?states=RUNNING"): failure})
    with pytest.raises(UnreachableError, match="cannot list applications of YARN"):
        pages.find_page(pages.PageRequest(cluster=CLUSTER, page="spark"), ask)


# --- Spark standalone -----------------------------------------------------------------------------


def test_address_master_page() -> None:
    visit = pages.PageRequest(cluster=STANDALONE, page="master")
    assert pages.find_page(visit, Primary({})) == PageAddress(page="master", port=8080)


def test_address_spark_page_of_newest_driver() -> None:
    drivers = {(4040, APPS): [{"id": "app-0"}], (4041, APPS): [{"id": "app-1"}]}
    visit = pages.PageRequest(cluster=STANDALONE, page="spark")
    found = pages.find_page(visit, Primary(_active("app-0", "app-1") | drivers))
    assert found == PageAddress(page="spark", port=4041)


def test_address_without_application_is_master_page() -> None:
    messages: list[str] = []
    visit = pages.PageRequest(cluster=STANDALONE, page="spark", report=messages.append)
    assert pages.find_page(visit, Primary(_active())) == PageAddress(page="master", port=8080)
    assert messages == ["no application is running: opening the master's page"]


def test_driver_port_unknown_application_raises() -> None:
    drivers = {(port, APPS): [{"id": "another"}] for port in range(4040, 4048)}
    visit = pages.PageRequest(cluster=STANDALONE, page="spark", application_id="app-9")
    with pytest.raises(UnreachableError, match="no driver of app-9") as caught:
        pages.find_page(visit, Primary(drivers))
    assert "emrctl runs show" in caught.value.hint


def test_driver_port_stops_at_first_closed_port() -> None:
    ask = Primary({(4040, APPS): [{"id": "another"}]})
    with pytest.raises(UnreachableError, match="port 4041 is closed"):
        pages.driver_port(ask, "app-9")
    assert [port for port, _ in ask.asked] == [4040, 4041]


def test_address_master_unreachable_raises() -> None:
    ask = Primary({(8080, "/json/"): ConnectionError("closed")})
    with pytest.raises(UnreachableError, match="cannot list applications of the master"):
        pages.find_page(pages.PageRequest(cluster=STANDALONE, page="spark"), ask)


# --- unsupported pages ----------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["yarn", "history", "namenode"])
def test_check_page_standalone_has_two_pages(page: Page) -> None:
    with pytest.raises(NotFoundError, match=f"has no {page} page") as caught:
        pages.check_page(pages.PageRequest(cluster=STANDALONE, page=page))
    assert caught.value.hint == "Pages: master, spark."


def test_check_page_emr_has_no_master_page() -> None:
    with pytest.raises(NotFoundError, match="has no master page"):
        pages.check_page(pages.PageRequest(cluster=CLUSTER, page="master"))
