"""Settings of buckets that survive the emulator: the requests that made them, sent again to moto.

moto holds buckets in memory. Of the requests that change a bucket, the last one for each setting is
stored; a new emulator sends them to moto again. So nothing depends on how moto stores a setting.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import logging
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

import msgspec

from emrctl.emulator.moto.patches import replaced
from emrctl.emulator.s3.index import Index
from emrctl.emulator.s3.request import S3Request
from emrctl.emulator.server.sigv4 import Application, Environ, read_body

_log = logging.getLogger(__name__)

_TAGGING = "tagging="


class _BucketRequest(msgspec.Struct):
    """A request that changed a bucket."""

    method: str
    query: str
    region: str
    headers: dict[str, str]
    body: bytes
    time: float


class BucketSettings:
    """The stored requests of all buckets."""

    def __init__(self, index: Index, buckets: Mapping[str, Any]) -> None:
        """Use the table `settings` of the index; `buckets` are moto's, by name."""
        self._index = index
        self._buckets = buckets
        self._replaying = False

    def forward(
        self, request: S3Request, moto: Application
    ) -> tuple[str, list[tuple[str, str]], list[bytes]]:
        """Send a request to moto; store it if it has changed a bucket. Return the response."""
        body = read_body(request.environ) if request.method != "GET" else b""
        response = call(moto, request.environ)
        if request.method in ("PUT", "DELETE") and response[0].startswith("2"):
            headers = {k: v for k, v in request.headers.items() if k.startswith("x-amz-")}
            query = urllib.parse.urlencode(sorted(request.parameters.items()))
            stored = _BucketRequest(
                method=request.method,
                query=query,
                region=request.region,
                headers=headers,
                body=body,
                time=time.time(),
            )
            self._store(request.bucket, query, stored)
            if not query:
                self._set_creation_times()
        return response

    def _store(self, bucket: str, name: str, stored: _BucketRequest) -> None:
        """Store the last request of a setting; of the bucket's creation, the first one."""
        if name == _TAGGING and stored.body == b"":
            stored.method = "DELETE"
        conflict = "REPLACE" if name else "IGNORE"
        with self._index.writing() as connection:
            connection.execute(
                f"INSERT OR {conflict} INTO settings(bucket, name, request) VALUES (?, ?, ?)",  # noqa: S608
                (bucket, name, msgspec.json.encode(stored)),
            )

    @contextlib.contextmanager
    def recording_tags(self) -> Iterator[None]:
        """Store tags of buckets that other services change, such as S3 Control."""
        from moto.s3.models import S3Backend

        def change(original: Any, backend: Any, bucket: str, *arguments: Any) -> Any:
            result = original(backend, bucket, *arguments)
            self._store_tags(backend, bucket.rpartition(":")[2])
            return result

        with contextlib.ExitStack() as stack:
            for name in ("put_bucket_tagging", "delete_bucket_tagging", "untag_resource"):
                stack.enter_context(replaced(S3Backend, name, change))
            yield

    def _store_tags(self, backend: Any, bucket: str) -> None:
        if self._replaying:
            return
        tags = backend.get_bucket_tagging(bucket)["Tags"]
        elements = "".join(
            f"<Tag><Key>{escape(tag['Key'])}</Key><Value>{escape(tag['Value'])}</Value></Tag>"
            for tag in tags
        )
        text = f"<Tagging><TagSet>{elements}</TagSet></Tagging>" if tags else ""
        region = backend.buckets[bucket].region_name
        stored = _BucketRequest("PUT", _TAGGING, region, {}, text.encode(), time.time())
        self._store(bucket, _TAGGING, stored)

    def replay(self, moto: Application, port: int) -> None:
        """Create the stored buckets in moto with their settings."""
        rows = self._index.rows("SELECT bucket, name, request FROM settings ORDER BY position")
        requests = [
            (bucket, name, msgspec.json.decode(text, type=_BucketRequest))
            for bucket, name, text in rows
        ]
        self._replaying = True
        # A setting may need another one that was changed later, as replication needs versioning.
        for _ in range(2):
            requests = [one for one in requests if not _replay(moto, port, one)]
        self._replaying = False
        for bucket, name, _ in requests:
            _log.warning("could not restore '%s' of bucket %s", name or "creation", bucket)
        self._set_creation_times()

    def _set_creation_times(self) -> None:
        for bucket, text in self._index.rows(
            "SELECT bucket, request FROM settings WHERE name = ''"
        ):
            if bucket in self._buckets:
                created = msgspec.json.decode(text, type=_BucketRequest).time
                self._buckets[bucket].creation_date = dt.datetime.fromtimestamp(created, dt.UTC)


def _replay(moto: Application, port: int, stored: tuple[str, str, _BucketRequest]) -> bool:
    """Send a stored request; return whether it succeeded."""
    bucket, _, request = stored
    scope = f"local/20260101/{request.region}/s3/aws4_request"
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/{bucket}",
        "RAW_URI": f"/{bucket}?{request.query}",
        "REQUEST_URI": f"/{bucket}?{request.query}",
        "QUERY_STRING": request.query,
        "CONTENT_LENGTH": str(len(request.body)),
        "HTTP_HOST": f"127.0.0.1:{port}",
        "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.version": (1, 0),
    }
    for name, value in request.headers.items():
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    status, _, body = call(moto, environ)
    if not status.startswith("2"):
        _log.info("restoring %s?%s: %s %s", bucket, request.query, status, b"".join(body)[:500])
    return status.startswith("2")


def call(
    application: Application, environ: Environ
) -> tuple[str, list[tuple[str, str]], list[bytes]]:
    """Return status, headers and body of a WSGI application's response."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: Iterable[tuple[str, str]], *_: Any) -> None:
        started.append((status, list(headers)))

    body = application(environ, start_response)
    try:
        content = list(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return *started[-1], content
