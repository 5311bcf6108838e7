"""Patches of moto where it differs from AWS in what emrctl uses."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from emrctl.aws import listing, rules
from emrctl.emulator.moto import bucket_policy


@contextlib.contextmanager
def patched() -> Iterator[None]:
    """Apply all patches; remove them at the end."""
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    patches = (
        _fast_dispatch,
        _policies,
        _new_buckets,
        _bucket_tags,
        _valid_bucket_tags,
        _valid_ec2_tags,
        one_at_a_time,
    )
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch())
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Replace a function or property; restore it at the end.

    `replacement` is called with the original and then with the arguments.
    """
    original = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        return replacement(original, *arguments, **options)

    getter = property(lambda self: replacement(original.fget, self))
    setattr(owner, name, getter if isinstance(original, property) else call)
    try:
        yield
    finally:
        setattr(owner, name, original)


def one_at_a_time() -> contextlib.AbstractContextManager[None]:
    """Serialize requests to moto's services, about a millisecond each.

    moto's models are not thread-safe: EC2 fails to list tags while others are written.
    """
    from moto.core.responses import BaseResponse

    lock = threading.RLock()  # reentrant: EMR calls EC2 for its nodes

    def call_action(original: Any, self: Any) -> Any:
        with lock:
            return original(self)

    return replaced(BaseResponse, "call_action", call_action)


def _fast_dispatch() -> contextlib.AbstractContextManager[None]:
    """Cache moto's list of its modules, which it reads from disk for every request."""
    import moto.backends

    cached = functools.cache(lambda original: frozenset(original()))
    return replaced(moto.backends, "list_of_moto_modules", cached)


def _policies() -> contextlib.AbstractContextManager[None]:
    """Evaluate bucket policies with their conditions."""
    import flask
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    # moto derives the action from the HTTP method.
    actions = {"s3:HeadObject": "s3:GetObject", "s3:PostObject": "s3:PutObject"}

    def get_permission(_: Any, self: Any, action: str, resource: str) -> Any:
        if self.policy is None:
            return PermissionResult.NEUTRAL
        headers = dict(flask.request.headers) if flask.has_request_context() else {}
        request = bucket_policy.PolicyRequest(
            action=actions.get(action, action),
            resource=resource,
            account=self.account_id,
            context=bucket_policy.context(headers, self.account_id),
        )
        return PermissionResult[bucket_policy.evaluate(self.policy, request).upper()]

    return replaced(FakeBucket, "get_permission", get_permission)


def _new_buckets() -> contextlib.AbstractContextManager[None]:
    """Create buckets with valid names, SSE-S3, public access blocked and ACLs disabled."""
    from moto.s3.exceptions import InvalidBucketName
    from moto.s3.models import PublicAccessBlock, S3Backend

    def create_bucket(original: Any, self: Any, bucket_name: str, *rest: Any, **more: Any) -> Any:
        if rules.bucket_fault(bucket_name):
            raise InvalidBucketName
        bucket = original(self, bucket_name, *rest, **more)
        rule = {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
            "BucketKeyEnabled": "false",
        }
        bucket.encryption = {"Rule": rule}
        bucket.public_access_block = PublicAccessBlock(True, True, True, True)
        bucket.ownership_rule = "BucketOwnerEnforced"
        return bucket

    return replaced(S3Backend, "create_bucket", create_bucket)


def _bucket_tags() -> contextlib.AbstractContextManager[None]:
    """Store the tags of CreateBucket."""
    from moto.s3.responses import S3Response

    def put(original: Any, self: Any, request: Any, bucket_name: str, querystring: Any) -> Any:
        answer = original(self, request, bucket_name, querystring)
        tags = {} if querystring else _tags(self.body)
        if tags:
            self.backend.put_bucket_tagging(bucket_name, tags)
        return answer

    return replaced(S3Response, "_bucket_response_put", put)


def _valid_bucket_tags() -> contextlib.AbstractContextManager[None]:
    """Reject tags of buckets that AWS rejects."""
    from moto.s3.exceptions import InvalidTagError
    from moto.s3.models import S3Backend

    def put(original: Any, self: Any, bucket_name: str, tags: dict[str, str]) -> Any:
        if fault := _find_fault(tags):
            raise InvalidTagError(fault)
        return original(self, bucket_name, tags)

    return replaced(S3Backend, "put_bucket_tagging", put)


def _valid_ec2_tags() -> contextlib.AbstractContextManager[None]:
    """Reject tags of EC2 resources that AWS rejects."""
    from moto.ec2.exceptions import InvalidParameterValueError
    from moto.ec2.models.tags import TagBackend

    def create(original: Any, self: Any, resource_ids: list[str], tags: dict[str, str]) -> Any:
        # The tags that EMR itself sets on instances.
        users = {k: v for k, v in tags.items() if not k.startswith("aws:elasticmapreduce:")}
        if fault := _find_fault(users):
            raise InvalidParameterValueError(f"( {fault} )")
        return original(self, resource_ids, tags)

    return replaced(TagBackend, "create_tags", create)


def _find_fault(tags: dict[str, str]) -> str:
    """Return which of the tags AWS rejects and why, or an empty text."""
    for key, value in tags.items():
        if fault := rules.tag_key_fault(key) or rules.tag_value_fault(value or ""):
            return f"the tag '{key}' is not valid: {fault}"
    return ""


def _tags(body: bytes | str) -> dict[str, str]:
    import xmltodict

    text = body.encode() if isinstance(body, str) else body
    if b"<Tag" not in text:
        return {}
    configuration = (
        xmltodict.parse(text, force_list=("Tag",)).get("CreateBucketConfiguration") or {}
    )
    return listing.tags(configuration.get("Tags") or {}, "Tag")
