"""Rules of EMR for requests that botocore's model does not contain."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from emrctl.aws import releases, rules
from emrctl.emulator.api.groups import check_classifications
from emrctl.emulator.api.service import ApiError, Service, check_network, invalid
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster
from emrctl.emulator.hadoop import spark_install
from emrctl.errors import SpecError

# Accepted without existing: nearly every account has them, and the AWS CLI sends them with
# --use-default-roles. Its create-default-roles works with AWS's own endpoints only.
DEFAULT_ROLES = frozenset({"EMR_DefaultRole", "EMR_EC2_DefaultRole", "EMR_AutoScaling_DefaultRole"})
#: EMR's policy where a request has an empty one.
DEFAULT_AUTO_TERMINATION = {"IdleTimeout": 3600}
_MAX_CONCURRENCY = 256
_MAX_ID_LISTS = {"JobFlowIds": 10, "StepIds": 256}
_BOOTSTRAP_PATH = re.compile(r"(s3[an]?://[^/]+/.+|file:/.+)")
_LOG_URI = re.compile(r"s3[an]?://([^/]+)(/.*)?")
# The first releases of 5.x and 6.x with these features; all later series have them.
_FIRST_RELEASES = {
    "StepConcurrencyLevel": ((5, 28), (6, 0)),
    "ManagedScalingPolicy": ((5, 30), (6, 1)),
    "AutoTerminationPolicy": ((5, 30), (6, 1)),
    "PlacementGroupConfigs": ((5, 23), (6, 0)),
    "Reconfiguration": ((5, 21), (6, 0)),
    # Of running steps.
    "CancelSteps": ((5, 28), (6, 0)),
}
_NOT_SUPPORTED = {
    "AutoTerminationPolicy": (
        "Auto-termination is not available for this account when using this release of EMR."
    ),
}
_PASSWORDS = ("KdcAdminPassword", "CrossRealmTrustPrincipalPassword", "ADDomainJoinPassword")


def check_cluster(service: Service, cluster: EmulatedCluster) -> None:
    """Raise EMR's error for a RunJobFlow request that EMR rejects."""
    ask = cluster.request
    _check_release(service, cluster)
    _check_roles(cluster)
    _check_names(service, cluster)
    check_concurrency(cluster.concurrency)
    check_tags(ask.get("Tags", []))
    check_classifications(ask.get("Configurations", []))
    _check_bootstrap_actions(ask.get("BootstrapActions", []))
    check_log_uri(ask.get("LogUri"))
    for placement in ask.get("PlacementGroupConfigs", []):
        if placement["InstanceRole"] != model.MASTER:
            raise ApiError("PlacementGroupConfigs support the instance role MASTER only.")
    if cluster.auto_termination is not None:
        check_auto_termination(cluster.auto_termination)
    if cluster.managed_scaling is not None:
        check_managed_scaling(cluster, cluster.managed_scaling)
    if ask.get("EbsRootVolumeSize", 10) < 10:
        raise ApiError("EbsRootVolumeSize must be at least 10 GiB.")
    if ask.get("KerberosAttributes") and not ask.get("SecurityConfiguration"):
        raise ApiError("KerberosAttributes need a SecurityConfiguration that enables Kerberos.")
    if ask.get("SessionEnabled"):
        raise ApiError("The local EMR does not support sessions: omit SessionEnabled.")
    if ask["Instances"].get("Ec2SubnetIds") and not cluster.has_fleets:
        raise ApiError("Ec2SubnetIds is only allowed with instance fleets. Use Ec2SubnetId.")
    check_network(cluster)


def _check_release(service: Service, cluster: EmulatedCluster) -> None:
    label = cluster.request.get("ReleaseLabel", "")
    if not label or cluster.request.get("AmiVersion"):
        raise ApiError("ReleaseLabel is required by the local EMR, without AmiVersion.")
    check_release_label(label, service.release_labels(cluster.region))
    for member in _FIRST_RELEASES:
        if cluster.request.get(member) not in (None, 1, []):
            check_feature(cluster, member)
    try:
        spark_install.of(cluster)
    except SpecError as error:
        raise ApiError(f"{error.message}. {error.hint}") from error


def supports(cluster: EmulatedCluster, feature: str) -> bool:
    """Whether the cluster's release has a feature of `_FIRST_RELEASES`."""
    release = releases.order(cluster.request["ReleaseLabel"])[:2]
    firsts = _FIRST_RELEASES[feature]
    first = {5: firsts[0], 6: firsts[1]}.get(release[0], (release[0], 0))
    return release[0] >= 5 and release >= first


def check_feature(cluster: EmulatedCluster, feature: str) -> None:
    """Raise EMR's error if the cluster's release does not have the feature."""
    if not supports(cluster, feature):
        label = cluster.request["ReleaseLabel"]
        raise ApiError(_NOT_SUPPORTED.get(feature, f"{feature} is not supported by {label}."))


def remove_passwords(ask: dict[str, Any]) -> None:
    """Remove the passwords of Kerberos from a RunJobFlow request: EMR does not return them."""
    if kerberos := ask.get("KerberosAttributes"):
        kept = {name: value for name, value in kerberos.items() if name not in _PASSWORDS}
        ask["KerberosAttributes"] = kept


def check_release_label(label: str, labels: Sequence[str]) -> None:
    """Raise EMR's error for a label that cannot be a release; later releases are accepted."""
    if fault := releases.fault(label, labels):
        raise ApiError(f"The supplied release label is invalid: {label} ({fault}).")


def _check_roles(cluster: EmulatedCluster) -> None:
    """Raise EMR's error for roles and profiles that do not exist; names and ARNs are accepted."""
    from moto.iam.models import iam_backends

    iam = iam_backends[cluster.account]["aws"]
    roles = {name for one in iam.get_roles() for name in (one.name, one.arn)}
    profiles = {name for one in iam.get_instance_profiles() for name in (one.name, one.arn)}
    for member, names, message in (
        ("ServiceRole", roles, "Service role {} is invalid."),
        ("JobFlowRole", profiles, "Invalid InstanceProfile: {}."),
        ("AutoScalingRole", roles, "Auto Scaling role {} is invalid."),
    ):
        name = cluster.request.get(member)
        known = name is None or name in names or name.rpartition("/")[2] in DEFAULT_ROLES
        if not known:
            raise ApiError(message.format(name))


def _check_names(service: Service, cluster: EmulatedCluster) -> None:
    """Raise EMR's error for an unknown security configuration, key pair or application."""
    from moto.ec2.models import ec2_backends

    ask = cluster.request
    configuration = ask.get("SecurityConfiguration")
    if configuration and (cluster.region, configuration) not in service.security_configurations:
        raise invalid(f"Security configuration with name '{configuration}' does not exist.")
    key = ask["Instances"].get("Ec2KeyName")
    if key and key not in ec2_backends[cluster.account][cluster.region].key_pairs:
        raise ApiError(f"The EC2 key pair '{key}' does not exist.")
    label = ask["ReleaseLabel"]
    # EMR ignores case in their names.
    applications = {name.lower() for name in releases.release(label).applications}
    for application in ask.get("Applications", []):
        name = application.get("Name", "")
        if name.lower() not in applications:
            raise ApiError(f"The application '{name}' is not supported by release {label}.")


def check_concurrency(level: int) -> None:
    """Raise EMR's error for a StepConcurrencyLevel out of range."""
    if not 1 <= level <= _MAX_CONCURRENCY:
        raise ApiError(f"StepConcurrencyLevel must be between 1 and {_MAX_CONCURRENCY}.")


def check_tags(tags: Sequence[Mapping[str, Any]]) -> None:
    """Raise EMR's error for tags that AWS rejects."""
    keys = [tag.get("Key", "") for tag in tags]
    for tag, key in zip(tags, keys, strict=True):
        if fault := rules.tag_key_fault(key) or rules.tag_value_fault(tag.get("Value", "")):
            raise ApiError(f"The tag '{key}' is not valid: {fault}.")
    if len(keys) > rules.MAX_TAGS:
        raise ApiError(f"A resource has at most {rules.MAX_TAGS} tags.")
    if again := rules.repeated(keys):
        raise ApiError(f"The tag '{again[1]}' is given twice.")


def _check_bootstrap_actions(actions: Sequence[Mapping[str, Any]]) -> None:
    if len(actions) > 16:
        raise ApiError("A cluster has at most 16 bootstrap actions.")
    for action in actions:
        path = action["ScriptBootstrapAction"]["Path"]
        if not _BOOTSTRAP_PATH.fullmatch(path):
            raise ApiError(
                f"Invalid bootstrap action path '{path}', must be a location in Amazon S3 or a "
                "local path starting with 'file:'."
            )


def check_log_uri(uri: str | None) -> None:
    """Raise EMR's error for a LogUri that is not a folder in Amazon S3."""
    if uri is None:
        return
    match = _LOG_URI.fullmatch(uri)
    if match is None:
        raise ApiError(f"LogUri '{uri}' is not the address of a folder in Amazon S3.")
    if fault := rules.bucket_fault(match[1]):
        raise ApiError(f"LogUri '{uri}' is invalid: {fault}.")


def check_auto_termination(policy: Mapping[str, Any]) -> None:
    """Raise EMR's error for an idle timeout out of range."""
    if not 60 <= policy["IdleTimeout"] <= 604_800:
        raise ApiError("IdleTimeout must be between 60 and 604800 seconds.")


def check_managed_scaling(cluster: EmulatedCluster, policy: Mapping[str, Any]) -> None:
    """Raise EMR's error for a managed scaling policy with impossible limits."""
    limits = policy.get("ComputeLimits")
    if limits is None:
        raise ApiError("A managed scaling policy needs ComputeLimits.")
    low, high = limits["MinimumCapacityUnits"], limits["MaximumCapacityUnits"]
    if not 1 <= low <= high:
        raise ApiError(
            f"MinimumCapacityUnits ({low}) must be at least 1 and at most "
            f"MaximumCapacityUnits ({high})."
        )
    for name in ("MaximumOnDemandCapacityUnits", "MaximumCoreCapacityUnits"):
        if not 0 <= limits.get(name, 0) <= high:
            raise ApiError(f"{name} must be between 0 and MaximumCapacityUnits ({high}).")
    if policy.get("UtilizationPerformanceIndex", 1) not in (1, 25, 50, 75, 100):
        raise ApiError("UtilizationPerformanceIndex must be 1, 25, 50, 75 or 100.")
    if any(group.auto_scaling for group in cluster.groups):
        raise ApiError("A cluster with an automatic scaling policy cannot have managed scaling.")
    if (limits["UnitType"] == "InstanceFleetUnits") != cluster.has_fleets:
        fleets = "instance fleets" if cluster.has_fleets else "instance groups"
        raise ApiError(f"UnitType {limits['UnitType']} is not allowed for {fleets}.")


def check_id_lists(members: Mapping[str, Any]) -> None:
    """Raise EMR's error for a list of more ids than a request may have."""
    for name, limit in _MAX_ID_LISTS.items():
        if len(members.get(name, [])) > limit:
            raise ApiError(f"{name} has at most {limit} ids, not {len(members[name])}.")


def has_runtime_roles(service: Service, cluster: EmulatedCluster) -> bool:
    """Whether the cluster's security configuration enables runtime roles."""
    key = (cluster.region, cluster.request.get("SecurityConfiguration", ""))
    stored = service.security_configurations.get(key)
    settings = json.loads(stored["SecurityConfiguration"]) if stored else {}
    for name in ("AuthorizationConfiguration", "IAMConfiguration"):
        settings = settings.get(name)
        if not isinstance(settings, dict):
            return False
    return settings.get("EnableApplicationScopedIAMRole") in (True, "true")


def check_execution_role(service: Service, cluster: EmulatedCluster, role: str | None) -> None:
    """Raise EMR's error for a runtime role on a cluster that is not enabled for them."""
    if role and not has_runtime_roles(service, cluster):
        raise ApiError(f"Cluster {cluster.id} is not enabled for runtime roles.")
