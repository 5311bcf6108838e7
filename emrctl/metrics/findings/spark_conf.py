"""Spark's settings as a run had them: numbers, sizes and switches out of their texts."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?\s*", re.IGNORECASE)
_UNITS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


class Settings:
    """What was set; what was not has Spark's default, which the caller names."""

    def __init__(self, properties: Mapping[str, str], version: str | None) -> None:
        self._properties = properties
        self.version = _version(version)

    def text(self, key: str, default: str = "") -> str:
        """The setting as it stands."""
        return self._properties.get(key, default)

    def number(self, key: str) -> int | None:
        """A whole number; None where it is not set or is none."""
        text = self.text(key).strip()
        return int(text) if text.isdecimal() else None

    def on(self, key: str, *, default: bool = False) -> bool:
        """A switch."""
        return self.text(key, str(default)).strip().lower() == "true"

    def mb(self, key: str, default: str) -> int:
        """A size in MB; bare numbers are MB, as in all of Spark's memory settings."""
        found = _SIZE.fullmatch(self.text(key, default)) or _SIZE.fullmatch(default)
        if found is None:
            return 0
        power = _UNITS.get(found[2].lower(), 2)
        return int(float(found[1]) * 1024 ** (power - 2))

    @property
    def adaptive(self) -> bool:
        """Whether queries are planned again while they run; the default since Spark 3.2."""
        return self.on("spark.sql.adaptive.enabled", default=self.version >= (3, 2))

    @property
    def dynamic(self) -> bool:
        """Whether executors come and go with the work."""
        return self.on("spark.dynamicAllocation.enabled")

    @property
    def local(self) -> bool:
        """Whether driver and executor are one process."""
        return bool(re.match(r"local(\[|$)", self.text("spark.master")))

    @property
    def heap_mb(self) -> int:
        """Heap of each executor; locally it is the driver's."""
        if self.local:
            return self.mb("spark.driver.memory", "1g")
        return self.mb("spark.executor.memory", "1g")

    @property
    def asked_executors(self) -> int | None:
        """Executors that were asked for at the least; None where it was left to the cluster."""
        counts = [self.number("spark.executor.instances")]
        if self.dynamic:
            names = ("initialExecutors", "minExecutors")
            counts += [self.number(f"spark.dynamicAllocation.{name}") for name in names]
        return max((count for count in counts if count), default=None)

    def differs(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Of the wanted settings those that are not in force already."""
        return {key: value for key, value in wanted.items() if self.text(key) != value}


def _version(text: str | None) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text or "")
    return (int(found[1]), int(found[2])) if found else (0, 0)
