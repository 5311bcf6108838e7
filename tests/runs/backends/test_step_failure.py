"""The one line that explains a failure."""

from __future__ import annotations

import pytest

from emrctl.runs.backends import step_failure
from emrctl.runs.backends.base import LogFile

PYTHON = """\
26/11/20 10:00:01 INFO Something
Traceback (most recent call last):
  File "svm.py", line 3, in <module>
    main()
ValueError: label 'dog' has no pictures
26/11/20 10:00:02 INFO ShutdownHookManager: Shutdown hook called
"""
WORKER = """\
Traceback (most recent call last):
  File "svm.py", line 3, in <module>
py4j.protocol.Py4JJavaError: An error occurred while calling o55.collect.
: org.apache.spark.SparkException: Job aborted due to stage failure
Caused by: org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "worker.py", line 9, in extract
ZeroDivisionError: division by zero
"""
KILLED = (
    "ERROR YarnScheduler: Lost executor 2: Container killed by YARN for exceeding limits. 5.5 GB"
)
JAVA = (
    "Exception in thread main java.lang.IllegalArgumentException: Required executor memory (9g)\n"
)
CAUSES = "org.x.AException: a\nCaused by: org.x.BException: b\nCaused by: org.x.CException: c\n"


def _log(name: str, text: str) -> LogFile:
    return LogFile(name=name, uri=f"s3://b/{name}", text=text.encode())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PYTHON, "ValueError: label 'dog' has no pictures"),
        (WORKER, "ZeroDivisionError: division by zero"),
        (KILLED, KILLED),
        (JAVA, "java.lang.IllegalArgumentException: Required executor memory (9g)"),
        (CAUSES, "org.x.CException: c"),
        ("svm.py: error: no class is called 'dgo'", "svm.py: error: no class is called 'dgo'"),
    ],
)
def test_explain_returns_causing_line(text: str, line: str) -> None:
    found = step_failure.explain([_log("step/stderr", text)])
    assert found is not None
    assert found.line == line
    assert found.log == "s3://b/step/stderr"


def test_explain_prefers_driver_traceback_to_yarn() -> None:
    logs = [
        _log("containers/c_000002/stderr", KILLED),
        _log("containers/c_000001/stdout", PYTHON),
        _log("step/stderr", "nothing of interest"),
    ]
    found = step_failure.explain(logs)
    assert found is not None
    assert found.log == "s3://b/containers/c_000001/stdout"


def test_explain_without_error_returns_none() -> None:
    assert step_failure.explain([_log("step/stdout", "all is well")]) is None
