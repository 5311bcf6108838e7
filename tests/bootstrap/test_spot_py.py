"""bootstrap/spot.py, against a metadata service on localhost."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bootstrap" / "spot.py"


class Metadata(http.server.BaseHTTPRequestHandler):
    """Instance metadata that require a token."""

    notice = b""
    refused = 0

    def do_PUT(self) -> None:
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "300"
        self.answer(200, b"a token")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "a token":
            type(self).refused += 1
            self.answer(401, b"")
        elif self.path == "/latest/meta-data/spot/instance-action" and self.notice:
            self.answer(200, self.notice)
        else:
            self.answer(404, b"")

    def answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def metadata() -> Iterator[str]:
    Metadata.notice, Metadata.refused = b"", 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def start_watcher(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(SCRIPT), "/usr/bin/touch", str(folder / "drained")]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def test_announced_interruption_runs_program_once(metadata: str, tmp_path: Path) -> None:
    watcher = start_watcher(tmp_path, AWS_EC2_METADATA_SERVICE_ENDPOINT=metadata)
    try:
        time.sleep(1)
        assert not (tmp_path / "drained").exists()
        Metadata.notice = b'{"action": "terminate", "time": "2026-11-20T12:02:00Z"}'
        deadline = time.monotonic() + 30
        while not (tmp_path / "drained").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert watcher.poll() is None  # after a restart the program would run again
        assert Metadata.refused == 0
    finally:
        watcher.kill()
        watcher.wait()


def test_disabled_metadata_runs_nothing(metadata: str, tmp_path: Path) -> None:
    Metadata.notice = b"{}"
    off = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata, "AWS_EC2_METADATA_DISABLED": "true"}
    watcher = start_watcher(tmp_path, **off)
    try:
        time.sleep(1.5)
        assert watcher.poll() is None
        assert not (tmp_path / "drained").exists()
    finally:
        watcher.kill()
        watcher.wait()
