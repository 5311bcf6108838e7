"""Targets: AWS, and the running emulator found by its state file."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from emrctl import paths
from emrctl.aws import target
from emrctl.aws.target import Target
from emrctl.errors import CredentialsError, NotFoundError


def _state(tmp_path: Path, pid: int) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(
        "[default]\naws_access_key_id = AKIDKEY\naws_secret_access_key = s3cret\n"
    )
    file = paths.emulator_file()
    file.parent.mkdir(parents=True)
    state = {
        "id": "e-1",
        "endpoint": "http://127.0.0.1:9",
        "pid": pid,
        "credentials": str(credentials),
        "ssh_port": 2222,
    }
    file.write_text(json.dumps(state))


def test_resolve_without_emulator_hints_at_local_up() -> None:
    with pytest.raises(NotFoundError) as caught:
        target.resolve("local", "us-east-1")
    assert "emrctl local up" in caught.value.hint


def test_emulator_state_of_dead_process_is_none(tmp_path: Path) -> None:
    _state(tmp_path, 2**22 + 1)
    assert target.emulator_state() is None


@pytest.mark.parametrize(
    "text", ["", "[]", "7", '{"pid": 1}', '{"pid": {}}', '{"pid": "x", "id": "e", "endpoint": "h"}']
)
def test_damaged_state_file_is_that_of_no_emulator(text: str) -> None:
    file = paths.emulator_file()
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert target.emulator_state() is None


def test_resolve_local_uses_emulator_credentials(tmp_path: Path) -> None:
    _state(tmp_path, os.getpid())
    found = target.resolve("local", "us-east-1")
    assert (found.kind, found.identity, found.poll_s) == ("local", "e-1", 0.2)
    assert found.ssh_port == 2222
    client = found.client("s3")
    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    assert client._request_signer._credentials.access_key == "AKIDKEY"
    assert found.pulumi_settings()["shared_credentials_files"] == [str(tmp_path / "credentials")]
    assert "s3cret" not in repr(found) + json.dumps(found.pulumi_settings())


def test_resolve_aws_uses_default_endpoints() -> None:
    found = target.resolve("aws", "eu-central-1", "mine")
    assert found.pulumi_settings() == {"region": "eu-central-1", "profile": "mine"}
    assert found.ssh_port == 22
    assert found.page("j-1", "ip-1", "yarn") == "http://ip-1:8088"
    assert found.page("j-1", "ip-1", "proxy") == "http://ip-1:20888/proxy"
    assert found.browser_url("http://ip-1:8088") == "http://ip-1:8088"


def test_account_without_credentials_raises_with_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    target._session.cache_clear()
    target._client.cache_clear()
    with pytest.raises(CredentialsError) as caught:
        Target(kind="aws", region="us-east-1").account()
    assert "AWS_PROFILE" in caught.value.hint


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        token = self.headers.get("X-Emrctl-Token")
        body = json.dumps({"path": self.path, "token": token}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Do not log."""


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Page) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_fetch_sends_emulator_token(server: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    found = Target(kind="local", region="us-east-1", endpoint=server, token_file=tmp_path / "token")
    page = found.page("j-1", "", "yarn")
    assert found.fetch(f"{page}/ws/v1/cluster/apps") == {
        "path": "/emrctl/clusters/j-1/yarn/ws/v1/cluster/apps",
        "token": "t0ken",
    }


def test_fetch_file_url_raises_value_error() -> None:
    with pytest.raises(ValueError, match="not an http:// URL"):
        Target(kind="aws", region="us-east-1").fetch("file:///etc/passwd")
