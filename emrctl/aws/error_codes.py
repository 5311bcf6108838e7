"""Tables of AWS's error codes: the cause of each, and the command or setting that fixes it.

API error codes, botocore exceptions raised before a response, and failures of an EMR cluster.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from emrctl.errors import CredentialsError, EmrctlError, ProvisioningError, UsageError

RETRY_HINT = "Run the same command again; it continues from where it stopped."
_CREDENTIALS_HINT = "Run `aws sso login`, set AWS_PROFILE or renew the access keys."


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Cause of an AWS error: the emrctl error class it maps to, its description and a hint."""

    family: type[EmrctlError]
    meaning: str
    hint: str


EXPIRED = Cause(
    family=CredentialsError,
    meaning="the session has expired",
    hint="Run `aws sso login` or renew the temporary credentials, then run the command again.",
)
UNKNOWN_KEY = Cause(
    family=CredentialsError,
    meaning="AWS does not know the access key",
    hint=f"It was deleted or belongs to another partition. {_CREDENTIALS_HINT}",
)
SIGNATURE = Cause(
    family=CredentialsError,
    meaning="the signature does not match: the secret key or this machine's clock is wrong",
    hint="Check the clock first (`date -u`), then the secret key.",
)
DENIED = Cause(
    family=CredentialsError,
    meaning="the caller is not authorized",
    hint="Ask an administrator to allow the action, or use another profile (AWS_PROFILE).",
)
MFA = Cause(
    family=CredentialsError,
    meaning="the account requires multi-factor authentication (MFA)",
    hint="Run `aws sts get-session-token --serial-number ARN --token-code CODE`, or use a profile "
    "with mfa_serial.",
)
THROTTLED = Cause(
    family=ProvisioningError,
    meaning="AWS throttled the request; 10 attempts with back-off failed",
    hint=f"Wait a minute: the limit is shared by the whole account. {RETRY_HINT}",
)
REGION = Cause(
    family=UsageError,
    meaning="the region is not enabled in the account",
    hint="Enable it in the account settings, or set another `region`.",
)
SERVER_ERROR = Cause(
    family=ProvisioningError,
    meaning="AWS had an internal error",
    hint=f"Wait a moment. {RETRY_HINT}",
)
QUOTA = Cause(
    family=ProvisioningError,
    meaning="a quota of the account is exceeded",
    hint="Request an increase in Service Quotas, or use smaller or fewer nodes.",
)
CAPACITY = Cause(
    family=ProvisioningError,
    meaning="AWS has no capacity for the instance type in that availability zone",
    hint="Run the command again later, or set another network.zone or type, or spot: false.",
)
SPOT_PRICE = Cause(
    family=ProvisioningError,
    meaning="the maximum price is below the current spot price",
    hint="Raise bid_usd or remove it: the maximum is then the on-demand price.",
)
SPOT_QUOTA = Cause(
    family=ProvisioningError,
    meaning="the account's quota of spot instances is exceeded",
    hint="Request an increase in Service Quotas (L-34B43A08), or set fewer workers or spot: false.",
)
INSTANCE_TYPE = Cause(
    family=ProvisioningError,
    meaning="the zone, the image or the placement does not support that instance type",
    hint="Set another type or network.zone; `emrctl preview` checks both.",
)
ADDRESSES = Cause(
    family=ProvisioningError,
    meaning="the subnet has too few free addresses",
    hint="Set another subnet or a larger network.cidr.",
)

_CAUSES: dict[Cause, tuple[str, ...]] = {
    EXPIRED: ("ExpiredToken", "ExpiredTokenException", "RequestExpired"),
    UNKNOWN_KEY: (
        *("InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException"),
        *("AuthFailure", "InvalidToken", "InvalidIdentityToken"),
    ),
    SIGNATURE: (
        *("SignatureDoesNotMatch", "InvalidSignatureException"),
        *("RequestTimeTooSkewed", "IncompleteSignature"),
    ),
    DENIED: (
        *("AccessDenied", "AccessDeniedException", "403"),
        *("UnauthorizedOperation", "Forbidden", "NotAuthorized"),
    ),
    THROTTLED: (
        *("Throttling", "ThrottlingException", "ThrottledException"),
        *("RequestLimitExceeded", "TooManyRequestsException"),
        *("SlowDown", "EC2ThrottledException", "PriorRequestNotComplete"),
    ),
    REGION: ("OptInRequired", "RegionDisabledException"),
    SERVER_ERROR: (
        *("InternalError", "InternalFailure", "InternalServerError"),
        *("ServiceUnavailable", "Unavailable", "InternalServerException"),
    ),
    QUOTA: (
        *("LimitExceeded", "LimitExceededException", "VcpuLimitExceeded"),
        *("VpcLimitExceeded", "AddressLimitExceeded", "TooManyBuckets"),
    ),
    CAPACITY: ("InsufficientInstanceCapacity", "InsufficientHostCapacity"),
    SPOT_PRICE: ("SpotMaxPriceTooLow",),
    SPOT_QUOTA: ("MaxSpotInstanceCountExceeded",),
    INSTANCE_TYPE: ("Unsupported",),
    ADDRESSES: ("InsufficientFreeAddressesInSubnet",),
}
_CODES = {code: cause for cause, codes in _CAUSES.items() for code in codes}
_MFA_MESSAGE = re.compile(r"MultiFactorAuth|\bMFA\b", re.IGNORECASE)

NO_CONNECTION = Cause(
    family=ProvisioningError,
    meaning="cannot connect to AWS",
    hint="Check the network, HTTPS_PROXY and `region`; on localhost, run `emrctl local status`.",
)
_SSO = Cause(
    family=CredentialsError,
    meaning="the single sign-on session is missing or has expired",
    hint="Run `aws sso login` (with `--profile NAME`), then run the command again.",
)
_PROFILE = Cause(
    family=CredentialsError,
    meaning="could not load the profile's credentials",
    hint="Check role_arn, source_profile, mfa_serial and credential_process of the profile.",
)
_NO_CREDENTIALS = Cause(
    family=CredentialsError,
    meaning="no AWS credentials are configured",
    hint="Run `aws configure sso`, set AWS_PROFILE, or use `target: local`.",
)
_NO_PROFILE = Cause(
    family=CredentialsError,
    meaning="the profile is not in the AWS configuration",
    hint="`aws configure list-profiles` lists them; set `profile` in emrctl.yaml.",
)
_CERTIFICATE = Cause(
    family=ProvisioningError,
    meaning="the server's TLS certificate is not trusted",
    hint="If a proxy inspects TLS, set AWS_CA_BUNDLE to its certificate.",
)
# By name of a botocore exception; the nearest ancestor in the table applies.
_EXCEPTIONS: dict[str, Cause] = {
    **dict.fromkeys(("SSOError", "TokenRetrievalError", "UnauthorizedSSOTokenError"), _SSO),
    **dict.fromkeys(("NoCredentialsError", "PartialCredentialsError"), _NO_CREDENTIALS),
    "ProfileNotFound": _NO_PROFILE,
    "CredentialRetrievalError": _PROFILE,
    "MetadataRetrievalError": _PROFILE,
    "InvalidConfigError": _PROFILE,
    "SSLError": _CERTIFICATE,
    **dict.fromkeys(
        ("ConnectionError", "HTTPClientError", "EndpointConnectionError"), NO_CONNECTION
    ),
}


def code_cause(code: str, message: str = "") -> Cause | None:
    """Return the cause of an API error by its code and message; None for an unknown code."""
    cause = _CODES.get(code.removeprefix("Client."))
    return MFA if _MFA_MESSAGE.search(message) and cause in {None, DENIED} else cause


def exception_cause(error: Exception) -> Cause | None:
    """Return the cause of a botocore exception; None for an unknown one."""
    names = (ancestor.__name__ for ancestor in type(error).__mro__)
    return next((_EXCEPTIONS[name] for name in names if name in _EXCEPTIONS), None)


_CLUSTER: tuple[tuple[str, str, str], ...] = (
    (
        r"EC2_INSUFFICIENT_CAPACITY|out of capacity|InsufficientInstanceCapacity",
        "AWS has no capacity for the instance type in that availability zone",
        "Set another network.zone or type, or instance fleets of several types.",
    ),
    (
        r"SPOT_NO_CAPACITY|SPOT_PRICE_INCREASE|INSTANCE_FLEET_TIMEOUT|provisioning timeout",
        "too few spot instances were provisioned in time",
        "Add more types, set on_timeout: on_demand, or use on-demand primary and core nodes.",
    ),
    (
        r"INSTANCE_TYPE_NOT_SUPPORTED|not supported in the requested Availability Zone",
        "the zone or the release does not support that instance type",
        "Set another type or network.zone; `emrctl preview` checks both.",
    ),
    (
        r"Cannot find route to InternetGateway",
        "the subnet has no route to AWS",
        "Add a route to an internet gateway or NAT; network.private: true needs VPC endpoints.",
    ),
    (
        r"SUBNET_NOT_FROM_ONE_VPC|InvalidSubnetID|subnet .*(not exist|is invalid|not found)",
        "the subnet does not exist or is not in the VPC of the security groups",
        "Check network.subnets and the region.",
    ),
    (
        r"InsufficientFreeAddresses|not enough free addresses",
        "the subnet has too few free addresses",
        "Set another subnet or a larger network.cidr.",
    ),
    (
        r"INVALID_SSH_KEY_NAME|InvalidKeyPair",
        "the key pair does not exist in the region",
        "`aws ec2 describe-key-pairs` lists them; set cluster.key_pair.",
    ),
    (
        r"insufficient EC2 permissions|UnauthorizedOperation|is not authorized to perform",
        "EMR's service role lacks permissions",
        "Tag subnets and VPC with for-use-with-amazon-emr-managed-policies=true.",
    ),
    (
        r"Invalid InstanceProfile|Failed to authorize instance profile|InstanceProfile is required",
        "EMR cannot find the instance profile (IAM changes take up to a minute to propagate)",
        "Run `emrctl up` again in a minute. The profile must have the name of its role.",
    ),
    (
        r"(Service role|EMR_DefaultRole|ServiceRole).*(is invalid|insufficient|does not exist)",
        "EMR cannot use its service role (IAM changes take up to a minute to propagate)",
        "Run `emrctl up` again in a minute; if it fails, check roles.service and its trust policy.",
    ),
    (
        r"BlockPublicAccess|block public access|public access .*security group",
        "EMR's block public access setting rejects a security group that allows 0.0.0.0/0",
        "Restrict the group's rule, or add the port to the account's exceptions.",
    ),
    (
        r"Throttled from Amazon EC2|VcpuLimitExceeded|vCPU limit|instance limit|quota",
        "the account's quota of instances is exceeded",
        "Request an increase (Service Quotas, EC2), use fewer nodes, or delete other clusters.",
    ),
    (
        r"FAILED_BY_MASTER|NO_SLAVE_LEFT|UNHEALTHY",
        "nodes were lost while the cluster was running",
        "Nodes with full disks are terminated: raise volume_gb. Do not use spot core nodes.",
    ),
    (
        r"BA_DOWNLOAD_FAILED|FILE_NOT_FOUND",
        "a bootstrap script could not be downloaded",
        "Check that it exists and that cluster.buckets lets the nodes read it.",
    ),
    (
        r"BOOTSTRAP_FAILURE|bootstrap action \d+ returned",
        "a bootstrap script failed",
        "Fix the script, then run `emrctl up` again to create a new cluster.",
    ),
)


def cluster_failure(text: str) -> tuple[str, str] | None:
    """Return cause and hint for EMR's codes or messages of a failed cluster; None if unknown."""
    for pattern, cause, hint in _CLUSTER:
        if re.search(pattern, text, re.IGNORECASE):
            return cause, hint
    return None
