"""Rules of checkov and Security Hub that a default project does not hold, each with its reason.

`waivers` in emrctl.yaml adds to them. What the reason says to set makes the rule hold.
"""

DEFAULTS = {
    "EMR.1": "a public subnet costs neither NAT nor endpoints, and no group lets anybody in; "
    "network.private: true holds it",
    "EMR.3": "the bucket and EMR's own volumes are encrypted by the account's defaults; "
    "security.at_rest: true holds it",
    "EMR.4": "needs certificates, which are made on request: `emrctl certificates`, then "
    "security.in_transit",
    "CKV_AWS_171": "SSE-KMS needs a key of the user's: storage.kms_key with security.at_rest",
    "CKV_AWS_349": "disks are encrypted with a key of the user's: security.disk_key",
    "CKV_AWS_350": "disks are encrypted with a key of the user's: security.disk_key",
    "CKV_AWS_351": "needs certificates, which are made on request: security.in_transit",
    "CKV_AWS_18": "an access log needs a second bucket of the user's: storage.access_logs",
    "S3.9": "an access log needs a second bucket of the user's: storage.access_logs",
    "CKV_AWS_144": "runs can be had again by running them; a second region doubles the bill",
    "CKV_AWS_145": "S3's own keys encrypt; a key of one's own costs money: storage.kms_key",
    "S3.17": "S3's own keys encrypt; a key of one's own costs money: storage.kms_key",
    "CKV2_AWS_62": "nobody listens: runs are followed by asking EMR, which costs nothing",
    "CKV_AWS_130": "public addresses stand in for NAT, and no group lets anybody in; "
    "network.private: true holds it",
    "EC2.9": "as CKV_AWS_130: network.private: true holds it",
    "EC2.15": "as CKV_AWS_130: network.private: true holds it",
    "CKV_AWS_382": "EMR's service and package repositories have no fixed addresses to name; "
    "network.private: true without nat holds it",
    "CKV2_AWS_12": "nothing is ever put into the VPC's default group; "
    "network.close_default_group: true holds it",
    "EC2.2": "as CKV2_AWS_12: network.close_default_group: true holds it",
    "EC2.3": "as CKV_AWS_350: security.disk_key holds it",
    "EC2.6": "the VPC holds one cluster, for hours, and nobody gets in: there is little to log",
    "CKV2_AWS_11": "as EC2.6: the VPC holds one cluster, for hours",
    "EC2.10": "nodes ask EC2 nothing; network.endpoints: [ec2, …] adds the endpoint",
    "SSM.1": "nothing on the nodes is reached through Session Manager unless roles.ssm is set",
}

# What speaks of EMR's own settings, or is held by a cluster of EC2 instances.
_OF_EMR_ALONE = frozenset(
    {"EMR.3", "EMR.4", "CKV_AWS_171", "CKV_AWS_349", "CKV_AWS_350", "CKV_AWS_351", "EC2.3"}
)
_OF_INSTANCES = {
    "CKV_AWS_88": "as CKV_AWS_130: network.private: true holds it, with the way in that ssh or "
    "roles.ssm gives",
    "CKV_AWS_126": "what runs on the nodes is seen through Spark; a metric each minute costs extra",
    "CKV_AWS_382": "package repositories have no fixed addresses to name; network.private: true "
    "without nat holds it, with a wheelhouse on S3",
    "EC2.10": "nodes ask EC2 once, to end themselves; network.endpoints: [ec2, …] adds the "
    "endpoint in a private network",
    "SSM.1": "nodes are reached over SSH from one address; roles.ssm holds it",
}


def of_kind(kind: str) -> dict[str, str]:
    """The rules that a default cluster of that kind does not hold, each with its reason."""
    if kind == "emr":
        return DEFAULTS
    kept = {rule: reason for rule, reason in DEFAULTS.items() if rule not in _OF_EMR_ALONE}
    return {**kept, **_OF_INSTANCES}
