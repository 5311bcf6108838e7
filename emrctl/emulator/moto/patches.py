"""Patches of moto where it differs from AWS in what emrctl uses."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from emrctl.aws import listing
from emrctl.emulator.moto import bucket_policy


@contextlib.contextmanager
def patched() -> Iterator[None]:
    """Apply all patches; remove them at the end."""
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    patches = (_fast_dispatch, _fast_lists, _policies, _new_buckets, _bucket_tags, one_at_a_time)
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch())
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Replace the attribute by `wrap` of it; restore it at the end."""
    original = getattr(owner, name)
    setattr(owner, name, wrap(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def one_at_a_time() -> contextlib.AbstractContextManager[None]:
    """Serialize requests to all services except S3, about a millisecond each.

    moto's models are not thread-safe: EC2 fails to list tags while others are written. S3 lists
    copies (`_fast_lists`), and its objects are too large to wait for.
    """
    from moto.core.responses import BaseResponse

    lock = threading.RLock()  # reentrant: EMR calls EC2 for its nodes

    def wrap(original: Any) -> Any:
        def call_action(self: Any) -> Any:
            with lock:
                return original(self)

        return call_action

    return replaced(BaseResponse, "call_action", wrap)


def _fast_dispatch() -> contextlib.AbstractContextManager[None]:
    """Cache moto's list of its modules, which it reads from disk for every request."""
    import moto.backends

    def wrap(original: Callable[[], Any]) -> Callable[[], Any]:
        modules = frozenset(original())
        return lambda: modules

    return replaced(moto.backends, "list_of_moto_modules", wrap)


def _fast_lists() -> contextlib.AbstractContextManager[None]:
    """List only keys with the prefix: moto scans the bucket, and S3A lists before every write."""
    from moto.s3.models import FakeBucket, S3Backend

    def wrap(original: Any) -> Any:
        def listed(self: Any, bucket: Any, prefix: str | None, *rest: Any, **more: Any) -> Any:
            if type(bucket) is FakeBucket:
                bucket = _PrefixView(bucket.keys, prefix or "")
            return original(self, bucket, prefix, *rest, **more)

        return listed

    return replaced(S3Backend, "list_objects", wrap)


class _PrefixView:
    """The part of a bucket whose keys begin with `prefix`."""

    def __init__(self, stored: Any, prefix: str) -> None:
        # A copy, since other threads write; `list` makes it without reading any object.
        names = [name for name in list(stored) if name.startswith(prefix)]
        self.keys = {name: key for name in names if (key := stored.get(name)) is not None}


def _policies() -> contextlib.AbstractContextManager[None]:
    """Evaluate bucket policies with their conditions."""
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    results = {
        "denied": PermissionResult.DENIED,
        "permitted": PermissionResult.PERMITTED,
        "neutral": PermissionResult.NEUTRAL,
    }
    # moto derives the action from the HTTP method.
    actions = {"s3:HeadObject": "s3:GetObject", "s3:PostObject": "s3:PutObject"}

    def wrap(original: Any) -> Any:
        del original

        def get_permission(self: Any, action: str, resource: str) -> Any:
            if self.policy is None:
                return PermissionResult.NEUTRAL
            request = bucket_policy.PolicyRequest(
                action=actions.get(action, action),
                resource=resource,
                account=self.account_id,
                context=bucket_policy.context(_headers(), self.account_id),
            )
            return results[bucket_policy.evaluate(self.policy, request)]

        return get_permission

    return replaced(FakeBucket, "get_permission", wrap)


def _headers() -> dict[str, str]:
    import flask

    return dict(flask.request.headers) if flask.has_request_context() else {}


def _new_buckets() -> contextlib.AbstractContextManager[None]:
    """Create buckets with SSE-S3, public access blocked and ACLs disabled."""
    from moto.s3.models import PublicAccessBlock, S3Backend

    def wrap(original: Any) -> Any:
        def create_bucket(self: Any, *arguments: Any, **options: Any) -> Any:
            bucket = original(self, *arguments, **options)
            rule = {
                "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
                "BucketKeyEnabled": "false",
            }
            bucket.encryption = {"Rule": rule}
            bucket.public_access_block = PublicAccessBlock(True, True, True, True)
            bucket.ownership_rule = "BucketOwnerEnforced"
            return bucket

        return create_bucket

    return replaced(S3Backend, "create_bucket", wrap)


def _bucket_tags() -> contextlib.AbstractContextManager[None]:
    """Store the tags of CreateBucket."""
    from moto.s3.responses import S3Response

    def wrap(original: Any) -> Any:
        def put(self: Any, request: Any, bucket_name: str, querystring: Any) -> Any:
            answer = original(self, request, bucket_name, querystring)
            tags = {} if querystring else _tags(self.body)
            if tags:
                self.backend.put_bucket_tagging(bucket_name, tags)
            return answer

        return put

    return replaced(S3Response, "_bucket_response_put", wrap)


def _tags(body: bytes | str) -> dict[str, str]:
    import xmltodict

    text = body.encode() if isinstance(body, str) else body
    if b"<Tag" not in text:
        return {}
    configuration = (
        xmltodict.parse(text, force_list=("Tag",)).get("CreateBucketConfiguration") or {}
    )
    return listing.tags(configuration.get("Tags") or {}, "Tag")
