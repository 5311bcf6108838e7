"""Upload a step's state and logs to S3, so that they outlive the primary."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any, BinaryIO

from _steps import LOGS, STEPS, Document, now, read_cluster

UPLOAD_S, PAGE_S = 60.0, 5.0
# Upload only the end of longer executor logs.
MAX_LOG_BYTES = 20_000_000
APPLICATION = re.compile(rb"Connected to Spark cluster with app ID (app-\d{14}-\d{4,})")


class StepUploads:
    """Uploads the files of one step; unchanged files are not uploaded again."""

    def __init__(self, step_id: str) -> None:
        self.id, self.folder = step_id, STEPS / step_id
        self.cluster = read_cluster()
        self.digests: dict[str, str] = {}
        self.stopped = threading.Event()
        self.thread: threading.Thread | None = None

    def start(self, get_state: Any) -> None:
        """Upload periodically, in a thread, until `stop`."""
        self.thread = threading.Thread(target=self._repeat, args=(get_state,), daemon=True)
        self.thread.start()

    def _repeat(self, get_state: Any) -> None:
        self.upload(get_state())
        while not self.stopped.wait(float(self.cluster.get("upload_s", UPLOAD_S))):
            self.upload(get_state())

    def stop(self) -> None:
        """Stop the periodic uploads and wait for the current one."""
        self.stopped.set()
        if self.thread is not None:
            self.thread.join()

    def upload(self, state: Document) -> None:
        """Upload state, logs and executor logs; a failure is logged and does not fail the step."""
        if not self.cluster.get("log_uri"):
            return
        try:
            self._upload_all(state)
        except Exception as error:  # noqa: BLE001 - uploads must not fail the step
            with (self.folder / "runner.log").open("a", encoding="utf-8") as file:
                file.write(f"{now()} could not upload logs to S3: {error}\n")

    def _upload_all(self, state: Document) -> None:
        stderr = (self.folder / "stderr").read_bytes() if "started" in state else b""
        for application in sorted({match.decode() for match in APPLICATION.findall(stderr)}):
            for name, log in executor_logs(application):
                self._put(f"containers/{application}/{name}.gz", gzip.compress(log, mtime=0))
        for name in LOGS:
            path = self.folder / name
            if path.is_file():
                self._put(f"steps/{self.id}/{name}.gz", gzip.compress(path.read_bytes(), mtime=0))
        self._put(f"steps/{self.id}/state.json", json.dumps(state).encode())

    def _put(self, name: str, body: bytes) -> None:
        digest = hashlib.sha256(body).hexdigest()
        if self.digests.get(name) == digest:
            return
        bucket, _, prefix = self.cluster["log_uri"].partition("://")[2].partition("/")
        prefix = prefix and prefix.rstrip("/") + "/"
        key = f"{prefix}{self.cluster['cluster_id']}/{name}"
        self._s3().put_object(Bucket=bucket, Key=key, Body=body)
        self.digests[name] = digest

    def _s3(self) -> Any:
        """Return the S3 client; its short timeouts keep uploads from delaying the step."""
        if not hasattr(self, "client"):
            import boto3
            from botocore.config import Config

            config = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2})
            region = self.cluster.get("region") or os.environ.get("AWS_REGION")
            self.client = boto3.client("s3", region_name=region, config=config)
        return self.client


def executor_logs(application: str) -> Iterator[tuple[str, bytes]]:
    """Yield `<worker>-<executor>/stderr` and `…/stdout` with their content, from the web UIs."""
    address = read_cluster().get("address")
    if not address:
        return
    for worker in json.loads(get_page(f"http://{address}:8080/json/"))["workers"]:
        if worker["state"] not in {"ALIVE", "DECOMMISSIONED"}:
            continue
        with contextlib.suppress(OSError, ValueError):
            yield from worker_logs(worker, application)


def worker_logs(worker: Document, application: str) -> Iterator[tuple[str, bytes]]:
    """Yield the logs of the application's executors on one worker."""
    base = worker["webuiaddress"]
    document = json.loads(get_page(f"{base}/json/"))
    for executor in (*document["executors"], *document["finishedexecutors"]):
        if executor["appid"] != application:
            continue
        for kind in ("stderr", "stdout"):
            query = f"appId={application}&executorId={executor['id']}&logType={kind}"
            text = get_page(f"{base}/log/?{query}&byteLength={MAX_LOG_BYTES}")
            yield f"{worker['host']}-{executor['id']}/{kind}", text.partition(b"\n")[2]


def get_page(url: str) -> bytes:
    """Return a page of a cluster's web UI, requested without a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    response: BinaryIO
    with opener.open(url, timeout=PAGE_S) as response:
        return response.read()
