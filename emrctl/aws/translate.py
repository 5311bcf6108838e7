"""What AWS answers when it does not, in the words of `emrctl.errors`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from emrctl.aws import errors
from emrctl.errors import CredentialsError, EmrctlError, ProvisioningError

_TAKEN = frozenset(
    {
        "BucketAlreadyOwnedByYou",
        "InvalidGroup.Duplicate",
        "InvalidKeyPair.Duplicate",
        "InvalidPlacementGroup.Duplicate",
    }
)
_AGAIN = "Run the same command again: it goes on where it stopped."


class RefusedError(ProvisioningError):
    """AWS said no: what was asked for was not begun."""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """boto's errors leave as ours, and say what was being done."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        EndpointConnectionError,
    )

    try:
        yield
    except ClientError as error:
        raise _refused(doing, error.response) from error
    except EndpointConnectionError as error:
        hint = "Is the emulator up? `emrctl local status` says; `emrctl local up` starts it."
        raise ProvisioningError(f"{doing}: {error}", hint=hint) from error
    except BotoCoreError as error:
        raise errors.explain(error, doing) from error
    except NotImplementedError as error:
        hint = "Take it out of the spec, or use `target: aws`."
        msg = f"{doing}: the local AWS has not got it: {error}"
        raise ProvisioningError(msg, hint=hint) from error


def _refused(doing: str, response: Any) -> EmrctlError:
    answer: Mapping[str, Any] = response.get("Error", {})
    code = str(answer.get("Code", "Unknown"))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return refusal(doing, code, str(answer.get("Message") or code), status)


def refusal(doing: str, code: str, words: str, status: int) -> EmrctlError:
    """What AWS refused, in its words, with what to do about it."""
    message = f"{doing}: {words} ({code})"
    cause = errors.cause(code, words)
    if cause is not None and cause.family is CredentialsError:
        return CredentialsError(message, hint=cause.hint)
    # After a 5xx nobody knows whether it was done.
    family = RefusedError if status < 500 else ProvisioningError
    return family(message, hint=cause.hint if cause is not None else _hint(code))


def _hint(code: str) -> str:
    if "AlreadyExists" in code or code in _TAKEN:
        return "Another project has that name, or its state was lost: choose another name."
    return _AGAIN
