"""Rules of checkov (CKV_*) and AWS Security Hub, as checks of the resources that stacks declare.

`violations` evaluates all of them. Checks read inputs under the provider's camelCase names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from emrctl.engine.embedded.deployment import DeclaredResource
from tests.stacks.conftest import Resources

Inputs = dict[str, Any]
Check = Callable[[Resources], Iterable[str]]

_ANYWHERE = ("0.0.0.0/0", "::/0")
_INGRESS, _EGRESS = "SecurityGroupIngressRule", "SecurityGroupEgressRule"
_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
# IAM does not support limiting these actions to resources.
_UNLIMITED = {"ec2:DescribeInstances"}


def _each(type_: str, holds: Callable[[Inputs], object]) -> Check:
    """Every resource of the type satisfies the condition."""
    return lambda resources: [one.name for one in resources.of(type_) if not holds(one.inputs)]


def _bucket_has(type_: str, holds: Callable[[Inputs], object] = bool) -> Check:
    """Every bucket has a resource of the type, and each of these satisfies the condition."""

    def check(resources: Resources) -> Iterator[str]:
        buckets = {one.inputs.get("bucket") for one in resources.of(type_)}
        yield from (
            one.name for one in resources.of("Bucket") if one.inputs.get("bucket") not in buckets
        )
        yield from _each(type_, holds)(resources)

    return check


def _vpc_has(holds: Callable[[Resources], object]) -> Check:
    return lambda resources: [one.name for one in resources.of("Vpc") if not holds(resources)]


def _encrypted(holds: Callable[[Inputs], object]) -> Check:
    """The EMR cluster's encryption settings satisfy the condition."""

    def check(resources: Resources) -> Iterator[str]:
        documents = [_json(one, "configuration") for one in resources.of("SecurityConfiguration")]
        settings = documents[0].get("EncryptionConfiguration", {}) if documents else {}
        yield from (one.name for one in resources.of("Cluster") if not holds(settings))

    return check


def _statements(allowed: Callable[[dict[str, Any], list[str], list[str]], object]) -> Check:
    """Every statement of the roles' policies, with its actions and resources, is allowed."""

    def check(resources: Resources) -> Iterator[str]:
        for policy in resources.of("RolePolicy"):
            for one in _json(policy, "policy")["Statement"]:
                if not allowed(one, _listed(one["Action"]), _listed(one["Resource"])):
                    yield policy.name

    return check


def _trusts(allowed: Callable[[dict[str, Any]], object]) -> Check:
    """Every statement of the roles' trust policies is allowed."""
    return _each(
        "Role",
        lambda inputs: all(map(allowed, json.loads(inputs["assumeRolePolicy"])["Statement"])),
    )


def _both(first: Check, second: Check) -> Check:
    return lambda resources: [*first(resources), *second(resources)]


def _json(resource: DeclaredResource, key: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(resource.inputs[key])
    return document


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _open(inputs: Inputs) -> bool:
    return any(inputs.get(key) in _ANYWHERE for key in ("cidrIpv4", "cidrIpv6"))


def _closed(port: int) -> Check:
    def holds(inputs: Inputs) -> bool:
        if inputs.get("ipProtocol") == "-1":
            return not _open(inputs)
        return not (_open(inputs) and inputs.get("fromPort", 0) <= port <= inputs.get("toPort", -1))

    return _each(_INGRESS, holds)


def _bucket_statements(allowed: Callable[[dict[str, Any]], object]) -> Callable[[Inputs], bool]:
    return lambda inputs: all(map(allowed, json.loads(inputs["policy"])["Statement"]))


def _denies_plain_http(inputs: Inputs) -> bool:
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    return any(
        one["Effect"] == "Deny" and one.get("Condition") == condition
        for one in json.loads(inputs["policy"])["Statement"]
    )


def _uses_kms(inputs: Inputs) -> bool:
    defaults = [one["applyServerSideEncryptionByDefault"] for one in inputs["rules"]]
    return all(one["sseAlgorithm"] == "aws:kms" for one in defaults)


_ENCRYPTION = "BucketServerSideEncryptionConfiguration"
_LIFECYCLE = "BucketLifecycleConfiguration"


def _default_group_closed(resources: Resources) -> bool:
    groups = resources.of("DefaultSecurityGroup")
    return bool(groups) and not any(
        one.inputs.get(key) for one in groups for key in ("ingress", "egress")
    )


def _unattached_groups(resources: Resources) -> Iterator[str]:
    used: set[Any] = set()
    for one in resources.of("Cluster"):
        values = one.inputs.get("ec2Attributes", {}).values()
        used |= {value for value in values if isinstance(value, str)}
    for one in resources.of("Instance"):
        used |= set(one.inputs.get("vpcSecurityGroupIds") or ())
    for one in resources.of("VpcEndpoint"):
        used |= set(one.inputs.get("securityGroupIds") or ())
    return (one.name for one in resources.of("SecurityGroup") if f"id-{one.name}" not in used)


def _local_disk(settings: Inputs) -> Inputs:
    at_rest = settings.get("AtRestEncryptionConfiguration", {})
    disk: Inputs = at_rest.get("LocalDiskEncryptionConfiguration", {})
    return disk


def _requires_imdsv2(inputs: Inputs) -> bool:
    document = json.loads(inputs["configuration"])
    settings = document.get("InstanceMetadataServiceConfiguration", {})
    return bool(settings.get("MinimumInstanceMetadataServiceVersion") == 2)


def _has_no_secrets(inputs: Inputs) -> bool:
    text = json.dumps(inputs.get("configurationsJson", ""))
    return "aws_secret_access_key" not in text.lower() and "fs.s3a.secret.key" not in text


_ENCRYPTED_ROOT = _each("Instance", lambda one: (one.get("rootBlockDevice") or {}).get("encrypted"))


def _passes_roles_only(statement: dict[str, Any], actions: list[str]) -> bool:
    iam = [action for action in actions if action.startswith("iam:")]
    condition = json.dumps(statement.get("Condition", {}))
    return not iam or (iam == ["iam:PassRole"] and "iam:PassedToService" in condition)


def _decrypts_own_keys_only(
    statement: dict[str, Any], actions: list[str], resources: list[str]
) -> bool:
    if not {"kms:Decrypt", "kms:ReEncryptFrom"} & set(actions):
        return True
    any_key = any(one.endswith("key/*") or one == "*" for one in resources)
    return not any_key or "kms:ResourceAliases" in json.dumps(statement)


def _unmanaged_node_roles(resources: Resources) -> Iterator[str]:
    attachments = resources.of("RolePolicyAttachment")
    arns = [str(one.inputs["policyArn"]) for one in attachments]
    if not any(arn.endswith("AmazonSSMManagedInstanceCore") for arn in arns):
        roles = resources.of("Role")
        yield from (one.name for one in roles if "ec2." in one.inputs["assumeRolePolicy"])


_CHECKS: dict[str, Check] = {
    # public access is blocked
    "CKV_AWS_53 CKV_AWS_54 CKV_AWS_55 CKV_AWS_56 CKV2_AWS_6 S3.8": _bucket_has(
        "BucketPublicAccessBlock", lambda inputs: all(map(inputs.get, _BLOCKS))
    ),
    # no ACL grants public access
    "CKV_AWS_20 CKV_AWS_57 S3.2 S3.3": _both(
        *(
            _each(type_, lambda inputs: not str(inputs.get("acl", "")).startswith("public"))
            for type_ in ("Bucket", "BucketAcl")
        )
    ),
    # ACLs are disabled
    "CKV2_AWS_65 S3.12": _bucket_has(
        "BucketOwnershipControls",
        lambda inputs: inputs["rule"].get("objectOwnership") == "BucketOwnerEnforced",
    ),
    # objects are encrypted
    "CKV_AWS_19 S3.4": _bucket_has(_ENCRYPTION),
    # objects are encrypted with a KMS key
    "CKV_AWS_145 S3.17": _each(_ENCRYPTION, _uses_kms),
    # versioning is enabled
    "CKV_AWS_21 S3.14": _bucket_has(
        "BucketVersioning",
        lambda inputs: inputs["versioningConfiguration"]["status"] == "Enabled",
    ),
    # old objects expire
    "CKV2_AWS_61 S3.13 S3.10": _bucket_has(_LIFECYCLE),
    # incomplete uploads are aborted
    "CKV_AWS_300": _each(
        _LIFECYCLE,
        lambda inputs: any("abortIncompleteMultipartUpload" in one for one in inputs["rules"]),
    ),
    # requests without TLS are denied
    "CKV_AWS_379 S3.5": _bucket_has("BucketPolicy", _denies_plain_http),
    # the bucket policy allows no other principal
    "CKV_AWS_70 S3.6": _each(
        "BucketPolicy",
        _bucket_statements(
            lambda one: one["Effect"] != "Allow" or "*" not in _listed(one["Principal"])
        ),
    ),
    # access is logged
    "CKV_AWS_18 S3.9": _bucket_has("BucketLogging"),
    # the bucket is replicated
    "CKV_AWS_144": _bucket_has("BucketReplicationConfig"),
    # bucket events have a notification
    "CKV2_AWS_62": _bucket_has("BucketNotification"),
    # security groups and their rules have descriptions
    "CKV_AWS_23": lambda resources: [
        name
        for type_ in ("SecurityGroup", _INGRESS, _EGRESS)
        for name in _each(type_, lambda inputs: inputs.get("description"))(resources)
    ],
    # port 22 is closed to the internet
    "CKV_AWS_24 EC2.13 EC2.19": _closed(22),
    # port 3389 is closed to the internet
    "CKV_AWS_25 EC2.14": _closed(3389),
    # port 80 is closed to the internet
    "CKV_AWS_260": _closed(80),
    # all ports are closed to the internet
    "CKV_AWS_277 EC2.18": _each(_INGRESS, lambda inputs: not _open(inputs)),
    # egress is limited
    "CKV_AWS_382": _each(
        _EGRESS, lambda inputs: not (_open(inputs) and inputs.get("ipProtocol") == "-1")
    ),
    # subnets assign no public addresses
    "CKV_AWS_130 EC2.15 EC2.9 EMR.1": _each(
        "Subnet", lambda inputs: not inputs.get("mapPublicIpOnLaunch")
    ),
    # the VPC's default security group has no rules
    "CKV2_AWS_12 EC2.2": _both(
        _vpc_has(_default_group_closed),
        _each(
            "DefaultSecurityGroup",
            lambda inputs: not (inputs.get("ingress") or inputs.get("egress")),
        ),
    ),
    # the VPC has a flow log
    "EC2.6 CKV2_AWS_11": _vpc_has(lambda all_: all_.of("FlowLog")),
    # the VPC has an endpoint for EC2
    "EC2.10": _vpc_has(
        lambda all_: any(
            str(one.inputs.get("serviceName")).endswith(".ec2") for one in all_.of("VpcEndpoint")
        )
    ),
    # security groups are attached
    "CKV2_AWS_5": _unattached_groups,
    # the cluster has a security configuration
    "CKV2_AWS_55": _each("Cluster", lambda inputs: inputs.get("securityConfiguration")),
    # encryption at rest is enabled
    "EMR.3": _encrypted(lambda settings: settings.get("EnableAtRestEncryption")),
    # encryption in transit is enabled
    "EMR.4 CKV_AWS_351": _encrypted(lambda settings: settings.get("EnableInTransitEncryption")),
    # EMRFS encrypts objects with a KMS key
    "CKV_AWS_171": _encrypted(lambda settings: "SSE-KMS" in json.dumps(settings)),
    # local disks are encrypted
    "CKV_AWS_349": _encrypted(
        lambda settings: settings.get("EnableAtRestEncryption") and _local_disk(settings)
    ),
    # root and EBS volumes are encrypted
    "CKV_AWS_350 EC2.3": _both(
        _encrypted(lambda settings: _local_disk(settings).get("EnableEbsEncryption")),
        _ENCRYPTED_ROOT,
    ),
    # nodes require IMDSv2
    "EC2.8 CKV_AWS_79": _both(
        _each("SecurityConfiguration", _requires_imdsv2),
        _each(
            "Instance",
            lambda one: (one.get("metadataOptions") or {}).get("httpTokens") == "required",
        ),
    ),
    # Kerberos has a realm
    "CKV_AWS_114": _each(
        "Cluster",
        lambda one: one.get("kerberosAttributes") is None or one["kerberosAttributes"].get("realm"),
    ),
    # the cluster's configuration has no secrets
    "CKV_AWS_46": _each("Cluster", _has_no_secrets),
    # root volumes of instances are encrypted
    "CKV_AWS_8": _ENCRYPTED_ROOT,
    # instances have no public address
    "CKV_AWS_88": _each("Instance", lambda inputs: not inputs.get("associatePublicIpAddress")),
    # detailed monitoring is enabled
    "CKV_AWS_126": _each("Instance", lambda inputs: inputs.get("monitoring")),
    # instances are EBS-optimized
    "CKV_AWS_135": _each("Instance", lambda inputs: inputs.get("ebsOptimized")),
    # instances have a role
    "CKV2_AWS_41": _each("Instance", lambda inputs: inputs.get("iamInstanceProfile")),
    # no policy allows all actions of a service
    "CKV_AWS_62 CKV_AWS_63 IAM.1 IAM.21": _statements(
        lambda _, actions, _resources: not any("*" in action for action in actions)
    ),
    # no policy allows all resources
    "CKV_AWS_355 CKV_AWS_289 CKV_AWS_290": _statements(
        lambda _, actions, names: set(actions) <= _UNLIMITED or "*" not in names
    ),
    # no policy allows privilege escalation
    "CKV_AWS_286": _statements(
        lambda statement, actions, _: _passes_roles_only(statement, actions)
    ),
    # no policy allows reading secrets
    "CKV_AWS_287 CKV_AWS_288": _statements(
        lambda _, actions, _resources: (
            not any(
                action.startswith(("secretsmanager:", "ssm:GetParameter")) for action in actions
            )
        )
    ),
    # no policy allows decrypting with all keys
    "KMS.1 KMS.2": _statements(_decrypts_own_keys_only),
    # roles trust AWS services only
    "CKV_AWS_60 CKV_AWS_61": _trusts(lambda statement: set(statement["Principal"]) == {"Service"}),
    # EMR acts for this account only
    "iam_role_cross_service_confused_deputy_prevention": _trusts(
        lambda statement: (
            "Condition" in statement
            or not str(statement["Principal"].get("Service", "")).startswith("elasticmapreduce")
        )
    ),
    # nodes are managed by Systems Manager
    "SSM.1": _unmanaged_node_roles,
}
RULES = {id_: check for ids, check in _CHECKS.items() for id_ in ids.split()}
"""The check of each rule: it returns the names of the resources that violate the rule."""


def violations(resources: Resources) -> dict[str, list[str]]:
    """Return the rules that the resources violate, with the names of those resources."""
    results = {id_: list(check(resources)) for id_, check in RULES.items()}
    return {id_: names for id_, names in results.items() if names}
