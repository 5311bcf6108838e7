"""Which way leads to a page or a node: tried in order, each with its reason where it does not."""

from __future__ import annotations

import http.server
import io
import json
import os
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from emrctl.emulator.fake import FakeLife
from emrctl.errors import NotFoundError
from emrctl.provision import Cluster, Node
from emrctl.reach import hostkeys, nodes, pages, presigned, sessions
from emrctl.reach.line import Host, Line
from emrctl.reach.trouble import HostKeyError, UnreachableError
from emrctl.specs import ClusterSpec
from emrctl.target import Target
from tests.reach.sshd import Sshd

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

PLUGIN = """#!{python}
import json, os, socketserver, sys, time
if sys.argv[1:] == ["--version"]:
    print(os.environ.get("PLUGIN_VERSION", "1.2.707.0"))
    raise SystemExit
with open({log!r}, "a") as log:
    log.write(json.dumps([sys.argv[1:], os.environ[sys.argv[1]]]) + "\\n")
asked = json.loads(sys.argv[5])
if asked.get("DocumentName") != "AWS-StartPortForwardingSession":
    raise SystemExit(7)
class Hello(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nover the session")
socketserver.TCPServer.allow_reuse_address = True
port = int(asked["Parameters"]["localPortNumber"][0])
socketserver.ThreadingTCPServer(("127.0.0.1", port), Hello).serve_forever()
"""


def _node(role: str, id_: str, public: str = "") -> Node:
    dns = f"ip-10-0-0-{id_[-1]}.ec2.internal"
    return Node(
        id=id_, role=role, type="m5.xlarge", state="RUNNING", private_dns=dns, public_dns=public
    )


CLUSTER = Cluster(
    name="main",
    stack="pets-main",
    id="j-1",
    arn="arn:aws:elasticmapreduce:us-east-1:123456789012:cluster/j-1",
    state="WAITING",
    spec=ClusterSpec(),
    bucket="b",
    created="",
    primary_dns="ec2-1-2-3-4.compute-1.amazonaws.com",
    nodes=(_node("primary", "i-1", "127.0.0.1"), _node("core", "i-2"), _node("core", "i-3")),
)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """AWS's plugin as far as it is needed; the file in which it says how it was called."""
    folder, log = tmp_path / "bin", tmp_path / "plugin.log"
    folder.mkdir()
    program = folder / "session-manager-plugin"
    program.write_text(PLUGIN.format(python=sys.executable, log=str(log)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return log


@contextmanager
def _ssm(target: Target, *, online: bool = True, sessions_: int = 1) -> Iterator[None]:
    listed = [{"InstanceId": "i-1", "PingStatus": "Online"}] if online else []
    with Stubber(target.client("ssm")) as stub:
        stub.add_response("describe_instance_information", {"InstanceInformationList": listed})
        for number in range(sessions_):
            answer = {"SessionId": f"s-{number}", "TokenValue": "sesame", "StreamUrl": "wss://x"}
            stub.add_response("start_session", answer)
        yield


# --- nodes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("primary", "i-1"),
        ("core", "i-2"),
        ("core-1", "i-2"),
        ("core-2", "i-3"),
        ("i-3", "i-3"),
        ("ip-10-0-0-2", "i-2"),
        ("ip-10-0-0-2.ec2.internal", "i-2"),
    ],
)
def test_nodes_are_found_by_role_number_id_and_name(name: str, id_: str) -> None:
    assert nodes.find(CLUSTER, name).id == id_


def test_a_node_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(NotFoundError, match="no node 'task-1'") as caught:
        nodes.find(CLUSTER, "task-1")
    assert "core-2 (i-3)" in caught.value.hint


def test_the_shell_is_strict_about_the_key_that_was_checked(tmp_path: Path) -> None:
    key = tmp_path / "k.pem"
    hop = Line(host=Host(node="i-1", address="1.2.3.4"), identities=[key], check=lambda _: None)
    line = Line(
        host=Host(node="i-2", address="10.0.0.2"),
        identities=[key],
        check=lambda _: None,
        through=hop,
    )
    command = nodes.shell_command(line)
    assert command[-1] == "hadoop@10.0.0.2"
    assert "StrictHostKeyChecking=yes" in command
    assert "HostKeyAlias=i-2" in command
    assert f'UserKnownHostsFile="{hostkeys.file()}"' in command
    [proxy] = [part for part in command if part.startswith("ProxyCommand=")]
    assert "HostKeyAlias=i-1" in proxy
    assert proxy.endswith("-W %h:%p hadoop@1.2.3.4")


def test_a_cluster_without_a_key_pair_cannot_be_logged_in_to(mocked: Target, standing: str) -> None:
    with pytest.raises(UnreachableError, match="without a key pair") as caught:
        nodes.identities(mocked, replace(CLUSTER, id=standing), nodes.Login())
    assert "cluster.key_pair" in caught.value.hint


def test_the_key_of_the_clusters_pair_is_looked_for_where_keys_lie(
    mocked: Target, life: FakeLife, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "mine.pem").write_text("x")
    group = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
    made = mocked.client("emr").run_job_flow(
        Name="x",
        ReleaseLabel="emr-7.5.0",
        Instances={
            "InstanceGroups": [group],
            "Ec2KeyName": "mine",
            "KeepJobFlowAliveWhenNoSteps": True,
        },
    )
    found = nodes.identities(mocked, replace(CLUSTER, id=made["JobFlowId"]), nodes.Login())
    assert found == (tmp_path / ".ssh" / "mine.pem",)
    given = nodes.Login(identity=Path("~/k.pem"))
    assert nodes.identities(mocked, CLUSTER, given) == (tmp_path / "k.pem",)


def test_the_console_is_read_over_ec2(mocked: Target) -> None:
    ec2 = mocked.client("ec2")
    [made] = ec2.run_instances(MinCount=1, MaxCount=1)["Instances"]
    assert "Linux" in hostkeys.console(mocked, made["InstanceId"])
    with Stubber(ec2) as stub:
        stub.add_client_error("get_console_output", "UnsupportedOperation")
        stub.add_response("get_console_output", {"Output": "b2xk"})
        assert hostkeys.console(mocked, "i-1") == "old"


# --- Session Manager ------------------------------------------------------------------------------


def test_without_the_plugin_there_are_no_sessions(
    mocked: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnreachableError, match="session-manager-plugin is not on PATH"):
        sessions.available(mocked, "i-1")


def test_a_node_that_ssm_does_not_know_takes_no_sessions(mocked: Target, plugin: Path) -> None:
    with (
        _ssm(mocked, online=False, sessions_=0),
        pytest.raises(UnreachableError, match="unknown to SSM") as caught,
    ):
        sessions.available(mocked, "i-1")
    assert "roles.ssm" in caught.value.hint


def test_a_command_runs_over_a_session_whose_token_no_process_list_shows(
    mocked: Target, plugin: Path
) -> None:
    with _ssm(mocked):
        sessions.available(mocked, "i-1")
        assert sessions.run(mocked, "i-1", "uptime") == 7
    arguments, environment = json.loads(plugin.read_text())
    assert "sesame" not in json.dumps(arguments)
    assert json.loads(environment)["TokenValue"] == "sesame"
    assert json.loads(arguments[4])["Parameters"] == {"command": ["uptime"]}


def test_a_plugin_that_takes_the_token_as_an_argument_is_refused(
    mocked: Target, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUGIN_VERSION", "1.2.100.0")
    with _ssm(mocked):
        sessions.available(mocked, "i-1")
        with pytest.raises(UnreachableError, match=r"is 1\.2\.100\.0") as caught:
            sessions.run(mocked, "i-1", None)
    assert "token" in caught.value.hint
    assert not plugin.exists()


def test_a_forwarded_session_is_begun_again_when_it_ends(mocked: Target, plugin: Path) -> None:
    said: list[str] = []
    forward = sessions.Forward(mocked, "i-1", 8088, said.append)
    until = threading.Event()
    with _ssm(mocked, sessions_=2):
        sessions.available(mocked, "i-1")
        port = forward.open()
        keeper = threading.Thread(target=forward.keep, args=(until,))
        keeper.start()
        assert forward._process is not None
        forward._process.kill()
        deadline = time.monotonic() + 20
        while len(plugin.read_text().splitlines()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while not sessions._answers(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    until.set()
    keeper.join(timeout=20)
    assert forward._process.poll() is not None
    assert any("beginning another" in line for line in said)
    assert not sessions._answers(port)


# --- EMR's addresses ------------------------------------------------------------------------------


def test_emr_signs_an_address_once_it_is_ready(mocked: Target) -> None:
    with Stubber(mocked.client("emr")) as stub:
        name = "get_on_cluster_app_ui_presigned_url"
        asked = {"ClusterId": "j-1", "OnClusterAppUIType": "ResourceManager"}
        stub.add_response(name, {"PresignedURLReady": False}, asked)
        stub.add_response(name, {"PresignedURLReady": True, "PresignedURL": "https://x"}, asked)
        assert presigned.url(mocked, CLUSTER, "yarn") == "https://x"


def test_the_history_of_a_cluster_that_refuses_is_emrs_own_copy(mocked: Target) -> None:
    with Stubber(mocked.client("emr")) as stub:
        stub.add_client_error("get_on_cluster_app_ui_presigned_url", "ValidationException")
        stub.add_response(
            "create_persistent_app_ui",
            {"PersistentAppUIId": "p-1"},
            {"TargetResourceArn": CLUSTER.arn},
        )
        stub.add_response(
            "get_persistent_app_ui_presigned_url",
            {"PresignedURLReady": True, "PresignedURL": "https://copy"},
            {"PersistentAppUIId": "p-1", "PersistentAppUIType": "SHS"},
        )
        assert presigned.url(mocked, CLUSTER, "history") == "https://copy"


@pytest.mark.parametrize(("page", "said"), [("namenode", "no address"), ("spark", "that runs")])
def test_what_emr_does_not_sign_is_told(mocked: Target, page: str, said: str) -> None:
    with pytest.raises(UnreachableError, match=said):
        presigned.url(mocked, CLUSTER, page)


# --- pages ----------------------------------------------------------------------------------------


class _Yarn(http.server.BaseHTTPRequestHandler):
    apps: Any = None

    def do_GET(self) -> None:
        body = json.dumps({"apps": self.apps}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads."""


@pytest.fixture
def yarn(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Yarn]]:
    """YARN's REST on the primary, and every page of it on the same port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Yarn) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for page in ("yarn", "spark", "history", "namenode"):
            monkeypatch.setitem(pages.PORTS, page, server.server_port)
        yield _Yarn
        server.shutdown()
    _Yarn.apps = None


@pytest.fixture
def reached(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> pages.Visit:
    """A visit to a cluster whose primary is the SSH server on loopback."""
    monkeypatch.setattr(hostkeys, "console", lambda _target, _node: sshd.console)
    monkeypatch.setattr(
        nodes, "Host", lambda node, address: Host(node=node, address=address, port=sshd.port)
    )
    primary = replace(CLUSTER.nodes[0], private_dns="127.0.0.1")
    cluster = replace(CLUSTER, nodes=(primary,))
    login = nodes.Login(identity=sshd.client_key)
    return pages.Visit(cluster=cluster, page="yarn", login=login)


def _closed(opened: pages.Opened) -> None:
    assert opened.held is not None
    opened.held.close()


def test_ssh_comes_first(mocked: Target, reached: pages.Visit, yarn: type[_Yarn]) -> None:
    opened = pages.opened(mocked, reached)
    assert opened.way == "ssh"
    assert opened.url.startswith("http://127.0.0.1:")
    with _OPENER.open(opened.url, timeout=10) as answer:
        assert json.load(answer) == {"apps": None}
    _closed(opened)


def test_sparks_page_is_that_of_the_newest_application(
    mocked: Target, reached: pages.Visit, yarn: type[_Yarn]
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
    mocked: Target, reached: pages.Visit, yarn: type[_Yarn]
) -> None:
    said: list[str] = []
    opened = pages.opened(mocked, replace(reached, page="spark", report=said.append))
    assert "proxy" not in opened.url
    assert any("history" in line for line in said)
    _closed(opened)


def test_a_changed_host_key_is_no_reason_to_take_another_way(
    mocked: Target, reached: pages.Visit, yarn: type[_Yarn], sshd: Sshd
) -> None:
    wrong = hostkeys.HostKey(type=sshd.host_key.type, text=sshd.host_key.text[:-4] + "AAAA")
    hostkeys.remember("i-1", wrong)
    with pytest.raises(HostKeyError, match="has changed"):
        pages.opened(mocked, reached)


def test_session_manager_is_taken_where_ssh_is_closed(
    mocked: Target, standing: str, plugin: Path
) -> None:
    visit = pages.Visit(cluster=replace(CLUSTER, id=standing), page="yarn")
    with _ssm(mocked):
        opened = pages.opened(mocked, visit)
    assert opened.way == "ssm"
    with _OPENER.open(opened.url, timeout=10) as answer:
        assert answer.read() == b"over the session"
    _closed(opened)


def test_where_no_way_is_open_each_says_why(
    mocked: Target, standing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    visit = pages.Visit(cluster=replace(CLUSTER, id=standing), page="yarn")
    with pytest.raises(UnreachableError) as caught:
        pages.opened(mocked, visit)
    for words in ("ssh: the cluster was made without", "ssm: session-manager-plugin", "emr: "):
        assert words in caught.value.message
    assert "cluster.key_pair" in caught.value.hint


def test_the_namenode_of_old_releases_answers_elsewhere() -> None:
    old = replace(CLUSTER, spec=ClusterSpec(release="emr-5.36.0"))
    assert (pages.port(old, "namenode"), pages.port(CLUSTER, "namenode")) == (50070, 9870)


def test_a_command_runs_on_the_primary(mocked: Target, reached: pages.Visit, sshd: Sshd) -> None:
    line = nodes.line(mocked, reached.cluster, reached.cluster.nodes[0], reached.login, print)
    out = io.BytesIO()
    assert line.run("ls '/a b'", out, io.BytesIO()) == 0
    line.close()
    assert sshd.commands == ["ls '/a b'"]


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
    page: pages.Page, apps: Any, url: str
) -> None:
    visit = pages.Visit(cluster=replace(CLUSTER, urls={"yarn": "http://y"}), page=page)
    opened = pages.opened(_Local(apps), visit)  # type: ignore[arg-type]
    assert (opened.url, opened.way, opened.held) == (url, "local", None)


def test_on_localhost_there_is_no_hdfs() -> None:
    visit = pages.Visit(cluster=replace(CLUSTER, urls={"yarn": "http://y"}), page="namenode")
    with pytest.raises(NotFoundError, match="has no HDFS"):
        pages.opened(_Local(None), visit)  # type: ignore[arg-type]
