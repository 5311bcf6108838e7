"""HTTP GET of cluster pages."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from emrctl.aws import http as http_get


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/gone" else 200)
        self.end_headers()
        self.wfile.write(f'{{"accept": "{self.headers["Accept"]}"}}'.encode())

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
    assert http_get.get_json(url) == {"accept": "application/json"}


def test_get_status_404_raises_os_error(url: str) -> None:
    with pytest.raises(OSError, match="404"):
        http_get.get(f"{url}/gone")


def test_get_body_over_limit_raises_value_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_get, "MAX_BYTES", 8)
    with pytest.raises(ValueError, match="more than 8 bytes"):
        http_get.get(url)


def test_get_file_url_raises_value_error() -> None:
    with pytest.raises(ValueError, match="not an http:// URL"):
        http_get.get("file:///etc/passwd")
