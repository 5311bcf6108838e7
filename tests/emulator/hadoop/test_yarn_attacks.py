"""YARN rejects requests of web pages and of other users of this machine."""

from __future__ import annotations

import http.cookiejar
import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from emrctl.emulator.hadoop import hadoop_jars
from emrctl.emulator.server import control, processes, state
from tests.conftest import target_of

pytestmark = pytest.mark.yarn

SUBMISSION = {
    "application-id": "application_1_0001",
    "application-name": "evil",
    "application-type": "YARN",
    "am-container-spec": {"commands": {"command": "touch /tmp/evil"}},
}


@pytest.fixture
def address(emulator: state.EmulatorInfo, yarn_cluster: str) -> str:
    clusters: Any = control.overview(emulator)["clusters"]
    return str(next(one for one in clusters if one["id"] == yarn_cluster)["urls"]["yarn"])


def ask(
    url: str, body: Any = None, opener: urllib.request.OpenerDirector | None = None, **headers: str
) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310
    try:
        with (opener or urllib.request.build_opener()).open(request, timeout=60) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize(
    "query", ["", "?user.name=root", "?user.name=hadoop@emr", "?doAs=root&user.name=x"]
)
@pytest.mark.parametrize("origin", [{}, {"Origin": "http://evil.example"}])
def test_unauthenticated_http_submission_is_rejected(
    address: str, query: str, origin: dict[str, str]
) -> None:
    headers = {"Content-Type": "application/json", **origin}
    for path in ("/ws/v1/cluster/apps/new-application", "/ws/v1/cluster/apps"):
        assert ask(address + path + query, SUBMISSION, None, **headers)[0] == 401


def test_login_and_forged_cookie_are_rejected(address: str) -> None:
    assert ask(f"{address}/cluster", Authorization="Basic cm9vdDpyb290")[0] in (401, 403)
    forged = 'hadoop.auth="u=root&p=root&t=ldap&e=9999999999999&s=AAAA"'
    assert ask(f"{address}/cluster", Cookie=forged)[0] in (401, 403)


def test_web_uis_of_nodes_and_history_require_cookie(
    emulator: state.EmulatorInfo, yarn_cluster: str
) -> None:
    path = f"/emrctl/clusters/{yarn_cluster}"
    nodes = json.loads(control.page(emulator, f"{path}/yarn/ws/v1/cluster/nodes"))["nodes"]["node"]
    url_with_ticket = target_of(emulator).browser_url(f"{emulator.endpoint}{path}/history")
    redirect = requests.get(
        url_with_ticket.replace("127.0.0.1", "localhost", 1), timeout=60, allow_redirects=False
    )
    addresses = [f"http://{one['nodeHTTPAddress']}/node" for one in nodes]
    for url in (*addresses, redirect.headers["Location"]):
        assert ask(url)[0] == 401


def test_browser_with_cookie_can_only_read(emulator: state.EmulatorInfo, address: str) -> None:
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    browser = urllib.request.build_opener(jar)
    url = target_of(emulator).browser_url(f"{address}/cluster/nodes")
    assert emulator.token not in url
    status, text = ask(url, opener=browser)
    assert (status, "Nodes of the cluster" in text) == (200, True)
    headers = {"Content-Type": "application/json", "X-XSRF-Header": "x"}
    for path in ("/ws/v1/cluster/apps/new-application", "/ws/v1/cluster/apps"):
        status, _ = ask(address + path, SUBMISSION, opener=browser, **headers)
        assert status in (400, 403)
    without = {"Content-Type": "application/json", "User-Agent": "Mozilla/5.0"}
    assert ask(f"{address}/ws/v1/cluster/apps", SUBMISSION, opener=browser, **without)[0] >= 400


@pytest.mark.parametrize("user", ["root", "hadoop", "hadoop@emr", "viewer", "nobody"])
def test_rpc_with_public_user_name_is_rejected(
    emulator: state.EmulatorInfo, yarn_cluster: str, user: str, tmp_path: Path
) -> None:
    folder = Path(emulator.home) / "clusters" / yarn_cluster
    (tmp_path / "core-site.xml").write_text("<configuration/>")
    (tmp_path / "yarn-site.xml").write_bytes((folder / "conf/yarn-site.xml").read_bytes())
    argv = [
        *(
            str(hadoop_jars.java_home() / "bin/java"),
            "-cp",
            f"{tmp_path}:{hadoop_jars.spark_home()}/jars/*",
        ),
        *("org.apache.hadoop.yarn.client.cli.ApplicationCLI", "application", "-list"),
    ]
    environment = {"HADOOP_USER_NAME": user, "PATH": os.environ["PATH"]}
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert "not authorized" in done.stderr


def test_secret_user_is_not_in_process_list_logs_or_client_conf(
    emulator: state.EmulatorInfo, yarn_cluster: str
) -> None:
    folder = Path(emulator.home) / "clusters" / yarn_cluster
    text = (folder / "conf-rm/core-site.xml").read_text()
    name = text.split("RULE:[1:$1@$0](")[1].split(")")[0]
    assert "@" in name
    lines = []
    for process in processes.marked(processes.EMULATOR_MARK, emulator.id):
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    assert lines
    assert not any(name in line for line in lines)
    assert name not in (folder / "conf/core-site.xml").read_text()
    logs = [path.read_text() for path in folder.glob("nodes/*/mnt/var/log/hadoop-yarn/*.log")]
    assert any("NodeManager from node" in log for log in logs)  # an authorized request
    assert not any(name in log for log in logs)
    assert Path(emulator.home).stat().st_mode & 0o077 == 0


def test_daemons_listen_on_loopback_only(emulator: state.EmulatorInfo, yarn_cluster: str) -> None:
    for process in processes.marked(processes.CLUSTER_MARK, yarn_cluster):
        for one in process.net_connections(kind="inet"):
            if one.status == psutil.CONN_LISTEN:
                address = one.laddr.ip.removeprefix("::ffff:")
                assert address == "127.0.0.1", " ".join(process.cmdline())[-80:]
