"""Translation of boto3's errors into `emrctl.errors`, by the tables of `error_codes`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from emrctl.aws import error_codes
from emrctl.aws.error_codes import DENIED, RETRY_HINT, THROTTLED, Cause
from emrctl.errors import CredentialsError, EmrctlError, ProvisioningError, UnavailableError

_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z0-9]+)")
_DUPLICATE = re.compile(r"AlreadyExists|AlreadyOwnedByYou|\.Duplicate\b")


class RejectedRequestError(ProvisioningError):
    """AWS rejected the request (HTTP 4xx): nothing was started."""


def translate(error: Exception, action: str) -> EmrctlError:
    """Return emrctl's error for one of boto3's: `UnavailableError` if a retry may succeed."""
    translated = _error(action, find_cause(error), error_text(error), _status(error, 500))
    if is_transient(error):
        return UnavailableError(translated.message, hint=translated.hint)
    return translated


@contextmanager
def translated(
    action: str, translate: Callable[[Exception, str], EmrctlError] = translate
) -> Iterator[None]:
    """Raise boto3's errors as emrctl's; `action` is what was being done."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import ProtocolError

    try:
        yield
    except (BotoCoreError, ClientError, ProtocolError) as error:
        raise translate(error, action) from error
    except NotImplementedError as error:  # moto raises it
        msg, hint = f"{action}: not supported on localhost: {error}", "Use `target: aws`."
        raise ProvisioningError(msg, hint=hint) from error


def translate_code(action: str, code: str, message: str, status: int) -> EmrctlError:
    """Return emrctl's error for an API error with an HTTP status."""
    cause = error_codes.code_cause(code, message)
    return _error(action, cause, f"{message} ({code})" if message else code, status)


def _error(action: str, cause: Cause | None, text: str, status: int) -> EmrctlError:
    # After a 5xx response the operation may have been started.
    rejected = RejectedRequestError if status < 500 else ProvisioningError
    if cause is None:
        hint = "It belongs to another project, or the state was lost: choose another name."
        return rejected(f"{action}: {text}", hint=hint if _DUPLICATE.search(text) else RETRY_HINT)
    operation = _ACTION.search(text) if cause is DENIED else None
    meaning = f"{cause.meaning} ({operation[1]})" if operation else cause.meaning
    family = rejected if cause.family is ProvisioningError else cause.family
    return family(f"{action}: {meaning}. AWS returned: {text}", hint=cause.hint)


def find_cause(error: Exception) -> Cause | None:
    """Return the cause of one of boto3's errors; None if it is in no table."""
    response = response_error(error)
    if not response:
        return error_codes.exception_cause(error)
    return error_codes.code_cause(error_code(error), str(response.get("Message") or ""))


def is_denied(error: Exception) -> bool:
    """Whether the caller is authenticated but not authorized."""
    return find_cause(error) is DENIED


def is_transient(error: Exception) -> bool:
    """Whether a retry may succeed: AWS throttled, had an internal error or was not reached."""
    return _status(error, 400) >= 500 or find_cause(error) in error_codes.TRANSIENT


def is_throttled(error: EmrctlError) -> bool:
    """Whether the cause of an error of emrctl is that AWS throttled each attempt of a request."""
    return isinstance(error.__cause__, Exception) and find_cause(error.__cause__) is THROTTLED


def is_temporary(error: Exception) -> bool:
    """Whether the same request may succeed later: AWS did not answer it, or credentials expired."""
    cause = find_cause(error)
    credentials = cause is not None and issubclass(cause.family, CredentialsError)
    return is_transient(error) or (credentials and cause is not error_codes.DENIED)


def response_error(error: Exception) -> Mapping[str, Any]:
    """Return Code and Message of AWS's response; empty if there was no response."""
    response = getattr(error, "response", None)
    found: Mapping[str, Any] = response.get("Error") or {} if isinstance(response, dict) else {}
    return found


def error_code(error: Exception) -> str:
    """Return AWS's error code; "" if there was no response."""
    return str(response_error(error).get("Code", ""))


def error_text(error: Exception) -> str:
    """Return AWS's message and code, or botocore's message if there was no response."""
    if not (response := response_error(error)):
        return str(error)
    code, message = str(response.get("Code", "Unknown")), str(response.get("Message") or "")
    return f"{message} ({code})" if message else code


def get_or_none(call: Callable[..., Any], *codes: str, **arguments: Any) -> Any:
    """Return the result of the call with these arguments; None if AWS returns one of the codes."""
    from botocore.exceptions import ClientError

    try:
        return call(**arguments)
    except ClientError as error:
        if error_code(error) in codes:
            return None
        raise


def _status(error: Exception, default: int) -> int:
    response = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or default)
