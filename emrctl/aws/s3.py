"""S3 URIs, buckets and objects, and upload of files under the hash of their content.

So a run's record identifies its code, and an unchanged file is not uploaded again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from emrctl.aws.errors import get_or_none
from emrctl.aws.target import Target
from emrctl.errors import UsageError

CODE_PREFIX = "code/"
EVENT_LOG_PREFIX = "eventlogs/"
LOG_PREFIX = "logs/"
# Objects with the secrets of runs that have not finished.
PRIVATE_PREFIX = "private/"
REDACTED_NAMES = "spark.redaction.regex"
_HADOOP = "spark.hadoop."
_SPARK_REDACTED = "(?i)secret|password|token|access[.]?key"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_GZIP_MAGIC = b"\x1f\x8b"


def bucket_exists(s3: Any, bucket: str) -> bool:
    """Return whether the bucket exists; boto's error if it belongs to another account."""
    return get_or_none(lambda: s3.head_bucket(Bucket=bucket), "404", "NoSuchBucket") is not None


def open_object(s3: Any, bucket: str, key: str) -> BinaryIO:
    """Open an object, decompressed; the suffix .gz can be missing or wrong."""
    body = io.BufferedReader(s3.get_object(Bucket=bucket, Key=key)["Body"])
    compressed = body.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
    return cast("BinaryIO", _GzipStream(fileobj=body) if compressed else body)


class _GzipStream(gzip.GzipFile):
    """A compressed object of S3, which can only be read once."""

    def seekable(self) -> bool:
        """Return False, which boto3 respects when it uploads the stream again."""
        return False


def put_file(target: Target, bucket: str, path: str | Path) -> str:
    """Upload a file, or a folder as a zip file, under the hash of its content; return its URI.

    `s3://` URIs are returned unchanged.
    """
    if str(path).startswith("s3://"):
        return str(path)
    name, body = _content(Path(path).expanduser())
    return _put_once(target, bucket, _key(name, body), body)


def put_zip(target: Target, bucket: str, name: str, paths: Sequence[Path], folder: str = "") -> str:
    """Upload files and folders as one zip file under its content's hash; return its `s3://` URI.

    In the zip file they are in `folder`, which ends with a slash.
    """
    body = _zip(paths, folder)
    return _put_once(target, bucket, _key(name, body), body)


def event_log_conf(bucket: str) -> dict[str, str]:
    """Return the Spark properties that write compressed, rolling event logs to the bucket."""
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": f"s3://{bucket}/{EVENT_LOG_PREFIX}",
        "spark.eventLog.rolling.enabled": "true",
        "spark.eventLog.compress": "true",
        "spark.eventLog.compression.codec": "zstd",
    }


def code_key(path: Path) -> str:
    """Return the key under which `put_file` uploads the file."""
    return _key(*_content(path))


def code_uri(bucket: str, path: str) -> str:
    """Return the URI that `put_file` returns, without uploading."""
    return path if path.startswith("s3://") else f"s3://{bucket}/{code_key(Path(path))}"


def redaction_conf(names: Iterable[str], own: str | None) -> dict[str, str]:
    """Return the property by which Spark's UI and event logs hide these properties, too.

    `own` is the user's pattern, by default Spark's.
    """
    # Spark also lists `spark.hadoop.x` as the property x of Hadoop.
    exact = (re.escape(name.removeprefix(_HADOOP)) for name in names)
    hidden = (f"^(?:{re.escape(_HADOOP)})?{name}$" for name in exact)
    pattern = "|".join([own or _SPARK_REDACTED, *hidden])
    return {REDACTED_NAMES: pattern}


def prepare_event_logs(target: Target, bucket: str) -> str:
    """Create an object below the prefix of event logs; return the prefix's URI.

    Without one Spark's driver fails with FileNotFoundException: there are no folders on S3.
    """
    _put_once(target, bucket, f"{EVENT_LOG_PREFIX}.keep", b"")
    return f"s3://{bucket}/{EVENT_LOG_PREFIX}"


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of an `s3://`, `s3a://` or `s3n://` URI; the key may be empty."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme not in {"s3", "s3a", "s3n"} or not bucket:
        raise UsageError(f"'{uri}' is not an S3 URI", hint="Write it as s3://bucket/key.")
    return bucket, key


def _put_once(target: Target, bucket: str, key: str, body: bytes) -> str:
    """Upload an object unless there is one with the key; return its URI."""
    s3 = target.client("s3")
    if get_or_none(s3.head_object, "404", Bucket=bucket, Key=key) is None:
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    return f"s3://{bucket}/{key}"


def _key(name: str, body: bytes) -> str:
    """Return the key; URIs, Spark's lists and Hadoop's paths keep every character of its name."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return f"{CODE_PREFIX}{hashlib.sha256(body).hexdigest()[:16]}/{safe}"


def _content(path: Path) -> tuple[str, bytes]:
    if path.is_dir():
        return f"{path.name}.zip", _zip([path])
    try:
        return path.name, path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", hint="Give a file that can be read."
        ) from error


def _zip(paths: Sequence[Path], folder: str = "") -> bytes:
    """Return a zip file with the files and the folders, each under its own name in `folder`."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for top in paths:
            for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
                if path.is_file() and "__pycache__" not in path.parts:
                    name = path.relative_to(top.parent).as_posix()
                    archive.writestr(zipfile.ZipInfo(folder + name, _EPOCH), path.read_bytes())
    return packed.getvalue()
