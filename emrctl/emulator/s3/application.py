"""The WSGI application of S3: objects from the store, everything else from moto."""

from __future__ import annotations

import http
import logging
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from emrctl.emulator.moto import bucket_policy
from emrctl.emulator.s3 import listing, multipart, objects, subresources
from emrctl.emulator.s3.bucket_settings import BucketSettings
from emrctl.emulator.s3.errors import (
    S3Error,
    access_denied,
    no_such_bucket,
    not_implemented,
    storage_error,
)
from emrctl.emulator.s3.request import S3Request, S3Response, parse_request
from emrctl.emulator.s3.store import ObjectStore
from emrctl.emulator.s3.uploads import Uploads
from emrctl.emulator.s3.xml_text import error_document
from emrctl.emulator.server.sigv4 import (
    SERVICE_KEY,
    Application,
    Environ,
    HttpError,
    StartResponse,
)

_log = logging.getLogger(__name__)

# An operation: how it is answered, and its action in bucket policies.
Handler = Callable[["S3Application", Any, S3Request], S3Response]
# Parameters that select another operation on an object, or one that is not supported.
_UNSUPPORTED = ("legal-hold", "retention", "torrent", "restore", "select", "renameObject")
# Parameters of lists; a request with others is about a setting of the bucket.
_LIST_PARAMETERS = frozenset(
    {
        *("prefix", "delimiter", "marker", "max-keys", "encoding-type", "list-type", "versions"),
        *("continuation-token", "start-after", "fetch-owner", "key-marker", "version-id-marker"),
        *("uploads", "upload-id-marker", "max-uploads", "allow-unordered", "metadata"),
    }
)


class S3Application:
    """Serves objects; `moto` answers other services and operations on buckets."""

    def __init__(self, moto: Application, store: ObjectStore, buckets: Mapping[str, Any]) -> None:
        """`buckets` are moto's, by name."""
        self._moto = moto
        self.store = store
        self.buckets = buckets
        self.uploads = Uploads(store)
        self.settings = BucketSettings(store.index, buckets)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Return the response."""
        host = environ.get("HTTP_HOST", "")
        if environ.get(SERVICE_KEY) != "s3" or (host[:1].isdigit() and host[3:4].isdigit()):
            return self._moto(environ, start_response)
        request_id = secrets.token_hex(8).upper()
        try:
            response = self._respond(environ)
        except S3Error as error:
            response = _error_response(error, environ, request_id)
        except Exception as error:  # noqa: BLE001
            _log.exception("%s %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
            # Status 400, since SDKs retry 500 for minutes.
            internal = S3Error("InternalError", f"The local S3 failed: {error!r}", 400)
            response = _error_response(internal, environ, request_id)
        headers = [*response.headers.items(), ("x-amz-request-id", request_id)]
        phrase = http.HTTPStatus(response.status).phrase
        start_response(f"{response.status} {phrase}", headers)
        return [response.body] if isinstance(response.body, bytes) else response.body

    def _respond(self, environ: Environ) -> S3Response:
        try:
            return self._answer(parse_request(environ))
        except (OSError, sqlite3.Error) as error:
            expected = storage_error(error)
            if expected is None:
                raise
            raise expected from error

    def _answer(self, request: S3Request) -> S3Response:
        if not request.bucket:
            return self._forward(request)
        operation = _key_operation(request) if request.key else _bucket_operation(request)
        if operation is None:
            return self._forward(request)
        handler, action = operation
        bucket = self.buckets.get(request.bucket)
        if bucket is None:
            raise no_such_bucket(request.bucket)
        self.authorize(bucket, request, action, request.key)
        return handler(self, bucket, request)

    def _forward(self, request: S3Request) -> S3Response:
        """Return moto's response for a setting of a bucket, or its deletion if it is empty."""
        deletes = request.method == "DELETE" and not request.parameters
        if deletes and self.store.has_objects(request.bucket):
            message = "The bucket you tried to delete is not empty"
            raise S3Error("BucketNotEmpty", message, 409, BucketName=request.bucket)
        try:
            status, headers, body = self.settings.forward(request, self._moto)
        except HttpError as error:
            raise S3Error(error.code, error.message, error.status) from error
        if deletes and status.startswith("2"):
            self.store.delete_bucket(request.bucket)
        return S3Response(status=int(status[:3]), headers=dict(headers), body=b"".join(body))

    def authorize(self, bucket: Any, request: S3Request, action: str, key: str) -> None:
        """Raise S3's error if the bucket's policy denies the action."""
        if bucket.policy is not None and self._denied(bucket, request, action, key):
            raise access_denied()

    def _denied(self, bucket: Any, request: S3Request, action: str, key: str) -> bool:
        headers = {"User-Agent": request.headers.get("user-agent", ""), **request.headers}
        context = bucket_policy.context(headers, bucket.account_id)
        for name in ("prefix", "delimiter", "max-keys"):
            if name in request.query:
                context[f"s3:{name}"] = request.query[name]
        resource = f"arn:aws:s3:::{bucket.name}" + (f"/{key}" if key else "")
        policy_request = bucket_policy.PolicyRequest(
            action=action, resource=resource, account=bucket.account_id, context=context
        )
        return bucket_policy.evaluate(bucket.policy, policy_request) == "denied"

    # -- operations that need more than the store

    def copy_object(self, bucket: Any, request: S3Request) -> S3Response:
        """Answer CopyObject."""
        self._authorize_source(request)
        return objects.copy_object(self.store, bucket, request, self.buckets)

    def upload_part_copy(self, _bucket: Any, request: S3Request) -> S3Response:
        """Answer UploadPartCopy."""
        self._authorize_source(request)
        return multipart.upload_part_copy(self.uploads, self.store, request, self.buckets)

    def _authorize_source(self, request: S3Request) -> None:
        name, key, version = objects.source_name(request)
        if (source := self.buckets.get(name)) is not None:
            action = "s3:GetObject" if version is None else "s3:GetObjectVersion"
            self.authorize(source, request, action, key)

    def delete_objects(self, bucket: Any, request: S3Request) -> S3Response:
        """Answer DeleteObjects."""

        def denied(key: str, version: str | None) -> bool:
            action = "s3:DeleteObject" if version is None else "s3:DeleteObjectVersion"
            return bucket.policy is not None and self._denied(bucket, request, action, key)

        return objects.delete_objects(self.store, bucket, request, denied)


def _of_store(function: Callable[[ObjectStore, Any, S3Request], S3Response]) -> Handler:
    return lambda app, bucket, request: function(app.store, bucket, request)


def _of_uploads(function: Callable[[Uploads, S3Request], S3Response]) -> Handler:
    return lambda app, _bucket, request: function(app.uploads, request)


_KEY_OPERATIONS: Mapping[tuple[str, str], tuple[Handler, str]] = {
    ("GET", ""): (_of_store(objects.get_object), "s3:GetObject"),
    ("HEAD", ""): (_of_store(objects.get_object), "s3:GetObject"),
    ("PUT", ""): (_of_store(objects.put_object), "s3:PutObject"),
    ("DELETE", ""): (_of_store(objects.delete_object), "s3:DeleteObject"),
    ("PUT", "copy"): (S3Application.copy_object, "s3:PutObject"),
    ("GET", "tagging"): (_of_store(subresources.get_tagging), "s3:GetObjectTagging"),
    ("PUT", "tagging"): (_of_store(subresources.put_tagging), "s3:PutObjectTagging"),
    ("DELETE", "tagging"): (_of_store(subresources.delete_tagging), "s3:DeleteObjectTagging"),
    ("GET", "acl"): (_of_store(subresources.get_acl), "s3:GetObjectAcl"),
    ("PUT", "acl"): (_of_store(subresources.put_acl), "s3:PutObjectAcl"),
    ("GET", "attributes"): (_of_store(subresources.get_attributes), "s3:GetObjectAttributes"),
    ("POST", "uploads"): (
        lambda app, bucket, request: multipart.create(app.uploads, bucket, request),
        "s3:PutObject",
    ),
    ("PUT", "uploadId"): (
        lambda app, _bucket, request: multipart.upload_part(app.uploads, app.store, request),
        "s3:PutObject",
    ),
    ("PUT", "uploadId copy"): (S3Application.upload_part_copy, "s3:PutObject"),
    ("POST", "uploadId"): (
        lambda app, bucket, request: multipart.complete(app.uploads, app.store, bucket, request),
        "s3:PutObject",
    ),
    ("DELETE", "uploadId"): (_of_uploads(multipart.abort), "s3:AbortMultipartUpload"),
    ("GET", "uploadId"): (_of_uploads(multipart.list_parts), "s3:ListMultipartUploadParts"),
}
_VERSIONED = ("s3:GetObject", "s3:DeleteObject")


def _key_operation(request: S3Request) -> tuple[Handler, str]:
    """Return the operation on an object; raises S3's error for one that is not supported."""
    query, name = request.query, ""
    if query:
        for parameter in _UNSUPPORTED:
            if parameter in query:
                raise not_implemented(parameter)
        names = ("uploadId", "uploads", "tagging", "acl", "attributes")
        name = next((one for one in names if one in query), "")
    copies = request.method == "PUT" and "x-amz-copy-source" in request.headers
    if copies and name in ("", "uploadId"):
        name = f"{name} copy".strip()
    if request.method == "PUT" and "x-amz-object-lock-mode" in request.headers:
        raise not_implemented("x-amz-object-lock-mode")
    operation = _KEY_OPERATIONS.get((request.method, name))
    if operation is None:
        message = "The specified method is not allowed against this resource."
        raise S3Error("MethodNotAllowed", message, 405, Method=request.method)
    handler, action = operation
    if "versionId" in query and action.startswith(_VERSIONED) and name in ("", "tagging"):
        action = action.replace("Object", "ObjectVersion", 1)
    return handler, action


def _bucket_operation(request: S3Request) -> tuple[Handler, str] | None:
    """Return the operation on a bucket's objects; None for one that is moto's."""
    query = request.query
    if request.method == "POST" and "delete" in query:
        return S3Application.delete_objects, ""
    if request.method != "GET" or request.parameters.keys() - _LIST_PARAMETERS:
        return None
    if "uploads" in query:
        return _of_uploads(multipart.list_uploads), "s3:ListBucketMultipartUploads"
    if "versions" in query:
        return _of_store(listing.list_versions), "s3:ListBucketVersions"
    if query.get("list-type") == "2":
        return _of_store(listing.list_objects_v2), "s3:ListBucket"
    return _of_store(listing.list_objects), "s3:ListBucket"


def _error_response(error: S3Error, environ: Environ, request_id: str) -> S3Response:
    """Return the response of an error; HEAD has no body."""
    if environ["REQUEST_METHOD"] == "HEAD":
        return S3Response(status=error.status, headers=dict(error.headers))
    path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")
    headers = {"Content-Type": "application/xml", **error.headers}
    return S3Response(
        status=error.status, headers=headers, body=error_document(error, path, request_id)
    )
