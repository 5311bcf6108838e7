"""Configurations as numbers: the columns of the surrogate model in `emrctl.tune.surrogate`.

The words in a feature's name decide what it is: how many machines or executors there are, and the
cores, memory and price of each. Names of EC2 instance types are replaced by what emrctl's tables
contain about them. Other features become plain columns or categories.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from emrctl.aws.instance_types import INSTANCE_TYPES

Value = float | str
Column = Sequence[float]
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])i?b?", re.IGNORECASE)
_TYPE = re.compile(r"([a-z]+)\d+[a-z-]*\.(?:(\d*)x)?(medium|large|metal)", re.IGNORECASE)
_UNITS_MB = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2}
# GiB of memory and USD per hour (us-east-1, on demand) of a vCPU, for types that are in no table.
_FAMILIES = {"c": (2.0, 0.045), "m": (4.0, 0.05), "r": (8.0, 0.066), "x": (16.0, 0.09)}
# The first match counts: `core_instance_count` is a count, `executor_memory_gb` is memory.
_ROLES = {
    "": {"driver", "overhead", "fraction", "min", "max", "initial", "partitions", "parallelism"},
    "count": {
        *("count", "instances", "nodes", "workers", "machines", "hosts", "servers", "vms"),
        *("executors", "scaleout"),
    },
    "price": {"price", "prices", "usd", "dollars"},
    "memory": {"memory", "mem", "ram"},
    "cores": {"vcpu", "vcpus", "cpu", "cpus", "core", "cores", "slots"},
}
_LOG_RANGE = 3.0  # positive numbers that span at least this factor are compared by their ratio
_SAME = 1e-9


@dataclass
class Encoded:
    """The columns of `size` candidates; each has one value per candidate.

    `machine` has centred logarithms by role: cores and memory (of the whole cluster), count, ratio
    (memory per core), price (of the whole cluster). `plain` has the other numbers, scaled to
    0 … 1. `categories` has the number of each text feature's level. Constant columns are left out.
    """

    size: int
    machine: dict[str, list[float]] = field(default_factory=dict)
    plain: dict[str, list[float]] = field(default_factory=dict)
    categories: dict[str, list[int]] = field(default_factory=dict)


def encode(candidates: Sequence[Mapping[str, Value]]) -> Encoded:
    """Return the columns of `candidates`. A missing number is replaced by the feature's median."""
    encoded = Encoded(size=len(candidates))
    units: dict[tuple[str, str], list[float]] = {}
    decoded: dict[tuple[str, str], list[float]] = {}
    for name in dict.fromkeys(name for item in candidates for name in item):
        values = [item.get(name) for item in candidates]
        numbers = _numbers(values)
        if numbers is None:
            texts = [str(value) for value in values]
            _add_category(encoded, name, texts)
            decoded |= _decode_types(encoded, name, texts)
            continue
        role = classify(name)
        if role[1] and role not in units and min(numbers) > 0:
            units[role] = numbers
        else:
            _add_plain(encoded, name, numbers)
    _add_machine(encoded, decoded | units)
    return encoded


def classify(name: str) -> tuple[str, str]:
    """Return whether a feature is of nodes or executors, and its role, empty if it has none."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower().replace("scale_out", "scaleout")
    words = set(re.findall(r"[a-z]+", spaced))
    role = next((role for role, known in _ROLES.items() if words & known), "")
    return "executor" if words & {"executor", "executors"} else "node", role


def _numbers(values: Sequence[Value | None]) -> list[float] | None:
    """Return the values as numbers, sizes such as 4g in MB; None if one is another text."""
    numbers = [_number(value) for value in values]
    finite = sorted(value for value in numbers if value is not None and math.isfinite(value))
    if not finite or any(value is None for value in numbers):
        return None
    median = finite[len(finite) // 2]
    return [value if value is not None and math.isfinite(value) else median for value in numbers]


def _number(value: Value | None) -> float | None:
    if value is None:
        return math.nan
    if isinstance(value, str) and (size := _SIZE.fullmatch(value.strip())):
        return float(size[1]) * _UNITS_MB[size[2].lower()]
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _add_category(encoded: Encoded, name: str, texts: Sequence[str]) -> None:
    levels = {text: at for at, text in enumerate(dict.fromkeys(texts))}
    column = [levels[text] for text in texts]
    if len(levels) > 1 and column not in encoded.categories.values():
        encoded.categories[name] = column


def _decode_types(
    encoded: Encoded, name: str, texts: Sequence[str]
) -> dict[tuple[str, str], list[float]]:
    """Return vCPUs, memory and price of the instance types, if all texts are instance types."""
    facts = {text: _instance_type(text) for text in dict.fromkeys(texts)}
    columns = [found for text in texts if (found := facts[text]) is not None]
    if len(columns) < len(texts):
        return {}
    _add_category(encoded, f"family of {name}", [text.partition(".")[0] for text in texts])
    return {
        ("node", role): [column[at] for column in columns]
        for at, role in enumerate(("cores", "memory", "price"))
    }


def _instance_type(name: str) -> tuple[float, float, float] | None:
    """Return vCPUs, GiB of memory and USD per hour; by rule for types that are in no table."""
    item = INSTANCE_TYPES.get(name)
    if item is not None:
        return item.vcpus, item.memory_gib, item.ec2_usd
    parts = _TYPE.fullmatch(name)
    if parts is None:
        return None
    gib, usd = _FAMILIES.get(parts[1][0].lower(), _FAMILIES["m"])
    vcpus = 2 if parts[2] is None else 4 * int(parts[2] or 1)
    return vcpus, gib * vcpus, usd * vcpus


def _add_plain(encoded: Encoded, name: str, numbers: Column) -> None:
    low, high = min(numbers), max(numbers)
    if low > 0 and high / low >= _LOG_RANGE:
        numbers = _log(numbers)
        low, high = min(numbers), max(numbers)
    if high - low > _SAME:
        encoded.plain[name] = [(value - low) / (high - low) for value in numbers]


def _add_machine(encoded: Encoded, units: Mapping[tuple[str, str], Column]) -> None:
    """Add the totals of the executors if their number is known, otherwise those of the nodes."""
    owner = "executor" if ("executor", "count") in units or not _owned(units, "node") else "node"
    other = "node" if owner == "executor" else "executor"
    for role, values in _owned(units, other).items():
        if role != "price":
            _add_plain(encoded, f"{other} {role}", values)
    own = {role: _log(values) for role, values in _owned(units, owner).items() if role != "price"}
    count = own.get("count", [0.0] * encoded.size)
    columns = {"count": count} if own else {}
    columns |= {role: _total(own[role], count) for role in ("cores", "memory") if role in own}
    if own and "cores" not in own:
        columns["cores"] = count
    if "memory" in own:
        pairs = zip(columns["memory"], columns["cores"], strict=True)
        columns["ratio"] = [memory - cores for memory, cores in pairs]
    nodes = _log(units.get(("node", "count"), [1.0] * encoded.size))
    columns["price"] = (
        _total(_log(units[key]), nodes) if (key := ("node", "price")) in units else nodes
    )
    for role, column in columns.items():
        mean = sum(column) / len(column)
        if max(column) - min(column) > _SAME:
            encoded.machine[role] = [value - mean for value in column]


def _owned(units: Mapping[tuple[str, str], Column], owner: str) -> dict[str, Column]:
    return {role: values for (of, role), values in units.items() if of == owner}


def _log(values: Iterable[float]) -> list[float]:
    return [math.log(value) for value in values]


def _total(values: Column, count: Column) -> list[float]:
    """Return the cluster's totals from one machine's `values`, unless they are totals already.

    Totals grow with the count: less than half as many values are left after a division by it.
    """
    shares = {round(value - number, 6) for value, number in zip(values, count, strict=True)}
    different = {round(value, 6) for value in values}
    if len(set(count)) >= 3 and 2 * len(shares) <= len(different):
        return list(values)
    return [value + number for value, number in zip(values, count, strict=True)]
