"""Pages of a cluster on the local EMR, opened by a browser."""

from __future__ import annotations

import http.cookiejar
import urllib.request

import pytest

from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster
from emrctl.remote import pages
from emrctl.spec import ClusterSpec

pytestmark = pytest.mark.yarn


def _browsed(url: str) -> str:
    """Return what a new browser session gets."""
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
    with browser.open(url, timeout=60) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize(
    ("page", "shows"),
    [("yarn", "Cluster Metrics"), ("history", "History Server"), ("spark", "History Server")],
)
def test_open_page_on_localhost_opens_in_browser(
    local: Target, yarn_cluster: str, page: pages.Page, shows: str
) -> None:
    clusters = local.fetch(f"{local.endpoint}/emrctl/status")["clusters"]
    [found] = [item for item in clusters if item["id"] == yarn_cluster]
    cluster = Cluster(
        name="yarn",
        stack="yarn",
        id=yarn_cluster,
        arn="",
        state="WAITING",
        spec=ClusterSpec(),
        region="us-east-1",
        bucket="yarn-logs",
        created="",
        urls=found["urls"],
    )
    opened = pages.open_page(local, pages.PageRequest(cluster=cluster, page=page))
    assert (opened.method, opened.forwarding) == ("local", None)
    assert shows in _browsed(opened.url)
