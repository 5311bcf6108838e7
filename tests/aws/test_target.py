"""Targets: Amazon's AWS, or the emulator that runs, found by the file that it wrote."""

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


def test_without_an_emulator_the_command_that_starts_one_is_named() -> None:
    with pytest.raises(NotFoundError) as caught:
        target.resolve("local", "us-east-1")
    assert "emrctl local up" in caught.value.hint


def test_an_emulator_that_died_is_none(tmp_path: Path) -> None:
    _state(tmp_path, 2**22 + 1)
    assert target.emulator_state() is None


def test_the_running_emulator_is_found_with_its_own_keys(tmp_path: Path) -> None:
    _state(tmp_path, os.getpid())
    found = target.resolve("local", "us-east-1")
    assert (found.kind, found.identity, found.poll_s) == ("local", "e-1", 0.2)
    assert found.ssh_port == 2222
    client = found.client("s3")
    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    assert client._request_signer._credentials.access_key == "AKIDKEY"
    assert found.pulumi_settings()["shared_credentials_files"] == [str(tmp_path / "credentials")]
    assert "s3cret" not in repr(found) + json.dumps(found.pulumi_settings())


def test_amazons_is_asked_at_its_own_address() -> None:
    found = target.resolve("aws", "eu-central-1", "mine")
    assert found.pulumi_settings() == {"region": "eu-central-1", "profile": "mine"}
    assert found.ssh_port == 22
    assert found.page("j-1", "ip-1", "yarn") == "http://ip-1:8088"
    assert found.page("j-1", "ip-1", "proxy") == "http://ip-1:20888/proxy"
    assert found.browser_url("http://ip-1:8088") == "http://ip-1:8088"


def test_a_caller_unknown_to_aws_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
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
        """Nobody reads it."""


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Page) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_pages_are_asked_with_the_emulators_token(server: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    found = Target(kind="local", region="us-east-1", endpoint=server, token_file=tmp_path / "token")
    page = found.page("j-1", "", "yarn")
    assert found.fetch(f"{page}/ws/v1/cluster/apps") == {
        "path": "/emrctl/clusters/j-1/yarn/ws/v1/cluster/apps",
        "token": "t0ken",
    }


def test_only_web_pages_are_fetched() -> None:
    with pytest.raises(ValueError, match="not an http:// URL"):
        Target(kind="aws", region="us-east-1").fetch("file:///etc/passwd")
