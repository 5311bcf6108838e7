"""Security group rules for SSH from this machine to an instance.

If none of an instance's groups allows SSH from loopback, its SSH server does not listen:
connections are refused, while on EC2 they would time out.
"""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any

_SSH = 22
_CALLER = ipaddress.IPv4Address("127.0.0.1")


def allows_ssh(record: Any) -> bool:
    """Return whether the instance's groups allow SSH; a VPC's default group always does."""
    groups = list(record.nics[0].group_set) if record.nics else []
    rules = [rule for group in groups for rule in group.ingress_rules]
    return all(group.is_default for group in groups) or any(_allows_ssh(rule) for rule in rules)


def _allows_ssh(rule: Any) -> bool:
    if rule.ip_protocol not in ("tcp", "-1") or rule.cidr_ipv4 is None:
        return False
    if rule.ip_protocol == "tcp" and not rule.from_port <= _SSH <= rule.to_port:
        return False
    with contextlib.suppress(ValueError):
        return _CALLER in ipaddress.IPv4Network(rule.cidr_ipv4, strict=False)
    return False
