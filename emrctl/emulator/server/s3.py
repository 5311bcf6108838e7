"""Read and write objects of the emulated S3 without HTTP."""

from __future__ import annotations

import gzip
from typing import Any


class NoSuchObjectError(Exception):
    """The bucket or object does not exist."""


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of an `s3://`, `s3a://` or `s3n://` URI."""
    bucket, _, key = uri.split("://", 1)[1].partition("/")
    return bucket, key


def get(uri: str) -> bytes:
    """Return the object's content; raises `NoSuchObjectError`."""
    bucket, key = split(uri)
    store = _backend()
    key_object = store.get_object(bucket, key) if bucket in store.buckets else None
    if key_object is None:
        raise NoSuchObjectError(uri)
    content: bytes = key_object.value
    return content


def put(uri: str, content: bytes) -> bool:
    """Write the object; return False if the bucket does not exist."""
    bucket, key = split(uri)
    store = _backend()
    if bucket not in store.buckets:
        return False
    store.put_object(bucket, key, content)
    return True


def put_log(uri: str, content: bytes) -> bool:
    """Write the log with gzip, like EMR; return False if the bucket does not exist."""
    return put(f"{uri}.gz", gzip.compress(content, compresslevel=6, mtime=0))


def _backend() -> Any:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
