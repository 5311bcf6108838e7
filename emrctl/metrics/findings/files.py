"""Rules about files and repeated reads."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from emrctl.metrics.findings.base import (
    Finding,
    RunView,
    count_of,
    ids,
    size,
    stage_names,
)
from emrctl.metrics.model import SqlMetrics, SqlOperator, StageMetrics

_TEXT = re.compile(r"Format: (?:CSV|JSON|Text)", re.IGNORECASE)
_NO_FILTER = re.compile(r"DataFilters: \[\]|^(?!.*DataFilters)")


def small_files(view: RunView) -> Iterator[Finding]:
    """Many small files, read or written."""
    for way in ("read", "written"):
        queries = [query for query in view.run.sql if _small(view, query, way)]
        files = sum(getattr(query, f"files_{way}") for query in queries)
        taken = sum(getattr(query, f"files_{way}_bytes") for query in queries)
        if files:
            yield _files(view, way, files, taken)
    if not any(query.files_read for query in view.run.sql):
        yield from _small_splits(view)


def _small(view: RunView, query: SqlMetrics, way: str) -> bool:
    files, taken = getattr(query, f"files_{way}"), getattr(query, f"files_{way}_bytes")
    return bool(files > view.limit("files") and taken / files < view.limit("file_bytes"))


def _small_splits(view: RunView) -> Iterator[Finding]:
    """Without SQL each file is at least one task."""
    stages = []
    for stage in view.completed:
        taken = stage.input_bytes_quantiles
        many = (
            stage.tasks_ok > view.limit("files")
            and stage.tasks_ok >= view.limit("many_tasks") * view.cores
        )
        if many and taken and 0 < taken.median < view.limit("file_bytes"):
            stages.append(stage)
    if stages:
        worst = max(stages, key=lambda stage: stage.tasks_ok)
        yield _files(view, "read", worst.tasks_ok, worst.input_bytes, stages)


def _files(
    view: RunView, way: str, files: int, taken: int, stages: list[StageMetrics] | None = None
) -> Finding:
    seconds = files * view.limit("file_open_s") / max(1.0, view.cores)
    wanted = max(1, round(taken / (128 * 2**20)))
    if way == "read":
        advice = f"Rewrite them once as {count_of(wanted, 'file')} of about 128 MB (Parquet)."
    else:
        advice = (
            f"Use coalesce({wanted}) before writing, or repartition by the partitionBy columns."
        )
    return Finding(
        kind="small_files",
        evidence=f"{files} files {way}, {size(taken)} in total, {size(taken / files)} each"
        + (f", in {stage_names(stages)}" if stages else ""),
        advice=advice,
        seconds=seconds,
        stages=ids(stages or ()),
        figures={"files": files, "bytes": taken},
    )


def text_format(view: RunView) -> Iterator[Finding]:
    """Large tables in text files."""
    scans = [
        (query, scan)
        for query, scan in view.operators("Scan csv", "Scan json", "Scan text", "FileScan")
        if _TEXT.match(scan.detail) and scan.figures.get("bytes")
    ]
    total = sum(scan.figures["bytes"] for _, scan in scans)
    if total < view.limit("text_bytes"):
        return
    query, largest = max(scans, key=lambda item: item[1].figures["bytes"])
    stages = view.stages_of(*(query for query, _ in scans))
    reading = [stage for stage in stages if stage.input_bytes]
    seconds = view.limit("text_saving") * view.over_cores(sum(s.task_time_ms for s in reading))
    yield Finding(
        kind="text_format",
        evidence=f"{size(total)} read from text files, most by query {query.id}: {largest.detail}",
        advice="Convert the table to Parquet once: it is smaller, only the columns that a query "
        "uses are read, and filters skip whole blocks. Large gzip files are read by one task each.",
        seconds=min(seconds, view.duration_s),
        stages=ids(reading),
        figures={"bytes": total, "scans": len(scans)},
    )


def full_partition_scan(view: RunView) -> Iterator[Finding]:
    """Filtered queries that read all partitions of a partitioned table."""
    cases = [
        (query, scan)
        for query, scan in view.operators("Scan", "FileScan")
        if scan.figures.get("partitions", 0) >= view.limit("scan_partitions")
        and "PartitionFilters: []" in scan.detail
        and not _NO_FILTER.search(scan.detail)
    ]
    if not cases:
        return
    query, scan = max(cases, key=lambda case: case[1].figures["partitions"])
    reading = [stage for stage in view.stages_of(query) if stage.input_bytes]
    yield Finding(
        kind="full_partition_scan",
        evidence=f"query {query.id} read all {scan.figures['partitions']} partitions of a table "
        f"({size(scan.figures.get('bytes', 0))}) and then filtered its rows: {scan.detail}",
        advice="Filter by a column of partitionBy, too (the day of a timestamp), or partition the "
        "table by what queries filter by.",
        seconds=max((view.wall_s(stage) for stage in reading), default=0.0),
        stages=ids(reading),
        figures={"partitions": scan.figures["partitions"], "scans": len(cases)},
    )


def repeated_scan(view: RunView) -> Iterator[Finding]:
    """The same columns of the same files, read by several queries."""
    groups: defaultdict[str, dict[int, SqlOperator]] = defaultdict(dict)
    for query, scan in view.operators("Scan", "FileScan", "BatchScan"):
        if scan.figures.get("bytes"):
            groups[scan.fingerprint][query.id] = scan
    cases = [scans for scans in groups.values() if len(scans) >= view.limit("scans")]
    again = sum(
        sum(scan.figures["bytes"] for scan in scans.values())
        - max(scan.figures["bytes"] for scan in scans.values())
        for scans in cases
    )
    if not cases or again < view.limit("scan_bytes"):
        return
    worst = max(cases, key=len)
    hosts = len({row.host for row in view.run.busy_rows}) or 1
    shown = ", ".join(map(str, list(worst)[:5])) + (" …" if len(worst) > 5 else "")
    yield Finding(
        kind="repeated_scan",
        evidence=f"queries {shown} read the same files again, {size(again)} more than once: "
        f"{next(iter(worst.values())).detail}",
        advice="Call cache() on what these queries share before the first one if it fits into the "
        "memory of the executors, and unpersist() after the last.",
        seconds=min(again / view.limit("disk_bytes_s") / hosts, view.duration_s),
        figures={"queries": len(worst), "bytes": again},
    )


def slow_commit(view: RunView) -> Iterator[Finding]:
    """Writes whose files are committed by the driver for long."""
    cases = [
        (query, op) for query, op in view.operators("Write") if op.figures.get("job_commit_ms")
    ]
    seconds = sum(write.figures["job_commit_ms"] for _, write in cases) / 1000
    if not cases or not view.is_significant(seconds):
        return
    query, write = max(cases, key=lambda case: case[1].figures["job_commit_ms"])
    yield Finding(
        kind="slow_commit",
        evidence=f"query {query.id} took {write.figures['job_commit_ms'] / 1000:.1f} s to commit "
        f"{write.figures.get('files', 0)} files after its last task",
        advice=_against_commit(view, write),
        seconds=min(seconds, view.duration_s),
        figures={"files": write.figures.get("files", 0), "commit_s": seconds},
    )


def _against_commit(view: RunView, write: SqlOperator) -> str:
    mode = view.settings.text("spark.sql.sources.partitionOverwriteMode").lower()
    text = "The driver renames each file, and S3 copies it. Write fewer files"
    if write.figures.get("partitions"):
        text += f" ({write.figures['partitions']} partitions: repartition by their columns)"
    if mode == "dynamic":
        return (
            f"{text}. spark.sql.sources.partitionOverwriteMode=dynamic turns EMR's committer off."
        )
    return f"{text}, and use EMR's S3-optimized committer: s3:// paths and Parquet."
