"""Rebuilding of a damaged record from what is left: its own readable parts, or the event log."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from emrctl.runs import documents, record
from emrctl.runs.record import LOST, SCHEMA, STATES, ClusterFacts, Run

if TYPE_CHECKING:
    from emrctl.metrics.model import RunMetrics
    from emrctl.runs.store import RunFiles

# Ids start with the time of the submission, see `new_id`.
_ID = re.compile(r"(\d{8}-\d{6})\d*-(.+)-[0-9a-f]+")
_MAX_CUTS = 200
_EMPTY: dict[Any, Any] = {str: "", int: 0, float: 0.0}


def rebuild(body: bytes, run_id: str) -> Run | None:
    """Return the run of the readable keys of a damaged record; None if there are none.

    A warning of the run names the keys that were lost. A lost state is LOST, which is replaced by
    what its cluster reports.
    """
    document = _parse(body)
    if not isinstance(document, dict) or not document.keys() & {item.name for item in fields(Run)}:
        return None
    if not isinstance(schema := document.get("schema", SCHEMA), int) or schema > SCHEMA:
        return None
    values, lost = _convert(document, Run)
    cluster, lost_of_cluster = _convert(document.get("cluster"), ClusterFacts)
    values["cluster"] = ClusterFacts(**cluster)
    lost = [name for name in lost if name != "cluster"]
    lost += [f"cluster.{name}" for name in lost_of_cluster]
    for name in ("created", "started", "ended"):
        given, values[name] = values[name], _time(name, values[name])
        lost += [name] if given and values[name] is None else []
    match = _ID.fullmatch(run_id)
    values["created"] = values["created"] or values["started"] or _time_of_id(match)
    values["job"] = values["job"] or (match[2] if match else "")
    if "state" in lost or values["state"] not in STATES:
        values |= {"state": LOST, "inferred": True, "failure": "its record was damaged"}
    repaired = f"its record was damaged and repaired; lost: {', '.join(sorted(lost)) or 'nothing'}"
    warnings = (*values["warnings"], repaired)
    return Run(**{**values, "id": run_id, "warnings": warnings})


def read_metrics(files: RunFiles, application_id: str | None) -> RunMetrics | None:
    """Return the metrics of a run's event log; None if it has none that can be read.

    Of several applications it is the one of the record, otherwise the one with the most task time.
    """
    from emrctl.errors import EmrctlError
    from emrctl.metrics.eventlog import reader
    from emrctl.metrics.model import YarnAccounts

    try:
        found = reader.read_logs(files.event_log())
    except EmrctlError:
        return None
    if not found:
        return None
    of_record = [item for item in found if item.app_id == application_id]
    metrics = max(of_record or found, key=lambda item: item.task_time_ms)
    yarn = files.load(files.YARN, YarnAccounts)
    if yarn is not None and yarn.application.application_id == metrics.app_id:
        return replace(metrics, yarn=yarn.application, cluster=yarn.cluster)
    return metrics


def _convert(document: Any, model: type[Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a value for each field of the model, and the names of the fields that were lost."""
    hints, values, lost = typing.get_type_hints(model), dict[str, Any](), list[str]()
    document = document if isinstance(document, dict) else {}
    for item in fields(model):
        try:
            if item.name == "settings":
                record.check_settings(document.get(item.name, {}))
            values[item.name] = msgspec.convert(document[item.name], hints[item.name])
        except (KeyError, ValueError, msgspec.ValidationError):
            values[item.name] = _default(item, hints[item.name])
            if item.name in document or item.default is item.default_factory is MISSING:
                lost.append(item.name)
    return values, lost


def _default(item: Field[Any], hint: Any) -> Any:
    if item.default is not MISSING:
        return item.default
    return _EMPTY.get(hint) if item.default_factory is MISSING else item.default_factory()


def _time(name: str, text: str | None) -> str | None:
    try:
        return text and record.zoned(name, text)
    except ValueError:
        return None


def _time_of_id(match: re.Match[str] | None) -> str:
    try:
        moment = datetime.strptime(f"{match[1] if match else ''}+0000", "%Y%m%d-%H%M%S%z")
    except ValueError:
        moment = datetime.fromtimestamp(0, UTC)
    return moment.isoformat(timespec="milliseconds")


def _parse(body: bytes) -> Any:
    """Return the document, or the part of a truncated one that has whole lines."""
    text = body.decode(errors="replace").replace("\0", "")
    for candidate in (text, *_completed(text)):
        try:
            return documents.decode_any(candidate.encode())
        except ValueError:
            continue
    return None


def _completed(text: str) -> Iterator[str]:
    """Yield the text cut at the end of each line, the last first, with its brackets closed."""
    lines = text.splitlines()
    for count in range(len(lines), max(len(lines) - _MAX_CUTS, 0), -1):
        part = "\n".join(lines[:count]).rstrip().rstrip(",")
        brackets = list[str]()
        for found in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', part):
            if found[0] in "[{":
                brackets.append("]" if found[0] == "[" else "}")
            elif found[0] in "]}" and brackets:
                brackets.pop()
        if len(brackets) <= documents.MAX_DEPTH:
            yield part + "".join(reversed(brackets))
