"""Where the runs of a comparison come from: versions, cluster, code, the command to run again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any

from emrctl.compare.records import Configuration, RunRecord
from emrctl.spec.jobs import SparkSettings

# Settings of a run that are no flags of `emrctl submit`.
_NO_FLAGS = {"cluster", "code", "env", "conf"}


def emrctl_version() -> str:
    """Return the version of emrctl that compares the runs."""
    return metadata.version("emrctl")


def facts(item: Configuration) -> list[tuple[str, str]]:
    """Return names and values of the origin of a configuration's runs."""
    record = item.records[0]
    cluster = record.settings.get("cluster", {})
    versions = _distinct(run.metrics.spark_version for run in item.records if run.metrics)
    applications = _distinct(run.metrics.app_id for run in item.records if run.metrics)
    rows = {
        "runs": ", ".join(f"{run.id} ({run.state})" for run in item.records[:20]),
        "ran on": "localhost" if record.local else "AWS",
        "EMR release": str(cluster.get("release", "")),
        "nodes": _nodes(cluster),
        "Spark": versions,
        "applications": applications,
        "code of the job": str(record.settings.get("code", "")),
        "commit of the job": _distinct(str(run.commit or "") for run in item.records),
    }
    return [(name, value) for name, value in rows.items() if value]


def _distinct(values: Iterable[str | None]) -> str:
    return ", ".join(list(dict.fromkeys(value for value in values if value))[:20])


def _nodes(cluster: Any) -> str:
    nodes = ((name, cluster.get(name)) for name in ("primary", "core"))
    return ", ".join(f"{node} {name}" for name, node in nodes if node)


def command(record: RunRecord) -> str:
    """Return the command that submits the job again with the settings of a run."""
    words = ["emrctl", "submit", *_flags(record), record.job, *record.arguments]
    return " ".join(map(shlex.quote, words))


def _flags(record: RunRecord) -> Iterator[str]:
    options = SparkSettings.options()
    for name, value in record.settings.items():
        flag = f"--{name.replace('_', '-')}"
        if name in _NO_FLAGS or name not in options or value is None:
            continue
        if isinstance(value, bool):
            yield flag if value else f"--no-{name.replace('_', '-')}"
        elif isinstance(value, list | tuple):
            yield from (word for item in value for word in (flag, str(item)))
        else:
            yield from (flag, str(value))
    for flag, group in (("--conf", "conf"), ("--env", "env")):
        for key, value in (record.settings.get(group) or {}).items():
            yield from (flag, f"{key}={value}")
