"""Tables of AWS's error codes: the cause of each, and the command or setting that fixes it.

API error codes, botocore exceptions raised before a response, and failures of an EMR cluster.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from emrctl.errors import CredentialsError, EmrctlError, ProvisioningError, UsageError

RETRY_HINT = "Run the same command again; it continues from where it stopped."
_CREDENTIALS_HINT = "Run `aws sso login`, set AWS_PROFILE or renew the access keys."


@dataclass(frozen=True)
class Cause:
    """Cause of an AWS error: the emrctl error class it maps to, its description and a hint.

    `codes` has the API's error codes and the names of botocore's exceptions.
    """

    family: type[EmrctlError]
    meaning: str
    hint: str
    codes: str = ""


DENIED = Cause(
    CredentialsError,
    "the caller is not authorized",
    "Ask an administrator to allow the action, or use another profile (AWS_PROFILE).",
    "AccessDenied AccessDeniedException 403 UnauthorizedOperation Forbidden NotAuthorized",
)
MFA = Cause(
    CredentialsError,
    "the account requires multi-factor authentication (MFA)",
    "Run `aws sts get-session-token --serial-number ARN --token-code CODE`, or use a profile "
    "with mfa_serial.",
)
THROTTLED = Cause(
    ProvisioningError,
    "AWS throttled the request; 10 attempts with back-off failed",
    f"Wait a minute: the limit is shared by the whole account. {RETRY_HINT}",
    "Throttling ThrottlingException ThrottledException RequestLimitExceeded "
    "TooManyRequestsException SlowDown EC2ThrottledException PriorRequestNotComplete",
)
SERVER_ERROR = Cause(
    ProvisioningError,
    "AWS had an internal error",
    f"Wait a moment. {RETRY_HINT}",
    "InternalError InternalFailure InternalServerError ServiceUnavailable Unavailable "
    "InternalServerException",
)
NO_CONNECTION = Cause(
    ProvisioningError,
    "cannot connect to AWS",
    "Check the network, HTTPS_PROXY and `region`; on localhost, run `emrctl local status`.",
    "ConnectionError HTTPClientError EndpointConnectionError",
)
CONNECTION_LOST = Cause(
    ProvisioningError,
    "the connection to AWS was interrupted, or AWS did not respond in time",
    f"Check the network. {RETRY_HINT}",
    # botocore does not replace urllib3's ProtocolError of an interrupted error response.
    "ConnectionClosedError ReadTimeoutError IncompleteReadError ResponseStreamingError "
    "ProtocolError",
)
# The same request may succeed later.
TRANSIENT = (THROTTLED, SERVER_ERROR, NO_CONNECTION, CONNECTION_LOST)
_CAUSES = (
    DENIED,
    *TRANSIENT,
    Cause(
        CredentialsError,
        "the session has expired",
        "Run `aws sso login` or renew the temporary credentials, then run the command again.",
        "ExpiredToken ExpiredTokenException RequestExpired",
    ),
    Cause(
        CredentialsError,
        "AWS does not know the access key",
        f"It was deleted or belongs to another partition. {_CREDENTIALS_HINT}",
        "InvalidClientTokenId InvalidAccessKeyId UnrecognizedClientException AuthFailure "
        "InvalidToken InvalidIdentityToken",
    ),
    Cause(
        CredentialsError,
        "the signature does not match: the secret key or this machine's clock is wrong",
        "Check the clock first (`date -u`), then the secret key.",
        "SignatureDoesNotMatch InvalidSignatureException RequestTimeTooSkewed IncompleteSignature",
    ),
    Cause(
        UsageError,
        "the region is not enabled in the account",
        "Enable it in the account settings, or set another `region`.",
        "OptInRequired RegionDisabledException",
    ),
    Cause(
        ProvisioningError,
        "a quota of the account is exceeded",
        "Request an increase in Service Quotas, or use smaller or fewer nodes.",
        "LimitExceeded LimitExceededException VcpuLimitExceeded VpcLimitExceeded "
        "AddressLimitExceeded TooManyBuckets",
    ),
    Cause(
        ProvisioningError,
        "AWS has no capacity for the instance type in that availability zone",
        "Run the command again later, or set another network.zone or type, or spot: false.",
        "InsufficientInstanceCapacity InsufficientHostCapacity",
    ),
    Cause(
        ProvisioningError,
        "the maximum price is below the current spot price",
        "Raise bid_usd or remove it: the maximum is then the on-demand price.",
        "SpotMaxPriceTooLow",
    ),
    Cause(
        ProvisioningError,
        "the account's quota of spot instances is exceeded",
        "Request an increase in Service Quotas (L-34B43A08), or set fewer workers or spot: false.",
        "MaxSpotInstanceCountExceeded",
    ),
    Cause(
        ProvisioningError,
        "the zone, the image or the placement does not support that instance type",
        "Set another type or network.zone; `emrctl preview` checks both.",
        "Unsupported",
    ),
    Cause(
        ProvisioningError,
        "the subnet has too few free addresses",
        "Set another subnet or a larger network.cidr.",
        "InsufficientFreeAddressesInSubnet",
    ),
    Cause(
        CredentialsError,
        "the single sign-on session is missing or has expired",
        "Run `aws sso login` (with `--profile NAME`), then run the command again.",
        "SSOError TokenRetrievalError UnauthorizedSSOTokenError",
    ),
    Cause(
        CredentialsError,
        "could not load the profile's credentials",
        "Check role_arn, source_profile, mfa_serial and credential_process of the profile.",
        "CredentialRetrievalError MetadataRetrievalError InvalidConfigError",
    ),
    Cause(
        CredentialsError,
        "no AWS credentials are configured",
        "Run `aws configure sso`, set AWS_PROFILE, or use `target: local`.",
        "NoCredentialsError PartialCredentialsError",
    ),
    Cause(
        CredentialsError,
        "the profile is not in the AWS configuration",
        "`aws configure list-profiles` lists them; set `profile` in emrctl.yaml.",
        "ProfileNotFound",
    ),
    Cause(
        ProvisioningError,
        "the server's TLS certificate is not trusted",
        "If a proxy inspects TLS, set AWS_CA_BUNDLE to its certificate.",
        "SSLError",
    ),
)
_CODES = {code: cause for cause in _CAUSES for code in cause.codes.split()}
_MFA_MESSAGE = re.compile(r"MultiFactorAuth|\bMFA\b", re.IGNORECASE)


def code_cause(code: str, message: str = "") -> Cause | None:
    """Return the cause of an API error by its code and message; None for an unknown code."""
    cause = _CODES.get(code.removeprefix("Client."))
    return MFA if _MFA_MESSAGE.search(message) and cause in {None, DENIED} else cause


def exception_cause(error: Exception) -> Cause | None:
    """Return the cause of a botocore exception or of its nearest ancestor; None if unknown."""
    names = (ancestor.__name__ for ancestor in type(error).__mro__)
    return next((_CODES[name] for name in names if name in _CODES), None)


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
