"""Releases of EMR: versions, applications and defaults, from the dated table releases.txt.

A label is `emr-MAJOR.MINOR.PATCH`, or `emr-spark-MAJOR.MINOR.PATCH` for the releases with Spark 4,
which have no application called Hadoop.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emrctl.errors import SpecError

TABLE = Path(__file__).with_name("releases.txt")
_LABEL = re.compile(r"(emr(?:-spark)?-(\d+))\.(\d+)\.(\d+)(-\w+)?")
# Series that get further releases.
_OPEN_SERIES = ("emr-7", "emr-spark-8")
# Platform tags of the wheels that each system's C library supports.
_WHEELS = {"AL1": "manylinux2014", "AL2": "manylinux2014", "AL2023": "manylinux_2_34"}


@dataclass(frozen=True, kw_only=True)
class Release:
    """A row of the table: versions of the community, the default of Spark first."""

    label: str
    spark: str
    hadoop: str
    scala: str
    python: tuple[str, ...]
    java: tuple[str, ...]
    system: str
    support_until: str
    lts: bool

    @property
    def applications(self) -> tuple[str, ...]:
        """The applications that the release has."""
        return tuple(
            name
            for name, *spans in _rows()
            if not name.startswith("emr-") and any(_in_range(self.label, one) for one in spans)
        )

    @property
    def default_applications(self) -> list[str]:
        """The applications that emrctl installs."""
        return [name for name in ("Hadoop", "Spark") if name in self.applications]

    @property
    def versions(self) -> dict[str, str]:
        """Versions of those applications that the table has."""
        versions = {"Hadoop": self.hadoop, "Spark": self.spark}
        return {name: versions.get(name, "") for name in self.applications}

    @property
    def python3(self) -> str:
        """Version of the first Python 3; emr-4.x and most of emr-5.x run Spark with Python 2."""
        return next(version for version in self.python if version.startswith("3."))

    @property
    def python_command(self) -> str:
        """The command of Spark's Python 3; python3 is 3.9 on Amazon Linux 2023."""
        newer = self.system == "AL2023" and self.python3 != "3.9"
        return f"python{self.python3}" if newer else "python3"

    @property
    def wheel_platform(self) -> str:
        """Platform tag of Python wheels for the nodes, without the architecture."""
        return _WHEELS[self.system]


def release(label: str) -> Release:
    """Return the release, or for one that is not in the table the latest earlier one.

    Releases of the table are newest first, those with Spark 4 apart. `SpecError` if the text is no
    label.
    """
    known = table()
    if label in known:
        return known[label]
    if not series(label):
        raise SpecError(f"unknown EMR release '{label}': {fault(label)}")
    line = [one for one in known if one.startswith("emr-spark-") == label.startswith("emr-spark-")]
    earlier = [one for one in line if order(one) < order(label)]
    return known[earlier[0] if earlier else line[-1]]


def newest_lts() -> Release:
    """Return the newest release with long-term support."""
    return next(one for one in table().values() if one.lts)


@functools.cache
def table() -> Mapping[str, Release]:
    """Return the releases by label, newest first, `emr-spark` before `emr`."""
    return {words[0]: _release(words) for words in _rows() if words[0].startswith("emr-")}


@functools.cache
def _rows() -> tuple[list[str], ...]:
    """Return the words of the lines of the table, without comments."""
    lines = (line.split() for line in TABLE.read_text(encoding="utf-8").splitlines())
    return tuple(words for words in lines if words and words[0] != "#")


def _release(words: Sequence[str]) -> Release:
    label, spark, hadoop, scala, python, java, system, until, *lts = words
    return Release(
        label=label,
        spark=spark,
        hadoop=hadoop,
        scala=scala,
        python=tuple(python.split(",")),
        java=tuple(java.split(",")),
        system=system,
        support_until=until.strip("-"),
        lts=lts == ["LTS"],
    )


def _in_range(label: str, span: str) -> bool:
    first, _, last = span.partition("..")
    if series(label) != (series(first) or first):
        return False
    return order(first) <= order(label) and (not last or order(label) <= order(last))


def series(label: str) -> str:
    """Return the series of a release, as emr-7 or emr-spark-8; empty if it is no label."""
    match = _LABEL.fullmatch(label)
    return match[1] if match else ""


def order(label: str) -> tuple[int, ...]:
    """Return the numbers of a release; betas and previews precede the release of their number."""
    match = _LABEL.fullmatch(label)
    if match is None:
        return ()
    return (int(match[2]), int(match[3]), int(match[4]), 0 if match[5] else 1)


def fault(label: str, labels: Sequence[str] = ()) -> str:
    """Return why EMR rejects a release, or an empty text; `labels` are a region's, if known.

    Later releases are accepted in series that are open, and without `labels` unknown patch releases
    in all series.
    """
    known = labels or list(table())
    if label in known:
        return ""
    match = _LABEL.fullmatch(label)
    if match is None or match[5]:
        return "an EMR release is written as emr-7.14.0 or emr-spark-8.1.0"
    of_series = [one for one in known if series(one) == series(label)]
    last = max(of_series, key=order, default="")
    if labels and last and order(label) < order(last):
        return f"there is no release {label}"
    if series(label) in _OPEN_SERIES:
        return ""
    if not last:
        return f"the series are emr-4 to {' and '.join(_OPEN_SERIES)}"
    return "" if order(label)[:2] <= order(last)[:2] else f"the last of this series is {last}"
