"""Event logs for tests.

`SAMPLE` and `RECORDED` were recorded from jobs of this project. `PUBLIC` are real logs of other
people in a folder beside the project; the tests that need them are skipped where it is missing.
"""

from __future__ import annotations

from pathlib import Path

from emrctl.metrics.eventlog import codecs

TESTS = Path(__file__).parent
SAMPLE = TESTS / "metrics" / "sample.zstd"
RECORDED = TESTS / "metrics" / "findings" / "logs"
PUBLIC_FOLDER = TESTS.parents[1] / "shared" / "data" / "eventlogs"
GOLDENS = PUBLIC_FOLDER / "apache-spark-rest-goldens"
PUBLIC = sorted(path for path in PUBLIC_FOLDER.glob("*/*") if path.parent != GOLDENS)


def text_of(path: Path) -> bytes:
    """Return the decoded log."""
    with path.open("rb") as stream:
        return b"".join(codecs.decode(stream))


def attempt(log: bytes, number: int) -> bytes:
    """Return the log as that of an application's attempt `number`."""
    start = b'{"Event":"SparkListenerApplicationStart",'
    assert start in log
    return log.replace(start, start + b'"App Attempt ID":"%d",' % number)


def without_tasks(log: bytes) -> bytes:
    """Return the log as that of an application without jobs."""
    kept = (b"LogStart", b"ApplicationStart", b"ApplicationEnd", b"EnvironmentUpdate")
    lines = log.splitlines(keepends=True)
    return b"".join(line for line in lines if line[:60].split(b'"')[3].endswith(kept))
