"""S3's error responses."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Mapping


class S3Error(Exception):
    """An error response of S3: code, message, status, and further elements of its XML."""

    def __init__(self, code: str, message: str, status: int, **elements: str) -> None:
        """Store the response's parts."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.elements: Mapping[str, str] = elements
        self.headers: dict[str, str] = {}


def no_such_bucket(bucket: str) -> S3Error:
    """Return S3's error for a bucket that does not exist."""
    message = "The specified bucket does not exist"
    return S3Error("NoSuchBucket", message, 404, BucketName=bucket)


def no_such_key(key: str) -> S3Error:
    """Return S3's error for an object that does not exist."""
    return S3Error("NoSuchKey", "The specified key does not exist.", 404, Key=key)


def no_such_version(key: str, version: str) -> S3Error:
    """Return S3's error for a version that does not exist."""
    message = "The specified version does not exist."
    return S3Error("NoSuchVersion", message, 404, Key=key, VersionId=version)


def no_such_upload(upload: str) -> S3Error:
    """Return S3's error for a multipart upload that does not exist."""
    message = (
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have "
        "been aborted or completed."
    )
    return S3Error("NoSuchUpload", message, 404, UploadId=upload)


def precondition_failed(condition: str) -> S3Error:
    """Return S3's error for a condition that does not hold."""
    message = "At least one of the pre-conditions you specified did not hold"
    return S3Error("PreconditionFailed", message, 412, Condition=condition)


def access_denied() -> S3Error:
    """Return S3's error for a request that a bucket policy denies."""
    return S3Error("AccessDenied", "Access Denied", 403)


def malformed_xml() -> S3Error:
    """Return S3's error for a body that is not the expected XML."""
    message = (
        "The XML you provided was not well-formed or did not validate against our published schema"
    )
    return S3Error("MalformedXML", message, 400)


def invalid_argument(message: str, name: str, value: str) -> S3Error:
    """Return S3's error for an invalid header or parameter."""
    return S3Error("InvalidArgument", message, 400, ArgumentName=name, ArgumentValue=value)


def not_implemented(what: str) -> S3Error:
    """Return S3's error for what this S3 does not have. Status 400: SDKs retry 501."""
    message = f"A header or parameter you provided is not supported on localhost: {what}"
    return S3Error("NotImplemented", message, 400)


def storage_error(error: OSError | sqlite3.Error) -> S3Error | None:
    """Return the response for a full disk; None for other errors.

    Status 507, which SDKs do not retry, unlike S3's 500.
    """
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or getattr(error, "sqlite_errorname", "") in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
        message = f"The disk of the EMR on localhost is full; nothing was stored ({error})."
        return S3Error("InternalError", message, 507)
    return None
