"""Instance types: their size, what EMR gives YARN on them, and what they cost.

Sources: the EMR release guide's task configuration tables for YARN memory; AWS's public
on-demand price list for us-east-1, Linux, as of `PRICES_AS_OF`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emrctl.errors import SpecError

PRICES_AS_OF = "2026-11-20"
PRICES_REGION = "us-east-1"

# EMR raises Spark's own 0.10: Python workers live in the overhead.
MEMORY_OVERHEAD_FACTOR = 0.1875
MINIMUM_OVERHEAD_MB = 384
YARN_MINIMUM_ALLOCATION_MB = 32


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """One EC2 instance type as EMR sees it; prices in US dollars an hour."""

    name: str
    vcpus: int
    memory_gib: float
    yarn_mb: int
    ec2_usd: float
    emr_usd: float

    @property
    def hourly_usd(self) -> float:
        """EC2 on demand and EMR's fee together."""
        return self.ec2_usd + self.emr_usd

    @property
    def executors(self) -> int:
        """How many default executors EMR plans for a node: one for each four vCPUs."""
        return max(1, self.vcpus // 4)

    @property
    def executor_cores(self) -> int:
        """Cores of EMR's default executor on this type."""
        return min(self.vcpus, 4)

    @property
    def executor_memory_mb(self) -> int:
        """Heap of EMR's default executor: YARN's memory less overhead and a twelfth.

        The rule is inferred; it gives the two values that AWS publishes (9486M on m5.xlarge,
        18971M on r5.xlarge).
        """
        share = self.yarn_mb / self.executors
        return math.ceil(share * 11 / 12 / (1 + MEMORY_OVERHEAD_FACTOR))


def container_mb(memory_mb: int, overhead_mb: int | None = None) -> int:
    """Size of the YARN container that holds a heap of `memory_mb`, as YARN rounds it up."""
    factor_mb = int(memory_mb * MEMORY_OVERHEAD_FACTOR)
    overhead = max(MINIMUM_OVERHEAD_MB, factor_mb) if overhead_mb is None else overhead_mb
    units = math.ceil((memory_mb + overhead) / YARN_MINIMUM_ALLOCATION_MB)
    return units * YARN_MINIMUM_ALLOCATION_MB


# name, vCPUs, GiB, YARN MB, EC2 and EMR in USD an hour
_ROWS: tuple[tuple[str, int, float, int, float, float], ...] = (
    ("m4.large", 2, 8, 6144, 0.100, 0.030),
    ("m4.xlarge", 4, 16, 12288, 0.200, 0.060),
    ("m5.xlarge", 4, 16, 12288, 0.192, 0.048),
    ("m5.2xlarge", 8, 32, 24576, 0.384, 0.096),
    ("m5.4xlarge", 16, 64, 57344, 0.768, 0.192),
    ("m6i.xlarge", 4, 16, 12288, 0.192, 0.048),
    ("m6g.xlarge", 4, 16, 11712, 0.154, 0.0385),
    ("m7g.xlarge", 4, 16, 11712, 0.1632, 0.0408),
    ("c4.xlarge", 4, 7.5, 5632, 0.199, 0.052),
    ("c5.xlarge", 4, 8, 6144, 0.170, 0.043),
    ("c5.2xlarge", 8, 16, 12288, 0.340, 0.085),
    ("c6g.xlarge", 4, 8, 5632, 0.136, 0.034),
    ("r4.xlarge", 4, 30.5, 23424, 0.266, 0.067),
    ("r5.xlarge", 4, 32, 24576, 0.252, 0.063),
    ("r5.2xlarge", 8, 64, 57344, 0.504, 0.126),
    ("r5.4xlarge", 16, 128, 122880, 1.008, 0.252),
    ("r6g.xlarge", 4, 32, 23424, 0.2016, 0.0504),
    ("i3.xlarge", 4, 30.5, 23424, 0.312, 0.078),
    ("g4dn.xlarge", 4, 16, 12288, 0.526, 0.132),
    ("p3.2xlarge", 8, 61, 54272, 3.06, 0.27),
)

INSTANCE_TYPES = {
    name: InstanceType(
        name=name, vcpus=vcpus, memory_gib=gib, yarn_mb=yarn_mb, ec2_usd=ec2, emr_usd=emr
    )
    for name, vcpus, gib, yarn_mb, ec2, emr in _ROWS
}


def instance_type(name: str) -> InstanceType:
    """The instance type called `name`; `SpecError` names the nearest where there is none."""
    found = INSTANCE_TYPES.get(name)
    if found is None:
        import difflib

        near = difflib.get_close_matches(name, INSTANCE_TYPES, n=3, cutoff=0.4)
        hint = (
            f"Did you mean {' or '.join(near)}?" if near else "See emrctl/catalog.py for the list."
        )
        msg = f"instance type '{name}' is not in emrctl's catalog"
        raise SpecError(msg, hint=hint)
    return found
