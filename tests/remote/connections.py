"""A cluster to connect to, and a substitute for AWS's Session Manager plugin."""

from __future__ import annotations

import http.server
import os
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.stub import Stubber

from emrctl.aws.target import Target
from emrctl.clusters.model import Node
from tests import facts

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

PLUGIN = """#!{python}
import json, os, signal, socket, socketserver, sys, threading
if sys.argv[1:] == ["--version"]:
    print(os.environ.get("PLUGIN_VERSION", "1.2.707.0"))
    raise SystemExit
with open({log!r}, "a") as log:
    log.write(json.dumps([sys.argv[1:], os.environ[sys.argv[1]], os.getpid()]) + "\\n")
asked = json.loads(sys.argv[5])
if asked.get("DocumentName") != "AWS-StartPortForwardingSessionToRemoteHost":
    raise SystemExit(7)
asked = {{key: value for key, [value] in asked["Parameters"].items()}}
class Hello(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nover the session")
def copied(source, sink):
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
class Through(socketserver.BaseRequestHandler):
    def handle(self):
        there = socket.create_connection((asked["host"], int(asked["portNumber"])))
        back = threading.Thread(target=copied, args=(there, self.request), daemon=True)
        back.start()
        copied(self.request, there)
        back.join()
socketserver.TCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.daemon_threads = True
if os.environ.get("PLUGIN_IS_DEAF"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
handler = Through if os.environ.get("PLUGIN_LEADS_THERE") else Hello
port = int(asked["localPortNumber"])
socketserver.ThreadingTCPServer(("127.0.0.1", port), handler).serve_forever()
"""


def plugin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the plugin on PATH; return the file to which it writes its arguments.

    What it forwards answers by itself; with PLUGIN_LEADS_THERE it is what is asked for.
    """
    program, log = folder / "bin" / "session-manager-plugin", folder / "plugin.log"
    program.parent.mkdir()
    program.write_text(PLUGIN.format(python=sys.executable, log=str(log)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return log


def _node(role: str, id_: str, public: str = "") -> Node:
    dns = f"ip-10-0-0-{id_[-1]}.ec2.internal"
    return Node(
        id=id_, role=role, type="m5.xlarge", state="RUNNING", private_dns=dns, public_dns=public
    )


CLUSTER = replace(
    facts.CLUSTER,
    arn="arn:aws:elasticmapreduce:us-east-1:123456789012:cluster/j-1",
    primary_dns="ec2-1-2-3-4.compute-1.amazonaws.com",
    nodes=(_node("primary", "i-1", "127.0.0.1"), _node("core", "i-2"), _node("core", "i-3")),
)


@contextmanager
def ssm(target: Target, *, online: bool = True, sessions_: int = 1) -> Iterator[None]:
    listed = [{"InstanceId": "i-1", "PingStatus": "Online"}] if online else []
    with Stubber(target.client("ssm")) as stub:
        stub.add_response("describe_instance_information", {"InstanceInformationList": listed})
        for number in range(sessions_):
            answer = {"SessionId": f"s-{number}", "TokenValue": "sesame", "StreamUrl": "wss://x"}
            stub.add_response("start_session", answer)
        yield


@contextmanager
def served(answer: Callable[[str], bytes]) -> Iterator[int]:
    """Serve `answer(path)` over HTTP; return the port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Discard the access log."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()
