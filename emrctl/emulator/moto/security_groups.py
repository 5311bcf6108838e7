"""Security groups, as far as they decide whether this machine may log in to an instance.

Where none of an instance's groups lets SSH in from loopback, nobody listens: a client is refused,
where on EC2 it would wait in vain.
"""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any

_SSH = 22
_CALLER = ipaddress.IPv4Address("127.0.0.1")


def admits(record: Any) -> bool:
    """Whether the instance of that record lets this machine in; VPCs' own groups always do."""
    groups = list(record.nics[0].group_set) if record.nics else []
    rules = [rule for group in groups for rule in group.ingress_rules]
    return all(group.is_default for group in groups) or any(_lets_in(rule) for rule in rules)


def _lets_in(rule: Any) -> bool:
    if rule.ip_protocol not in ("tcp", "-1") or rule.cidr_ipv4 is None:
        return False
    if rule.ip_protocol == "tcp" and not rule.from_port <= _SSH <= rule.to_port:
        return False
    with contextlib.suppress(ValueError):
        return _CALLER in ipaddress.IPv4Network(rule.cidr_ipv4, strict=False)
    return False
