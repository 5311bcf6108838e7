"""HTTP requests to pages of clusters and to the emulator."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from emrctl.aws import http as requests


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/gone" else 200)
        self.end_headers()
        self.wfile.write(f'{{"accept": "{self.headers["Accept"]}"}}'.encode())

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_get_json_with_proxy_in_environment_connects_directly(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert requests.get_json(url) == {"accept": "application/json"}


def test_request_status_404_raises_os_error(url: str) -> None:
    with pytest.raises(OSError, match="404"):
        requests.request(f"{url}/gone")


def test_request_body_over_limit_raises_value_error(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_BYTES", 8)
    with pytest.raises(ValueError, match="more than 8 bytes"):
        requests.request(url)


def test_request_file_url_raises_value_error() -> None:
    with pytest.raises(ValueError, match="not an http:// URL"):
        requests.request("file:///etc/passwd")


def test_request_sends_method_and_body(url: str) -> None:
    assert requests.request(url, method="POST", body=b"sent") == b"sent"
