"""A cluster that is reached, and AWS's plugin as far as it is needed."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.stub import Stubber

from emrctl.provision import Cluster, Node
from emrctl.specs import ClusterSpec
from emrctl.target import Target

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

PLUGIN = """#!{python}
import json, os, socketserver, sys, time
if sys.argv[1:] == ["--version"]:
    print(os.environ.get("PLUGIN_VERSION", "1.2.707.0"))
    raise SystemExit
with open({log!r}, "a") as log:
    log.write(json.dumps([sys.argv[1:], os.environ[sys.argv[1]]]) + "\\n")
asked = json.loads(sys.argv[5])
if asked.get("DocumentName") != "AWS-StartPortForwardingSessionToRemoteHost":
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


@contextmanager
def ssm(target: Target, *, online: bool = True, sessions_: int = 1) -> Iterator[None]:
    listed = [{"InstanceId": "i-1", "PingStatus": "Online"}] if online else []
    with Stubber(target.client("ssm")) as stub:
        stub.add_response("describe_instance_information", {"InstanceInformationList": listed})
        for number in range(sessions_):
            answer = {"SessionId": f"s-{number}", "TokenValue": "sesame", "StreamUrl": "wss://x"}
            stub.add_response("start_session", answer)
        yield
