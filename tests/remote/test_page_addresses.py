"""Where a primary has its pages, by the kind of its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from emrctl.errors import NotFoundError
from emrctl.remote import page_addresses
from emrctl.remote.errors import UnreachableError
from emrctl.remote.page_addresses import Address, Page
from emrctl.spec import ClusterSpec, Ec2ClusterSpec
from tests.remote.ways import CLUSTER

STANDALONE = replace(CLUSTER, id="i-1", spec=Ec2ClusterSpec())
APPS = "/api/v1/applications"


class Primary:
    """Answers below its ports; nobody listens on others. Keeps what it was asked."""

    def __init__(self, pages: Mapping[tuple[int, str], Any]) -> None:
        self.pages = pages
        self.asked: list[tuple[int, str]] = []

    def __call__(self, port: int, path: str) -> Any:
        self.asked.append((port, path))
        found = self.pages.get((port, path))
        if found is None:
            raise UnreachableError(f"nobody answers on {port}")
        if isinstance(found, Exception):
            raise found
        return found


def _active(*ids: str) -> dict[tuple[int, str], Any]:
    """The master's page with these applications, the last of them the newest."""
    apps = [{"id": id_, "starttime": at} for at, id_ in enumerate(ids)]
    return {(8080, "/json/"): {"activeapps": apps}}


# --- EMR's ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("yarn", Address(page="yarn", port=8088, path="/cluster")),
        ("history", Address(page="history", port=18080)),
        ("namenode", Address(page="namenode", port=9870)),
    ],
)
def test_emrs_pages_have_fixed_ports(page: Page, address: Address) -> None:
    ask = Primary({})
    assert page_addresses.address(page_addresses.Visit(cluster=CLUSTER, page=page), ask) == address
    assert not ask.asked


def test_the_namenode_of_old_releases_answers_elsewhere() -> None:
    old = replace(CLUSTER, spec=ClusterSpec(release="emr-5.36.0"))
    found = page_addresses.address(page_addresses.Visit(cluster=old, page="namenode"), Primary({}))
    assert found.port == 50070


def test_an_application_that_is_named_is_not_looked_for() -> None:
    visit = page_addresses.Visit(cluster=CLUSTER, page="spark", application_id="application_1_1")
    ask = Primary({})
    found = page_addresses.address(visit, ask)
    assert (found.port, found.path) == (20888, "/proxy/application_1_1/")
    assert not ask.asked


@pytest.mark.parametrize("failure", [ConnectionError("closed"), ValueError("no JSON")])
def test_a_yarn_that_does_not_answer_is_told(failure: Exception) -> None:
    ask = Primary({(8088, "/ws/v1/cluster/apps?states=RUNNING"): failure})
    with pytest.raises(UnreachableError, match="YARN does not say what runs"):
        page_addresses.address(page_addresses.Visit(cluster=CLUSTER, page="spark"), ask)


# --- a standalone cluster's -----------------------------------------------------------------------


def test_the_masters_page_is_its_own() -> None:
    visit = page_addresses.Visit(cluster=STANDALONE, page="master")
    assert page_addresses.address(visit, Primary({})) == Address(page="master", port=8080)


def test_sparks_page_is_that_of_the_newest_driver_whichever_port_it_has() -> None:
    drivers = {(4040, APPS): [{"id": "app-0"}], (4041, APPS): [{"id": "app-1"}]}
    visit = page_addresses.Visit(cluster=STANDALONE, page="spark")
    found = page_addresses.address(visit, Primary(_active("app-0", "app-1") | drivers))
    assert found == Address(page="spark", port=4041)


def test_where_nothing_runs_the_master_is_shown() -> None:
    said: list[str] = []
    visit = page_addresses.Visit(cluster=STANDALONE, page="spark", report=said.append)
    assert page_addresses.address(visit, Primary(_active())) == Address(page="master", port=8080)
    assert said == ["no application runs now: this is the master's page"]


def test_a_driver_that_is_no_more_is_named() -> None:
    drivers = {(port, APPS): [{"id": "another"}] for port in range(4040, 4048)}
    visit = page_addresses.Visit(cluster=STANDALONE, page="spark", application_id="app-9")
    with pytest.raises(UnreachableError, match="no driver of app-9") as caught:
        page_addresses.address(visit, Primary(drivers))
    assert "emrctl runs show" in caught.value.hint


def test_nobody_looks_further_than_the_first_closed_port() -> None:
    ask = Primary({(4040, APPS): [{"id": "another"}]})
    with pytest.raises(UnreachableError, match="nobody answers on 4041"):
        page_addresses.driver_port(ask, "app-9")
    assert [port for port, _ in ask.asked] == [4040, 4041]


def test_a_master_that_does_not_answer_is_told() -> None:
    ask = Primary({(8080, "/json/"): ConnectionError("closed")})
    with pytest.raises(UnreachableError, match="the master does not say what runs"):
        page_addresses.address(page_addresses.Visit(cluster=STANDALONE, page="spark"), ask)


# --- neither's ------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["yarn", "history", "namenode"])
def test_a_standalone_cluster_has_two_pages(page: Page) -> None:
    with pytest.raises(NotFoundError, match=f"has no {page} page") as caught:
        page_addresses.refuse_absent(page_addresses.Visit(cluster=STANDALONE, page=page))
    assert caught.value.hint == "It has master, spark."


def test_emr_has_no_master_page() -> None:
    with pytest.raises(NotFoundError, match="has no master page"):
        page_addresses.refuse_absent(page_addresses.Visit(cluster=CLUSTER, page="master"))
