"""What AWS says when it does not do what was asked, as a cause and a next step.

Three tables: codes of an API's answer, failures before any answer came, and the words with which
an EMR cluster gives up. `explain` makes an `EmrctlError` of the first two, `cluster_failure`
reads the third.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from emrctl.errors import CredentialsError, EmrctlError, ProvisioningError, UsageError

_AGAIN = "Run the same command again: it goes on where it stopped."
_KEYS = "Run `aws sso login`, or set AWS_PROFILE, or renew the keys; `aws sts get-caller-identity`."


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What an error means, which of our errors it is, and what to do."""

    family: type[EmrctlError]
    meaning: str
    hint: str


_EXPIRED = Cause(
    family=CredentialsError,
    meaning="the session has expired",
    hint="Log in again: `aws sso login`, or new temporary keys, then the same command.",
)
_UNKNOWN_KEY = Cause(
    family=CredentialsError,
    meaning="AWS does not know these keys",
    hint=f"They were deleted, or belong to another partition. {_KEYS}",
)
_CLOCK = Cause(
    family=CredentialsError,
    meaning="the signature does not match: a wrong secret key, or this machine's clock is off",
    hint="Look at the clock first (`date -u`), then at the secret key.",
)
_DENIED = Cause(
    family=CredentialsError,
    meaning="the caller may not do that",
    hint="Let an administrator allow the action, or take another profile (AWS_PROFILE).",
)
_MFA = Cause(
    family=CredentialsError,
    meaning="the account wants a second factor (MFA), and this session was begun without",
    hint="Begin one: `aws sts get-session-token --serial-number ARN --token-code CODE`, or a "
    "profile with mfa_serial.",
)
_THROTTLED = Cause(
    family=ProvisioningError,
    meaning="AWS asks for fewer calls, after ten attempts with growing pauses",
    hint=f"Wait a minute; others of the account share the allowance. {_AGAIN}",
)
_REGION = Cause(
    family=UsageError,
    meaning="the account has not switched this region on",
    hint="Enable it in the account's settings, or take another `region`.",
)
_BUSY = Cause(
    family=ProvisioningError, meaning="AWS failed on its side", hint=f"Wait a moment. {_AGAIN}"
)
_QUOTA = Cause(
    family=ProvisioningError,
    meaning="a quota of the account is used up",
    hint="Ask for more in Service Quotas, or take smaller or fewer nodes.",
)
_CAPACITY = Cause(
    family=ProvisioningError,
    meaning="AWS has no such instances left in that zone just now",
    hint="Run the same command again later, or take another network.zone or type, or spot: false.",
)
_SPOT_PRICE = Cause(
    family=ProvisioningError,
    meaning="the bid is below what spot instances cost now",
    hint="Raise bid_usd, or leave it out: no more than the price on demand is paid.",
)
_SPOT_QUOTA = Cause(
    family=ProvisioningError,
    meaning="the account's quota of spot instances is used up",
    hint="Ask for more in Service Quotas (L-34B43A08), take fewer workers, or spot: false.",
)
_TYPE = Cause(
    family=ProvisioningError,
    meaning="the zone, the image or the placement has not got that instance type",
    hint="Take another type or network.zone: `emrctl preview` checks both.",
)
_ADDRESSES = Cause(
    family=ProvisioningError,
    meaning="the subnet has too few free addresses",
    hint="Take another subnet, or a larger network.cidr.",
)

_CODES: dict[str, Cause] = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "RequestExpired"), _EXPIRED),
    **dict.fromkeys(
        ("InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException"), _UNKNOWN_KEY
    ),
    **dict.fromkeys(("AuthFailure", "InvalidToken", "InvalidIdentityToken"), _UNKNOWN_KEY),
    **dict.fromkeys(("SignatureDoesNotMatch", "InvalidSignatureException"), _CLOCK),
    **dict.fromkeys(("RequestTimeTooSkewed", "IncompleteSignature"), _CLOCK),
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "403"), _DENIED),
    **dict.fromkeys(("UnauthorizedOperation", "Forbidden", "NotAuthorized"), _DENIED),
    **dict.fromkeys(("Throttling", "ThrottlingException", "ThrottledException"), _THROTTLED),
    **dict.fromkeys(("RequestLimitExceeded", "TooManyRequestsException"), _THROTTLED),
    **dict.fromkeys(("SlowDown", "EC2ThrottledException", "PriorRequestNotComplete"), _THROTTLED),
    **dict.fromkeys(("OptInRequired", "RegionDisabledException"), _REGION),
    **dict.fromkeys(("InternalError", "InternalFailure", "InternalServerError"), _BUSY),
    **dict.fromkeys(("ServiceUnavailable", "Unavailable", "InternalServerException"), _BUSY),
    **dict.fromkeys(("LimitExceeded", "LimitExceededException", "VcpuLimitExceeded"), _QUOTA),
    **dict.fromkeys(("VpcLimitExceeded", "AddressLimitExceeded", "TooManyBuckets"), _QUOTA),
    **dict.fromkeys(("InsufficientInstanceCapacity", "InsufficientHostCapacity"), _CAPACITY),
    "SpotMaxPriceTooLow": _SPOT_PRICE,
    "MaxSpotInstanceCountExceeded": _SPOT_QUOTA,
    "Unsupported": _TYPE,
    "InsufficientFreeAddressesInSubnet": _ADDRESSES,
}
_MFA_WORDS = re.compile(r"MultiFactorAuth|\bMFA\b", re.IGNORECASE)
_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z0-9]+)")

_SSO = Cause(
    family=CredentialsError,
    meaning="the single sign-on session is missing or over",
    hint="Log in: `aws sso login` (with `--profile NAME`), then the same command.",
)
_NO_KEYS = Cause(
    family=CredentialsError,
    meaning="there are no AWS credentials here",
    hint="Run `aws configure sso`, or set AWS_PROFILE, or start with `target: local`.",
)
_NO_PROFILE = Cause(
    family=CredentialsError,
    meaning="there is no such profile in AWS's configuration",
    hint="`aws configure list-profiles` names them; `profile` in emrctl.yaml chooses one.",
)
_NO_ROLE = Cause(
    family=CredentialsError,
    meaning="the profile's credentials could not be had",
    hint="Look at role_arn, source_profile, mfa_serial and credential_process of the profile.",
)
_NO_WAY = Cause(
    family=ProvisioningError,
    meaning="AWS cannot be reached",
    hint="Look at the network, a proxy (HTTPS_PROXY) and the spelling of `region`.",
)
_CERTIFICATE = Cause(
    family=ProvisioningError,
    meaning="the certificate of whoever answered is not trusted",
    hint="A proxy that reads along? Name its certificate in AWS_CA_BUNDLE.",
)
# Names of botocore's exceptions; the nearest ancestor that stands here counts.
_EXCEPTIONS: dict[str, Cause] = {
    **dict.fromkeys(("SSOError", "TokenRetrievalError", "UnauthorizedSSOTokenError"), _SSO),
    "NoCredentialsError": _NO_KEYS,
    "PartialCredentialsError": _NO_KEYS,
    "ProfileNotFound": _NO_PROFILE,
    "CredentialRetrievalError": _NO_ROLE,
    "MetadataRetrievalError": _NO_ROLE,
    "InvalidConfigError": _NO_ROLE,
    "SSLError": _CERTIFICATE,
    **dict.fromkeys(("ConnectionError", "HTTPClientError", "EndpointConnectionError"), _NO_WAY),
}


def explain(error: Exception, doing: str) -> EmrctlError:
    """Our error for one of boto's: what was done, what it means, what AWS said, what to do."""
    found = cause_of(error)
    words = said(error)
    if found is None:
        return ProvisioningError(f"{doing}: {words}", hint=_AGAIN)
    action = _ACTION.search(words)
    meaning = f"{found.meaning} ({action[1]})" if action and found is _DENIED else found.meaning
    return found.family(f"{doing}: {meaning}. AWS said: {words}", hint=found.hint)


def cause_of(error: Exception) -> Cause | None:
    """What the tables say of an error of boto's; None where they say nothing."""
    answer = answered(error)
    if answer is None:
        names = (kind.__name__ for kind in type(error).__mro__)
        return next((_EXCEPTIONS[name] for name in names if name in _EXCEPTIONS), None)
    return cause(str(answer.get("Code", "")), str(answer.get("Message") or ""))


def cause(code: str, words: str = "") -> Cause | None:
    """What the table says of a code and the words beside it; None where it says nothing."""
    found = _CODES.get(code.removeprefix("Client."))
    return _MFA if _MFA_WORDS.search(words) and (found is None or found is _DENIED) else found


def denied(error: Exception) -> bool:
    """Whether the caller is known, and may not do this: everything else may still be allowed."""
    return cause_of(error) is _DENIED


def passing(error: Exception) -> bool:
    """Whether the same question may be answered in a minute: throttling, a fault, no network."""
    response = getattr(error, "response", None) or {}
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 400)
    return status >= 500 or cause_of(error) in (_THROTTLED, _BUSY, _NO_WAY)


def answered(error: Exception) -> Mapping[str, Any] | None:
    """Code and message of AWS's answer; None where no answer came."""
    response = getattr(error, "response", None)
    found: Mapping[str, Any] | None = response.get("Error") if isinstance(response, dict) else None
    return found


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """boto's errors leave as ours, and say what was being done."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise explain(error, doing) from error


def said(error: Exception) -> str:
    """AWS's own words and its code; botocore's where no answer came."""
    answer = answered(error)
    if answer is None:
        return str(error)
    code, message = str(answer.get("Code", "Unknown")), str(answer.get("Message") or "")
    return f"{message} ({code})" if message else code


# --- how a cluster gives up -----------------------------------------------------------------------

_CLUSTER: tuple[tuple[str, str, str], ...] = (
    (
        r"EC2_INSUFFICIENT_CAPACITY|out of capacity|InsufficientInstanceCapacity",
        "AWS has no such instances left in that zone",
        "Take another network.zone or type, or fleets of several types, which EMR chooses from.",
    ),
    (
        r"SPOT_NO_CAPACITY|SPOT_PRICE_INCREASE|INSTANCE_FLEET_TIMEOUT|provisioning timeout",
        "spot delivered too few instances in time",
        "Take more types, on_timeout: on_demand, or the primary and core nodes on demand.",
    ),
    (
        r"INSTANCE_TYPE_NOT_SUPPORTED|not supported in the requested Availability Zone",
        "the zone or the release has not got that instance type",
        "Take another type or network.zone: `emrctl preview` checks both.",
    ),
    (
        r"Cannot find route to InternetGateway",
        "the subnet has no way to AWS",
        "Give it a route to an internet gateway or NAT; network.private: true needs endpoints.",
    ),
    (
        r"SUBNET_NOT_FROM_ONE_VPC|InvalidSubnetID|subnet .*(not exist|is invalid|not found)",
        "the subnet is not there, or not in the groups' VPC",
        "Look at network.subnets and at the region.",
    ),
    (
        r"InsufficientFreeAddresses|not enough free addresses",
        "the subnet has too few free addresses",
        "Take another subnet, or a larger network.cidr.",
    ),
    (
        r"INVALID_SSH_KEY_NAME|InvalidKeyPair",
        "there is no key pair of that name in the region",
        "`aws ec2 describe-key-pairs` names them; cluster.key_pair chooses one.",
    ),
    (
        r"insufficient EC2 permissions|UnauthorizedOperation|is not authorized to perform",
        "EMR's own role may not do what it must",
        "Subnets and VPC need the tag for-use-with-amazon-emr-managed-policies=true.",
    ),
    (
        r"Invalid InstanceProfile|Failed to authorize instance profile|InstanceProfile is required",
        "EMR does not see the instance profile (yet: IAM takes up to a minute)",
        "Run `emrctl up` again in a minute. The profile needs the name of its role.",
    ),
    (
        r"(Service role|EMR_DefaultRole|ServiceRole).*(is invalid|insufficient|does not exist)",
        "EMR cannot use its service role (yet: IAM takes up to a minute)",
        "Run `emrctl up` again in a minute; else look at roles.service and its trust.",
    ),
    (
        r"BlockPublicAccess|block public access|public access .*security group",
        "EMR's block of public access refuses a security group that is open to the world",
        "Close the group's rule, or take the port into the account's exceptions.",
    ),
    (
        r"Throttled from Amazon EC2|VcpuLimitExceeded|vCPU limit|instance limit|quota",
        "the account's quota of instances is used up",
        "Ask for more (Service Quotas, EC2), take fewer nodes, or end other clusters.",
    ),
    (
        r"FAILED_BY_MASTER|NO_SLAVE_LEFT|UNHEALTHY",
        "nodes were lost while the cluster worked",
        "Disks that are full end nodes: raise volume_gb. Keep core nodes off spot.",
    ),
    (
        r"BA_DOWNLOAD_FAILED|FILE_NOT_FOUND",
        "a bootstrap script could not be fetched",
        "Look whether it lies there, and whether cluster.buckets lets the nodes read it.",
    ),
    (
        r"BOOTSTRAP_FAILURE|bootstrap action \d+ returned",
        "a bootstrap script failed",
        "Mend the script, then run `emrctl up` again: it makes a new cluster.",
    ),
)


def cluster_failure(text: str) -> tuple[str, str] | None:
    """Cause and next step for what EMR says of a cluster that gave up: codes, messages or both.

    None where no line of the table fits.
    """
    for pattern, cause, hint in _CLUSTER:
        if re.search(pattern, text, re.IGNORECASE):
            return cause, hint
    return None
