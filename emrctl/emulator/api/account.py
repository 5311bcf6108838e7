"""EMR API operations on an account: releases, security configurations, public access."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from emrctl.aws import releases
from emrctl.emulator.api.service import Operation, Request, invalid

# EMR permits public access through port 22 until the setting is changed.
_PUBLIC_ACCESS = {
    "BlockPublicSecurityGroupRules": True,
    "PermittedPublicSecurityGroupRuleRanges": [{"MinRange": 22, "MaxRange": 22}],
}


def _list_release_labels(request: Request) -> dict[str, Any]:
    filters = request.members.get("Filters", {})
    labels = request.service.release_labels(request.region)
    if application := filters.get("Application"):
        name, _, version = application.lower().partition("@")
        labels = [label for label in labels if _has(label, name, version)]
    prefix = filters.get("Prefix", "")
    rows = [label for label in labels if label.startswith(prefix)]
    return request.page("ReleaseLabels", rows, size=1000, marker="NextToken")


def _has(label: str, name: str, version: str) -> bool:
    """Whether a release has that version of the application."""
    versions = {key.lower(): value for key, value in releases.release(label).versions.items()}
    return name in versions and version in ("", versions[name])


def _describe_release_label(request: Request) -> dict[str, Any]:
    label = request.members.get("ReleaseLabel", "")
    if label not in request.service.release_labels(request.region):
        raise invalid(f"Release label '{label}' is not valid.")
    versions = releases.release(label).versions
    rows = [{"Name": name} | ({"Version": v} if v else {}) for name, v in versions.items()]
    page = request.page("Applications", rows, size=100, marker="NextToken")
    return {"ReleaseLabel": label, "AvailableOSReleases": []} | page


def _list_supported_instance_types(request: Request) -> dict[str, Any]:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.emr.models import emr_backends

    label = request.members["ReleaseLabel"]
    if label not in request.service.release_labels(request.region):
        raise invalid(f"Release label '{label}' is not valid.")
    types = emr_backends[DEFAULT_ACCOUNT_ID][request.region].list_supported_instance_types(label)
    return request.page("SupportedInstanceTypes", types, size=500)


# -- security configurations


def _create_security_configuration(request: Request) -> dict[str, Any]:
    name, text = request.members["Name"], request.members["SecurityConfiguration"]
    stored = request.service.security_configurations
    if (request.region, name) in stored:
        raise invalid(f"SecurityConfiguration with name '{name}' already exists.")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not name or not isinstance(document, dict):
        raise invalid("Provided security configuration needs a name and a JSON object.")
    created = time.time()
    stored[request.region, name] = {
        "Name": name,
        "SecurityConfiguration": text,
        "CreationDateTime": created,
    }
    return {"Name": name, "CreationDateTime": created}


def _security_configuration(request: Request) -> dict[str, Any]:
    name = request.members["Name"]
    found = request.service.security_configurations.get((request.region, name))
    if found is None:
        raise invalid(f"Security configuration with name '{name}' does not exist.")
    return found


def _delete_security_configuration(request: Request) -> dict[str, Any]:
    name = _security_configuration(request)["Name"]
    del request.service.security_configurations[request.region, name]
    return {}


def _list_security_configurations(request: Request) -> dict[str, Any]:
    return request.page("SecurityConfigurations", list(_rows(request)))


def _rows(request: Request) -> Iterator[Mapping[str, Any]]:
    for (region, name), one in request.service.security_configurations.items():
        if region == request.region:
            yield {"Name": name, "CreationDateTime": one["CreationDateTime"]}


# -- block public access


def _get_block_public_access(request: Request) -> dict[str, Any]:
    stored = request.service.public_access.get(request.region)
    return stored or {
        "BlockPublicAccessConfiguration": _PUBLIC_ACCESS,
        "BlockPublicAccessConfigurationMetadata": _changed_now(),
    }


def _put_block_public_access(request: Request) -> dict[str, Any]:
    configuration = request.members["BlockPublicAccessConfiguration"]
    for ports in configuration.get("PermittedPublicSecurityGroupRuleRanges", []):
        low, high = ports["MinRange"], ports.get("MaxRange", ports["MinRange"])
        if low > high:
            raise invalid(f"The port range {low}-{high} is not valid.")
    request.service.public_access[request.region] = {
        "BlockPublicAccessConfiguration": configuration,
        "BlockPublicAccessConfigurationMetadata": _changed_now(),
    }
    return {}


def _changed_now() -> dict[str, Any]:
    from moto.core import DEFAULT_ACCOUNT_ID

    creator = f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:root"
    return {"CreationDateTime": time.time(), "CreatedByArn": creator}


OPERATIONS: dict[str, Operation] = {
    "ListReleaseLabels": _list_release_labels,
    "DescribeReleaseLabel": _describe_release_label,
    "ListSupportedInstanceTypes": _list_supported_instance_types,
    "CreateSecurityConfiguration": _create_security_configuration,
    "DescribeSecurityConfiguration": lambda request: dict(_security_configuration(request)),
    "DeleteSecurityConfiguration": _delete_security_configuration,
    "ListSecurityConfigurations": _list_security_configurations,
    "GetBlockPublicAccessConfiguration": _get_block_public_access,
    "PutBlockPublicAccessConfiguration": _put_block_public_access,
}
