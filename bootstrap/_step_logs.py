"""A step's files on S3, its executors' logs among them: what is left once the primary is gone."""

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

from _steps import LOGS, STEPS, Doc, cluster, now

UPLOAD_S, PAGE_S = 60.0, 5.0
# Of one executor's log: its end says more than its beginning.
MOST_BYTES = 20_000_000
APPLICATION = re.compile(rb"Connected to Spark cluster with app ID (app-\d{14}-\d{4,})")


class Uploads:
    """A step's files on S3; what has not changed since is not sent again."""

    def __init__(self, id_: str) -> None:
        self.id, self.folder = id_, STEPS / id_
        self.cluster = cluster()
        self.sent: dict[str, str] = {}
        self.over = threading.Event()
        self.thread: threading.Thread | None = None

    def begin(self, state: Any) -> None:
        """They follow every so many seconds."""
        self.thread = threading.Thread(target=self.keep, args=(state,), daemon=True)
        self.thread.start()

    def keep(self, state: Any) -> None:
        """All is sent, again and again until it is over."""
        self.all(state())
        while not self.over.wait(float(self.cluster.get("upload_s", UPLOAD_S))):
            self.all(state())

    def stop(self) -> None:
        """Nothing is on its way any more."""
        self.over.set()
        if self.thread is not None:
            self.thread.join()

    def all(self, state: Doc) -> None:
        """State, logs and executors' logs are there; a failure is noted and ends nothing."""
        if not self.cluster.get("log_uri"):
            return
        try:
            self.logs(state)
        except Exception as error:  # noqa: BLE001 - a step must not die of its logs
            with (self.folder / "runner.log").open("a", encoding="utf-8") as file:
                file.write(f"{now()} logs did not reach S3: {error}\n")

    def logs(self, state: Doc) -> None:
        """Likewise, with the failure for the caller."""
        text = (self.folder / "stderr").read_bytes() if "started" in state else b""
        for application in sorted({found.decode() for found in APPLICATION.findall(text)}):
            for name, log in executors_logs(application):
                self.put(f"containers/{application}/{name}.gz", gzip.compress(log, mtime=0))
        for name in LOGS:
            path = self.folder / name
            if path.is_file():
                self.put(f"steps/{self.id}/{name}.gz", gzip.compress(path.read_bytes(), mtime=0))
        self.put(f"steps/{self.id}/state.json", json.dumps(state).encode())

    def put(self, name: str, body: bytes) -> None:
        """The object is there as it is now."""
        digest = hashlib.sha256(body).hexdigest()
        if self.sent.get(name) == digest:
            return
        bucket, _, prefix = self.cluster["log_uri"].partition("://")[2].partition("/")
        prefix = prefix and prefix.rstrip("/") + "/"
        key = f"{prefix}{self.cluster['cluster_id']}/{name}"
        self.s3().put_object(Bucket=bucket, Key=key, Body=body)
        self.sent[name] = digest

    def s3(self) -> Any:
        """S3, which does not keep a step waiting for long."""
        if not hasattr(self, "client"):
            import boto3
            from botocore.config import Config

            config = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2})
            region = self.cluster.get("region") or os.environ.get("AWS_REGION")
            self.client = boto3.client("s3", region_name=region, config=config)
        return self.client


def executors_logs(application: str) -> Iterator[tuple[str, bytes]]:
    """`<worker>-<executor>/stderr` and its like, as the workers' pages have them now."""
    address = cluster().get("address")
    if not address:
        return
    for worker in json.loads(page(f"http://{address}:8080/json/"))["workers"]:
        if worker["state"] not in {"ALIVE", "DECOMMISSIONED"}:
            continue
        with contextlib.suppress(OSError, ValueError):
            yield from logs_of_worker(worker, application)


def logs_of_worker(worker: Doc, application: str) -> Iterator[tuple[str, bytes]]:
    """The logs of the application's executors on one worker."""
    base = worker["webuiaddress"]
    document = json.loads(page(f"{base}/json/"))
    for executor in (*document["executors"], *document["finishedexecutors"]):
        if executor["appid"] != application:
            continue
        for kind in ("stderr", "stdout"):
            query = f"appId={application}&executorId={executor['id']}&logType={kind}"
            text = page(f"{base}/log/?{query}&byteLength={MOST_BYTES}")
            yield f"{worker['host']}-{executor['id']}/{kind}", text.partition(b"\n")[2]


def page(url: str) -> bytes:
    """What a page of the cluster says; never asked by way of a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    answer: BinaryIO
    with opener.open(url, timeout=PAGE_S) as answer:
        return answer.read()
