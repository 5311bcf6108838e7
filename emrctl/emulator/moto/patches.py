"""Where moto's AWS differs from Amazon's in what emrctl touches, repaired in this process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from emrctl.aws import listing
from emrctl.emulator.moto import bucket_policy


@contextlib.contextmanager
def repaired() -> Iterator[None]:
    """While inside, moto does as AWS does; afterwards it is as it came."""
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    repairs = (_fast_dispatch, _fast_lists, _policies, _new_buckets, _bucket_tags, one_at_a_time)
    with contextlib.ExitStack() as stack:
        for repair in repairs:
            stack.enter_context(repair())
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """While inside, `owner` has under that name what `wrap` made of what it had."""
    original = getattr(owner, name)
    setattr(owner, name, wrap(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def one_at_a_time() -> contextlib.AbstractContextManager[None]:
    """While inside, requests to all services but S3 wait for each other, a millisecond each.

    moto's models are not made for threads: EC2 fails to list the tags of what is tagged meanwhile.
    S3's lists are made of copies (`_fast_lists`), and its objects are too large to wait for.
    """
    from moto.core.responses import BaseResponse

    lock = threading.RLock()  # again by the same thread: EMR asks EC2 for its nodes

    def wrap(original: Any) -> Any:
        def call_action(self: Any) -> Any:
            with lock:
                return original(self)

        return call_action

    return replaced(BaseResponse, "call_action", wrap)


def _fast_dispatch() -> contextlib.AbstractContextManager[None]:
    """moto lists its own folder for every request; the answer never changes."""
    import moto.backends

    def wrap(original: Callable[[], Any]) -> Callable[[], Any]:
        modules = frozenset(original())
        return lambda: modules

    return replaced(moto.backends, "list_of_moto_modules", wrap)


def _fast_lists() -> contextlib.AbstractContextManager[None]:
    """moto looks at all of a bucket for every list, S3A lists before every file that it writes."""
    from moto.s3.models import FakeBucket, S3Backend

    def wrap(original: Any) -> Any:
        def listed(self: Any, bucket: Any, prefix: str | None, *rest: Any, **more: Any) -> Any:
            if type(bucket) is FakeBucket:
                bucket = _Below(bucket.keys, prefix or "")
            return original(self, bucket, prefix, *rest, **more)

        return listed

    return replaced(S3Backend, "list_objects", wrap)


class _Below:
    """A bucket as far as it is listed: the objects whose keys begin with `prefix`."""

    def __init__(self, stored: Any, prefix: str) -> None:
        # A copy, as others write meanwhile; `list` makes it without looking at a single object.
        names = [name for name in list(stored) if name.startswith(prefix)]
        self.keys = {name: found for name in names if (found := stored.get(name)) is not None}


def _policies() -> contextlib.AbstractContextManager[None]:
    """Bucket policies are evaluated with their conditions."""
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    results = {
        "denied": PermissionResult.DENIED,
        "permitted": PermissionResult.PERMITTED,
        "neutral": PermissionResult.NEUTRAL,
    }
    # moto makes the action's name from HTTP's method.
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
    """A new bucket encrypts with SSE-S3, blocks public access and knows no ACLs."""
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
    """Tags that CreateBucket is given are kept."""
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
    asked = xmltodict.parse(text, force_list=("Tag",)).get("CreateBucketConfiguration") or {}
    return listing.tags(asked.get("Tags") or {}, "Tag")
