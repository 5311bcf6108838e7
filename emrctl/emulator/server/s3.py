"""Objects on the emulated S3, without the way round over HTTP."""

from __future__ import annotations

import gzip
from typing import Any


class NoSuchObjectError(Exception):
    """There is no such bucket or object."""


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` address (`s3a` and `s3n` are the same)."""
    bucket, _, key = uri.split("://", 1)[1].partition("/")
    return bucket, key


def get(uri: str) -> bytes:
    """The object's content; `NoSuchObjectError` where there is none."""
    bucket, key = split(uri)
    store = _backend()
    found = store.get_object(bucket, key) if bucket in store.buckets else None
    if found is None:
        raise NoSuchObjectError(uri)
    content: bytes = found.value
    return content


def put(uri: str, content: bytes) -> bool:
    """The object has that content; False where there is no such bucket."""
    bucket, key = split(uri)
    store = _backend()
    if bucket not in store.buckets:
        return False
    store.put_object(bucket, key, content)
    return True


def put_log(uri: str, content: bytes) -> bool:
    """The log lies there, packed as EMR packs them; False where there is no such bucket."""
    return put(f"{uri}.gz", gzip.compress(content, compresslevel=6, mtime=0))


def _backend() -> Any:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
