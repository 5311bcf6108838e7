"""Instance types: size, YARN memory on EMR, and prices in one region.

YARN memory comes from the task configuration tables of the EMR release guide, or for other types
from a rule that fits all listed ones (`yarn_derived`). Prices come from the shipped table
(`prices.json`) for `PRICES_REGION`; `emrctl.aws.prices` covers other regions.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl.errors import SpecError

PRICES_AS_OF = "2026-11-20"
PRICES_REGION = "us-east-1"
SHIPPED = Path(__file__).parent / "prices.json"

# Spark's default is 0.10; EMR's is larger since Python workers use the overhead.
MEMORY_OVERHEAD_FACTOR = 0.1875
YARN_MINIMUM_ALLOCATION_MB = 32
# EMR's fee if no list has it: a share of EC2's price up to a maximum per hour.
FEE_SHARE, MAX_FEE_USD = 0.25, 0.27


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """An EC2 instance type; prices in USD per hour.

    Types without `emr` are not supported by EMR: they are for `kind: ec2` and have no fee.
    """

    name: str
    vcpus: int
    memory_gib: float
    yarn_mb: int
    yarn_derived: bool
    arch: str
    gpus: int = 0
    emr: bool = True

    @property
    def family(self) -> str:
        """`m5` of m5.xlarge."""
        return self.name.partition(".")[0]

    @property
    def ec2_usd(self) -> float:
        """EC2's on-demand price in `PRICES_REGION` in the shipped table."""
        return float(shipped()["regions"][PRICES_REGION]["ec2"][self.name])

    @property
    def emr_usd(self) -> float:
        """EMR's fee in `PRICES_REGION`."""
        return self.fee_usd(self.ec2_usd, shipped()["regions"][PRICES_REGION]["emr"].get(self.name))

    def fee_usd(self, ec2_usd: float, listed: float | None) -> float:
        """Return EMR's fee: the listed one or the rule's; 0 if EMR does not support the type."""
        if not self.emr:
            return 0.0
        return emr_fee(ec2_usd) if listed is None else float(listed)

    @property
    def executors(self) -> int:
        """Number of EMR's default executors per node: one per four vCPUs."""
        return max(1, self.vcpus // 4)

    @property
    def executor_cores(self) -> int:
        """Cores of EMR's default executor on this type."""
        return min(self.vcpus, 4)

    @property
    def executor_memory_mb(self) -> int:
        """Heap of EMR's default executor: YARN's memory less overhead and a twelfth.

        The rule is inferred from the values that AWS publishes (9486M on m5.xlarge, 18971M on
        r5.xlarge).
        """
        share = self.yarn_mb / self.executors
        return math.ceil(share * 11 / 12 / (1 + MEMORY_OVERHEAD_FACTOR))


@functools.cache
def shipped() -> dict[str, Any]:
    """Return the price table of the package."""
    table: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return table


def emr_fee(ec2_usd: float) -> float:
    """Return EMR's fee by rule, for types that are not listed."""
    return min(FEE_SHARE * ec2_usd, MAX_FEE_USD)


_UP_TO_24 = "xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge"
_UP_TO_16 = "xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"
_C5 = "xlarge 2xlarge 4xlarge 9xlarge 12xlarge 18xlarge 24xlarge"
_OLD = "xlarge 2xlarge 4xlarge 8xlarge 16xlarge"
# GiB per vCPU, and the sizes; `xlarge` has 4 vCPUs, `nxlarge` n times as many.
_FAMILIES: dict[str, tuple[float, str]] = {
    "m4": (4, "large xlarge 2xlarge 4xlarge 16xlarge"),
    **dict.fromkeys(("m5", "m5a", "m5d", "m6i", "m6a", "m7i"), (4, _UP_TO_24)),
    **dict.fromkeys(("m6g", "m7g"), (4, _UP_TO_16)),
    "c4": (1.875, "large xlarge 2xlarge 4xlarge"),
    "c5": (2, _C5),
    "c6i": (2, _UP_TO_24),
    **dict.fromkeys(("c6g", "c7g"), (2, _UP_TO_16)),
    "r4": (7.625, _OLD),
    **dict.fromkeys(("r5", "r6i"), (8, _UP_TO_24)),
    **dict.fromkeys(("r6g", "r7g"), (8, _UP_TO_16)),
    "i3": (7.625, _OLD),
    "i4i": (8, _OLD),
    **dict.fromkeys(("g4dn", "g5"), (4, _UP_TO_16)),
    "p3": (7.625, "2xlarge 8xlarge 16xlarge"),
}
# Types that EMR does not support.
_EC2_ONLY: dict[str, tuple[float, str]] = {
    **dict.fromkeys(("t3", "t3a", "t4g"), (4, "medium large xlarge 2xlarge")),
    **dict.fromkeys(("m5", "m5a", "m5d", "m6i", "m6a", "m7i", "m6g", "m7g"), (4, "large")),
    **dict.fromkeys(("c5", "c6i", "c6g", "c7g"), (2, "large")),
    **dict.fromkeys(("r5", "r6i", "r6g", "r7g"), (8, "large")),
    "r4": (7.625, "large"),
}
_ARM = frozenset({"t4g", "m6g", "m7g", "c6g", "c7g", "r6g", "r7g"})
# NVIDIA GPUs per instance: one in these families, except in these sizes.
_GPU_FAMILIES = frozenset({"g4dn", "g5", "p3"})
_GPUS = {"g4dn.12xlarge": 4, "g5.12xlarge": 4, "p3.8xlarge": 4, "p3.16xlarge": 8}
# YARN memory in MB of the types in the release guide's tables.
_LISTED_MB = {
    "m4.large": 6144,
    "m4.xlarge": 12288,
    "m4.2xlarge": 24576,
    "m5.xlarge": 12288,
    "m5.2xlarge": 24576,
    "m5.4xlarge": 57344,
    "m5.12xlarge": 188416,
    "m5a.xlarge": 12288,
    "g4dn.xlarge": 12288,
    "m6g.xlarge": 11712,
    "m6g.2xlarge": 23424,
    "c4.xlarge": 5632,
    "c4.2xlarge": 11520,
    "c4.4xlarge": 23040,
    "c5.xlarge": 6144,
    "c5.2xlarge": 12288,
    "c5.9xlarge": 65536,
    "c6g.xlarge": 5632,
    "r4.xlarge": 23424,
    "r5.xlarge": 24576,
    "r5.2xlarge": 57344,
    "r5.4xlarge": 122880,
    "r6g.xlarge": 23424,
    "i3.xlarge": 23424,
    "p3.2xlarge": 54272,
}


def _yarn_mb(memory_gib: float, *, arm: bool) -> int:
    """Three quarters of the memory; of more than 32 GiB all but 8. Graviton shows 61 of 64 GiB."""
    gib = memory_gib * 61 / 64 if arm else memory_gib
    return int((0.75 * gib if gib <= 32 else gib - 8) * 1024)


def _type(family: str, size: str, per_vcpu: float, *, emr: bool) -> InstanceType:
    small = size in {"medium", "large"}
    vcpus = 2 if small else 4 * int(size.removesuffix("xlarge") or 1)
    name, gib = f"{family}.{size}", per_vcpu * vcpus / (2 if size == "medium" else 1)
    listed = _LISTED_MB.get(name)
    return InstanceType(
        name=name,
        vcpus=vcpus,
        memory_gib=gib,
        yarn_mb=listed or _yarn_mb(gib, arm=family in _ARM),
        yarn_derived=listed is None,
        arch="arm64" if family in _ARM else "x86_64",
        gpus=_GPUS.get(name, 1) if family in _GPU_FAMILIES else 0,
        emr=emr,
    )


INSTANCE_TYPES = {
    item.name: item
    for families, emr in ((_FAMILIES, True), (_EC2_ONLY, False))
    for family, (per_vcpu, sizes) in families.items()
    for item in (_type(family, size, per_vcpu, emr=emr) for size in sizes.split())
}


def instance_type(name: str) -> InstanceType:
    """Return the instance type; raises `SpecError` with the nearest names."""
    type_ = INSTANCE_TYPES.get(name)
    if type_ is None:
        import difflib

        near = difflib.get_close_matches(name, INSTANCE_TYPES, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`emrctl prices` lists them."
        msg = f"instance type '{name}' is not in emrctl's catalog"
        raise SpecError(msg, hint=hint)
    return type_


def emr_type(name: str) -> InstanceType:
    """Return the instance type; raises `SpecError` if EMR does not support it."""
    type_ = instance_type(name)
    if not type_.emr:
        near = (item for item in INSTANCE_TYPES.values() if item.emr and item.arch == type_.arch)
        same = next((item.name for item in near if item.family == type_.family), "m5.xlarge")
        hint = f"Use {same}, or `kind: ec2`."
        raise SpecError(f"EMR does not support the instance type '{name}'", hint=hint)
    return type_


def no_smaller(name: str) -> Iterator[InstanceType]:
    """Yield other types with as many vCPUs, at least as much memory and the same architecture."""
    own = instance_type(name)
    for item in INSTANCE_TYPES.values():
        # Wheels of bootstrap scripts and custom images are for one architecture.
        same = item.vcpus == own.vcpus and item.arch == own.arch and item.emr >= own.emr
        if same and item.memory_gib >= own.memory_gib and item.name != name:
            yield item
