"""The version of Spark that a cluster on localhost runs: one from PyPI, near its release's.

Two versions run without being asked for: that of the installed PySpark, and the one of spark.lock.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from emrctl.aws import releases
from emrctl.errors import SpecError

LOCK_FILE = Path(__file__).with_name("spark.lock")
# The first PySpark that supports Python 3.11, which emrctl requires.
OLDEST = (3, 4)
_FIRST_JAVA_17 = (4, 0)


@dataclass(frozen=True, kw_only=True)
class SparkChoice:
    """The version that a cluster runs; `warning` if it is not that of its release."""

    version: str
    warning: str = ""

    @property
    def oldest_java(self) -> int:
        """The oldest version of Java that this Spark supports."""
        return 17 if numbers(self.version) >= _FIRST_JAVA_17 else 8


def installed_version() -> str:
    """Return the version of the installed PySpark; an empty text without the extra `local`."""
    try:
        return metadata.version("pyspark")
    except metadata.PackageNotFoundError:
        return ""


@functools.cache
def local_versions() -> tuple[str, ...]:
    """Return the versions that run without `cluster.spark`, oldest first."""
    locked = re.findall(r"^pyspark==(\S+)", LOCK_FILE.read_text(encoding="utf-8"), re.MULTILINE)
    return tuple(sorted({installed_version(), *locked} - {""}, key=numbers))


def choose(label: str, asked: str | None = None) -> SparkChoice:
    """Return the version for a release, or the one asked for; `SpecError` if it cannot run here."""
    wanted = releases.release(label).spark
    if asked:
        if numbers(asked)[:2] < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise SpecError(
                f"Spark {asked} does not support the Python of localhost",
                hint=f"Use Spark {oldest} or later, or a release on AWS.",
            )
        note = f"cluster.spark: Spark {asked} runs instead of {wanted}, the Spark of {label}."
        return SparkChoice(version=asked, warning=note if asked != wanted else "")
    versions = local_versions()
    same = [one for one in versions if numbers(one)[:2] == numbers(wanted)[:2]]
    if same:
        return SparkChoice(version=same[-1])
    newer = [one for one in versions if numbers(one) > numbers(wanted)]
    nearest = newer[0] if newer else versions[-1]
    return SparkChoice(
        version=nearest,
        warning=(
            f"Spark {nearest} runs instead of {wanted}, the Spark of {label}, which is not "
            "available on localhost."
        ),
    )


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, at most three."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
