"""Each finding on logs of real Spark: one job that has it and one that does not."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.spark_conf import SparkConf
from emrctl.metrics import findings
from emrctl.metrics.eventlog import reader
from emrctl.metrics.findings import Finding
from emrctl.metrics.findings.base import RunView
from emrctl.metrics.limits import LIMITS
from emrctl.metrics.model import RunMetrics
from tests.event_logs import PUBLIC

HERE = Path(__file__).parent


def _module(name: str) -> Any:
    # Under --import-mode=importlib the folder of a test is not on sys.path.
    spec = importlib.util.spec_from_file_location(f"findings_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


record = _module("record")
LOGS = sorted((HERE / "logs").glob("*.zstd"))
# What the real logs have, each looked at by a person; those that are not named have nothing.
EXPECTED = {
    "app-20161115172038-0000": {"failed_work"},
    "app-20161116163331-0000": {"excluded_executors", "failed_work"},
    "app-20180109111548-0000": {"failed_work"},
    "app-20200706201101-0003": {"large_executors"},
    "application_1516285256255_0012": {"failed_work", "missing_executors"},
    "application_1553914137147_0018": {"few_partitions", "memory_unused"},
    "application_1628109047826_1317105": {"few_partitions", "idle_executors", "memory_unused"},
    "local-1422981780767": {"failed_work"},
    "application_1713000000000_0001_1.zstd": {"failed_work"},
    "application_1713000000000_0001_2.zstd": {"failed_work"},
    "local-1776286786993.zstd": {"failed_work", "spill"},
    "local-1776286804625.zstd": {"failed_work"},
    "tasks_executors_fail_compressed_eventlog.zstd": {
        "adaptive_off",
        "failed_work",
        "fetch_failures",
        "many_partitions",
        "memory_unused",
    },
}


@functools.cache
def read(path: Path) -> RunMetrics:
    return reader.read_path(path)


def found(path: Path) -> tuple[Finding, ...]:
    return findings.diagnose(read(path))


def kinds(path: Path) -> set[str]:
    return {item.kind for item in found(path)}


def test_every_kind_has_a_job_and_two_logs() -> None:
    assert set(record.CASES) == set(findings.KINDS)
    assert {path.stem for path in record.JOBS.glob("*.py")} == set(findings.KINDS)
    wanted = {f"{kind}.{way}.zstd" for kind in findings.KINDS for way in record.VARIANTS}
    assert {path.name for path in LOGS} == wanted
    assert all(path.stat().st_size <= record.LARGEST_BYTES for path in LOGS)


@pytest.mark.parametrize("kind", sorted(findings.KINDS))
def test_diagnose_finds_kind_only_in_affected_log(kind: str) -> None:
    ill, well = (HERE / "logs" / f"{kind}.{way}.zstd" for way in record.VARIANTS)
    assert kind in kinds(ill)
    assert kind not in kinds(well)


def test_diagnose_finds_shuffle_bound_stage_of_a_stopped_executor() -> None:
    assert "shuffle_bound" in kinds(HERE / "logs" / "fetch_straggler.ill.zstd")
    assert "shuffle_bound" not in kinds(HERE / "logs" / "fetch_straggler.well.zstd")


@pytest.mark.parametrize("path", [p for p in LOGS if ".well." in p.name], ids=lambda p: p.name)
def test_diagnose_healthy_logs_have_no_severe_findings(path: Path) -> None:
    assert not {item.kind for item in found(path) if item.severity == "high"}


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.name)
def test_diagnose_public_logs_have_expected_findings(path: Path) -> None:
    assert kinds(path) == EXPECTED.get(path.name, set())


@pytest.mark.parametrize("path", [*LOGS, *PUBLIC], ids=lambda path: path.name)
def test_diagnose_findings_are_consistent(path: Path) -> None:
    run = read(path)
    settings = SparkConf(run.environment, run.spark_version)
    known = {stage.id for stage in run.stages}
    length_s = RunView(run).duration_s
    for item in found(path):
        assert item.kind in findings.KINDS
        assert item.severity in findings.SEVERITIES
        assert item.evidence
        assert item.advice
        assert 0 <= item.seconds <= length_s + 0.001 or item.kind == "wide_broadcast"
        assert set(item.stages) <= known
        assert settings.differs(item.settings) == dict(item.settings), "it is so already"
        assert all(f"{key}=" in item.advice for key in item.settings)
        assert Finding.from_json(json.loads(json.dumps(item.to_json()))) == item


def test_logs_contain_no_local_paths() -> None:
    for path in LOGS:
        text = str(read(path).to_json())
        assert str(record.ROOT) not in text
        assert "/home/" not in text


def test_thresholds_are_in_one_table_with_sources() -> None:
    sources = [item.source for item in LIMITS.values()]
    assert all(sources)
    code = "".join(path.read_text() for path in _sources())
    unused = [name for name in LIMITS if f'limit("{name}")' not in code]
    assert unused == []


def _sources() -> list[Path]:
    assert findings.__file__ is not None
    return sorted(Path(findings.__file__).parent.glob("*.py"))


@pytest.mark.spark
@pytest.mark.parametrize("kind", ["failed_work", "few_partitions"])
def test_diagnose_on_current_spark(kind: str, tmp_path: Path) -> None:
    log = record.run(kind, "ill", tmp_path)
    assert kind in {item.kind for item in findings.diagnose(reader.read_path(log))}
    assert len(record.packed(log)) <= record.LARGEST_BYTES
