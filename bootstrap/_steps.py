"""Step records on the primary of a standalone cluster, and their upload to S3.

A step is a folder `steps/<id>` below EMRCTL_NODE (default ~/emrctl) with state.json, stdout, stderr
and controller. The process that runs a step holds a lock on its folder until it exits. State and
logs are uploaded, so that they outlive the primary.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

NODE = Path(os.environ.get("EMRCTL_NODE") or Path.home() / "emrctl")
STEPS, QUEUE = NODE / "steps", NODE / "queue"
LOGS = ("controller", "stdout", "stderr")
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"}
UPLOAD_S, PAGE_S = 60.0, 5.0
# Upload only the end of longer executor logs.
MAX_LOG_BYTES = 20_000_000
APPLICATION = re.compile(rb"Connected to Spark cluster with app ID (app-\d{14}-\d{4,})")

Document = dict[str, Any]


def read_cluster() -> Document:
    """Return cluster.json, which describes the cluster; empty if the file does not exist."""
    with contextlib.suppress(FileNotFoundError):
        cluster: Document = json.loads((NODE / "cluster.json").read_text(encoding="utf-8"))
        return cluster
    return {}


def read_state(step_id: str) -> Document | None:
    """Return the step's state as last written; None if there is no such step."""
    try:
        text = (STEPS / step_id / "state.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    state: Document = json.loads(text)
    return state


def write_state(state: Document) -> Document:
    """Write the step's state atomically and return it."""
    temporary = STEPS / state["id"] / f"state.{os.getpid()}"
    temporary.write_text(json.dumps(state), encoding="utf-8")
    temporary.replace(STEPS / state["id"] / "state.json")
    return state


def now() -> str:
    """Return the time in the format of state.json: ISO 8601, UTC, milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def seconds_since(moment: str) -> float:
    """Return the seconds since a time in the format of `now`."""
    return time.time() - datetime.fromisoformat(moment).timestamp()


def has_runner(step_id: str) -> bool:
    """Return whether a process runs the step: it holds the step's lock."""
    with (STEPS / step_id / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def leave_queue(step_id: str) -> None:
    """Remove the step from the queue."""
    for entry in QUEUE.glob(f"*-{step_id}"):
        with contextlib.suppress(FileNotFoundError):
            entry.unlink()


# Uploads


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
        self._s3.put_object(Bucket=bucket, Key=key, Body=body)
        self.digests[name] = digest

    @cached_property
    def _s3(self) -> Any:
        """The S3 client; its short timeouts keep uploads from delaying the step."""
        import boto3
        from botocore.config import Config

        config = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2})
        region = self.cluster.get("region") or os.environ.get("AWS_REGION")
        return boto3.client("s3", region_name=region, config=config)


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
