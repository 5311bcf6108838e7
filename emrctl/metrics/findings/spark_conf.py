"""Parse a run's Spark properties: numbers, sizes and booleans."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?\s*", re.IGNORECASE)
_UNITS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


class SparkConf:
    """A run's Spark properties; the caller passes the default of properties that are not set."""

    def __init__(self, properties: Mapping[str, str], version: str | None) -> None:
        self._properties = properties
        self.version = _version(version)

    def text(self, key: str, default: str = "") -> str:
        """Return the property as text."""
        return self._properties.get(key, default)

    def number(self, key: str) -> int | None:
        """Return an integer; None if it is not set or not an integer."""
        text = self.text(key).strip()
        return int(text) if text.isdecimal() else None

    def on(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean."""
        return self.text(key, str(default)).strip().lower() == "true"

    def mb(self, key: str, default: str) -> int:
        """Return a size in MB; numbers without a unit are MB, as in Spark's memory settings."""
        match = _SIZE.fullmatch(self.text(key, default)) or _SIZE.fullmatch(default)
        if match is None:
            return 0
        power = _UNITS.get(match[2].lower(), 2)
        return int(float(match[1]) * 1024 ** (power - 2))

    @property
    def adaptive(self) -> bool:
        """Whether adaptive query execution is on; the default since Spark 3.2."""
        return self.on("spark.sql.adaptive.enabled", default=self.version >= (3, 2))

    @property
    def dynamic(self) -> bool:
        """Whether dynamic allocation is on."""
        return self.on("spark.dynamicAllocation.enabled")

    @property
    def local(self) -> bool:
        """Whether the master is local: driver and executor are one process."""
        return bool(re.match(r"local(\[|$)", self.text("spark.master")))

    @property
    def heap_mb(self) -> int:
        """Heap of each executor in MB; the driver's if the master is local."""
        if self.local:
            return self.mb("spark.driver.memory", "1g")
        return self.mb("spark.executor.memory", "1g")

    @property
    def requested_executors(self) -> int | None:
        """Minimum number of executors requested; None if it was left to the cluster."""
        counts = [self.number("spark.executor.instances")]
        if self.dynamic:
            names = ("initialExecutors", "minExecutors")
            counts += [self.number(f"spark.dynamicAllocation.{name}") for name in names]
        return max((count for count in counts if count), default=None)

    def differs(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Return those of the wanted settings that are not in effect already."""
        return {key: value for key, value in wanted.items() if self.text(key) != value}


def _version(text: str | None) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", text or "")
    return (int(match[1]), int(match[2])) if match else (0, 0)
