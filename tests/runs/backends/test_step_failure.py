"""The cause of a failed step, from synthetic logs; tests/runs/failures has recorded ones."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from emrctl import redact
from emrctl.runs.backends import exit_codes, step_failure
from emrctl.runs.backends.base import LogFile

STARTED = "26/11/20 10:00:01 INFO SparkContext: Running Spark version 3.5.1\n"
STOPPED = "26/11/20 10:00:02 INFO ShutdownHookManager: Shutdown hook called\n"
# What the application master logs when it requests executors.
LAUNCH = STARTED.replace("SparkContext", "ApplicationMaster") + (
    "\nYARN executor launch context:\n  command:\n    {{JAVA_HOME}}/bin/java \\ \n"
    "      -XX:OnOutOfMemoryError='kill %p' \\ \n"
    "      org.apache.spark.executor.YarnCoarseGrainedExecutorBackend \\ \n"
)
PYTHON = """\
Traceback (most recent call last):
  File "svm.py", line 3, in <module>
    main()
ValueError: label 'dog' has no pictures
"""
CAUGHT = """\
WARNING:root:will try again
Traceback (most recent call last):
  File "svm.py", line 9, in ask
    connect()
ConnectionError: attempt 1
"""
TASK = """\
Traceback (most recent call last):
  File "svm.py", line 3, in <module>
py4j.protocol.Py4JJavaError: An error occurred while calling o55.collect.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed \
4 times, most recent failure: Lost task 0.3 in stage 0.0 (TID 3) (host executor 1): \
org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "worker.py", line 9, in extract
NoPictures: of breed dgo

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.hasNext(PythonRunner.scala:1)

Driver stacktrace:
\tat org.apache.spark.scheduler.DAGScheduler.failJobAndIndependentStages(DAGScheduler.scala:1)
Caused by: org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "worker.py", line 9, in extract
NoPictures: of breed dgo

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.hasNext(PythonRunner.scala:1)
\t... 1 more
"""
LOST = """\
Traceback (most recent call last):
  File "svm.py", line 3, in <module>
py4j.protocol.Py4JJavaError: An error occurred while calling o55.collect.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed \
4 times, most recent failure: Lost task 0.3 in stage 0.0 (TID 3) (host executor 1): \
ExecutorLostFailure (executor 1 exited caused by one of the running tasks) Reason: Container \
marked as failed: container_1_0001_01_000002 on host: h. Exit status: 143. Diagnostics: killed
Driver stacktrace:
\tat org.apache.spark.scheduler.DAGScheduler.failJobAndIndependentStages(DAGScheduler.scala:1)
"""
VALIDATION = """\
Traceback (most recent call last):
  File "job.py", line 6, in <module>
    train(data)
py4j.protocol.Py4JJavaError: An error occurred while calling o73.train.
: org.apache.spark.SparkException: Input validation failed.
\tat org.apache.spark.mllib.X.run(X.scala:252)
"""
FORBIDDEN = """\
Traceback (most recent call last):
  File "job.py", line 6, in <module>
py4j.protocol.Py4JJavaError: An error occurred while calling o73.text.
: java.nio.file.AccessDeniedException: s3://b/private: getFileStatus on s3://b/private: \
com.amazonaws.services.s3.model.AmazonS3Exception: Forbidden (Status Code: 403)
\tat org.apache.hadoop.fs.s3a.S3AUtils.translateException(S3AUtils.java:249)
Caused by: com.amazonaws.services.s3.model.AmazonS3Exception: Forbidden (Status Code: 403)
\tat com.amazonaws.http.AmazonHttpClient.handleErrorResponse(AmazonHttpClient.java:1862)
\t... 2 more
"""
CHAINED = """\
Traceback (most recent call last):
  File "job.py", line 3, in <module>
    config['bucket']
KeyError: 'bucket'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "job.py", line 5, in <module>
    raise Incomplete('configuration') from error
__main__.Incomplete: configuration
"""
FINALIZER = """\
Exception ignored in: <function JavaWrapper.__del__ at 0x7f>
Traceback (most recent call last):
  File "wrapper.py", line 53, in __del__
AttributeError: 'NoneType' object has no attribute '_detach'
"""
CAUSES = "org.x.AException: a\nCaused by: org.x.BException: b\nCaused by: org.x.CException: c\n"
SYNTAX = '  File "/tmp/job.py", line 1\n    rows = [1, 2\n           ^\nSyntaxError: never closed\n'
USAGE = "usage: svm.py [-h]\nsvm.py: error: no class is called 'dgo'\n"
ANALYSIS = """\
Traceback (most recent call last):
  File "job.py", line 3, in <module>
pyspark.errors.exceptions.captured.AnalysisException: [PATH_NOT_FOUND] Path does not exist: s3://b.
;
'Project ['x]
+- Range (0, 3)
"""


def _log(name: str, text: str) -> LogFile:
    return LogFile(name=name, uri=f"s3://b/{name}", text=text.encode())


def _controller(code: int) -> LogFile:
    return _log("step/controller", f"INFO waitProcessCompletion ended with exit code {code} : x\n")


def _line(*logs: LogFile) -> str:
    found = step_failure.explain(logs)
    assert found is not None
    return found.line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PYTHON, "ValueError: label 'dog' has no pictures"),
        (
            CAUGHT + "INFO: second attempt worked\n" + PYTHON,
            "ValueError: label 'dog' has no pictures",
        ),
        (CAUGHT, "ConnectionError: attempt 1"),
        (CAUGHT.replace("will try again\n", "failed: "), "ConnectionError: attempt 1"),
        (CAUGHT + "second attempt worked\nno new data\n", "no new data"),
        (PYTHON.replace("ValueError:", "NoSuchThing:"), "NoSuchThing: label 'dog' has no pictures"),
        (PYTHON.replace(": label 'dog' has no pictures", ""), "ValueError"),
        (
            PYTHON + "2026-11-27 17:53:43,007 INFO py4j.clientserver: Closing down connection\n",
            "ValueError: label 'dog' has no pictures",
        ),
        (
            PYTHON + "INFO:root:bye\n",
            "ValueError: label 'dog' has no pictures",
        ),
        (
            "failed: [TABLE_OR_VIEW_NOT_FOUND] No orders.\nCheck it.;\n'UnresolvedRelation [o]\n",
            "failed: [TABLE_OR_VIEW_NOT_FOUND] No orders.",
        ),
        (PYTHON + "bye\n", "ValueError: label 'dog' has no pictures; then: bye"),
        (PYTHON + "ciao\nbye\n", "ValueError: label 'dog' has no pictures; then: bye"),
        (PYTHON + FINALIZER, "ValueError: label 'dog' has no pictures"),
        (TASK, "NoPictures: of breed dgo"),
        (VALIDATION, "org.apache.spark.SparkException: Input validation failed."),
        (
            FORBIDDEN,
            (
                "java.nio.file.AccessDeniedException: s3://b/private: getFileStatus on "
                "s3://b/private: com.amazonaws.services.s3.model.AmazonS3Exception: Forbidden "
                "(Status Code: 403)"
            ),
        ),
        (CHAINED, "__main__.Incomplete: configuration, caused by KeyError: 'bucket'"),
        (SYNTAX, "SyntaxError: never closed"),
        (USAGE, "svm.py: error: no class is called 'dgo'"),
        (
            "python3: can't open file '/x/job.py': [Errno 2] No such file or directory\n",
            "python3: can't open file '/x/job.py': [Errno 2] No such file or directory",
        ),
        (
            ANALYSIS,
            (
                "pyspark.errors.exceptions.captured.AnalysisException: [PATH_NOT_FOUND] Path does "
                "not exist: s3://b."
            ),
        ),
        ("10 %\r50 %\rno new data\n", "no new data"),
        ("failed: [X] no table;\n'UnresolvedRelation [sales]\n+- Y\n\n", "failed: [X] no table;"),
        (
            VALIDATION.partition("(data)\n")[2],
            "org.apache.spark.SparkException: Input validation failed.",
        ),
        ("no new data\nsys:1: ResourceWarning: unclosed file\n", "no new data"),
    ],
)
def test_explain_driver_output_returns_cause(text: str, line: str) -> None:
    launch = _log("containers/container_1_0001_01_000001/stderr", LAUNCH)
    script = _log("containers/container_1_0001_01_000002/launch_container.sh", LAUNCH)
    stderr = _log("step/stderr", STARTED + STOPPED)
    assert _line(_log("step/stdout", text), stderr, launch, script) == line
    mixed = text if "\r" in text else f"{STARTED}{text}{STOPPED}"
    in_cluster = _log("containers/container_1_0001_02_000001/stdout", text)
    first = _log("containers/container_1_0001_01_000001/stdout", "RuntimeError: attempt 1\n")
    assert _line(stderr, first, in_cluster) == line
    if text.startswith("Traceback"):
        assert _line(_log("step/stderr", mixed)) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            'Exception in thread "main" java.io.IOException: s3://b/job.py\n\tat x.Y(Z:1)\n',
            "java.io.IOException: s3://b/job.py",
        ),
        ("26/11/20 10:00:01 ERROR SparkContext: failed\n" + CAUSES, "org.x.CException: c"),
        (
            "Error: Unrecognized option: --foo\n\nUsage: spark-submit\n",
            "Error: Unrecognized option: --foo",
        ),
        (
            (
                "26/11/20 10:00:01 INFO Client:\n\t diagnostics: Application application_1_0001 "
                "was killed by user hadoop at 10.0.0.1\n"
            ),
            "Application application_1_0001 was killed by user hadoop at 10.0.0.1",
        ),
    ],
)
def test_explain_report_of_spark_or_yarn_returns_cause(text: str, line: str) -> None:
    assert _line(_log("step/stderr", STARTED + text + STOPPED)) == line


@pytest.mark.parametrize(
    ("code", "output", "parts"),
    [
        (1, "no new data\n", ("no new data", "exit code 1")),
        (3, "rows: 0\n", ("exit code 3", "sys.exit(3)", "rows: 0")),
        (1, "", ("exit code 1", "no output")),
        (1, "╭─ Error ──╮\n│ no such option │\n╰──────────╯\n", ("no such option (exit code 1)",)),
        (1, "2026-11-27 10:00:00,123 ERROR job: no input\n", ("ERROR job: no input",)),
        (139, 'Fatal Python error: Segmentation fault\n\n  File "x", line 1 in f\n', ("Fatal",)),
        (137, CAUGHT + "9\n", ("exit code 137", "SIGKILL", "last output: 9")),
        (139, "", ("exit code 139", "SIGSEGV")),
        (2, "row\nHint: --input is missing\n", ("--input is missing", "exit code 2")),
        (3, PYTHON, ("ValueError: label 'dog' has no pictures",)),
        (127, PYTHON, ("ValueError: label 'dog' has no pictures",)),
        (128, PYTHON, ("exit code 128",)),
        (137, PYTHON, ("exit code 137", "SIGKILL")),
    ],
)
def test_explain_exit_code_names_it(code: int, output: str, parts: tuple[str, ...]) -> None:
    line = _line(_log("step/stdout", output), _log("step/stderr", STARTED), _controller(code))
    for part in parts:
        assert part in line
    assert "attempt 1" not in line


def test_explain_master_without_context_explains_exit_code_13() -> None:
    report = (
        "\t diagnostics: Application application_1_0001 failed 2 times due to AM Container for "
        "appattempt_1_0001_000002 exited with  exitCode: 13\n"
        'Exception in thread "main" org.apache.spark.SparkException: Application a_1_0001 '
        "finished with failed status\n"
    )
    logs = [
        _log("step/stderr", STARTED + report),
        _log("containers/container_1_0001_02_000001/stdout", "COUNT 1000\n"),
        _log(
            "containers/container_1_0001_02_000001/stderr",
            LAUNCH
            + "26/11/20 10:00:01 INFO ApplicationMaster: Final app status: FAILED, exitCode: 13\n",
        ),
        _controller(1),
    ]
    line = _line(*logs)
    assert line.startswith("exit code 13: ")
    assert "master('local[*]')" in line


def test_explain_master_beyond_memory_names_overhead() -> None:
    report = (
        "\t diagnostics: AM Container for appattempt_1_0001_000002 exited with  exitCode: -104\n"
        "Diagnostics: [x]Container [pid=1,containerID=c] is running 5B beyond the 'PHYSICAL' "
        "memory limit. Current usage: 1.0 GB of 1 GB physical memory used; 3 GB of 2 GB virtual\n"
    )
    line = _line(_log("step/stderr", STARTED + report), _controller(1))
    assert "Current usage: 1.0 GB of 1 GB physical memory used" in line
    assert "spark.driver.memoryOverhead" in line


def test_explain_lost_executor_reads_its_log() -> None:
    executor = _log(
        "containers/container_1_0001_01_000002/stderr",
        "26/11/20 10:00:01 ERROR Executor: Exception in task 0.0\n"
        "java.lang.OutOfMemoryError: Java heap space\n\tat x.Y.z(Z:1)\n",
    )
    found = step_failure.explain([_log("step/stdout", LOST), executor])
    assert found is not None
    assert "java.lang.OutOfMemoryError: Java heap space in an executor" in found.line
    assert found.log == executor.uri
    assert "exit code 143: terminated with SIGTERM" in _line(_log("step/stdout", LOST))


HEAP = "java.lang.OutOfMemoryError: Java heap space\n\tat x.Y.z(Z:1)\n"
GONE = (
    'Traceback (most recent call last):\n  File "j.py", line 3\npy4j.protocol.Py4JNetworkError: x\n'
)


def test_explain_driver_that_ran_out_of_heap_names_its_setting() -> None:
    """The log of an executor is read only if the driver lost one."""
    stderr = _log("step/stderr", f"{STARTED}26/11/20 10:00:01 ERROR Utils: x\n{HEAP}")
    line = "java.lang.OutOfMemoryError: Java heap space in the driver; increase spark.driver.memory"
    assert _line(_log("step/stdout", GONE), stderr) == line
    assert _line(_log("step/stdout", ""), stderr, _controller(137)) == line
    # 128 is no signal: the program chose it.
    assert _line(_log("step/stdout", ""), stderr, _controller(128)).startswith("exit code 128")
    other = _log("containers/container_1_0001_01_000002/stderr", HEAP)
    assert "in an executor" not in _line(_log("step/stdout", GONE), other, _controller(1))
    assert "heap" not in _line(_log("step/stdout", LOST), stderr)


def test_explain_driver_in_the_master_ran_out_of_heap_there() -> None:
    report = (
        'Exception in thread "main" org.apache.spark.SparkException: Application a_1_0001 '
        "finished with failed status\n"
    )
    master = "containers/container_1_0001_01_000001"
    logs = [_log(f"{master}/stdout", GONE), _log(f"{master}/stderr", LAUNCH + HEAP)]
    found = step_failure.explain([_log("step/stderr", STARTED + report), *logs])
    assert found is not None
    assert found.line.endswith("in the driver; increase spark.driver.memory")
    assert found.log == logs[1].uri


def test_explain_out_of_threads_advises_no_heap() -> None:
    threads = HEAP.replace("Java heap space", "unable to create native thread")
    line = _line(_log("step/stdout", GONE), _log("step/stderr", STARTED + threads))
    assert line == "java.lang.OutOfMemoryError: unable to create native thread in the driver"


def test_explain_last_attempt_of_the_master_is_the_driver() -> None:
    """The number of the attempt is part of the id of its containers, and missing in the first."""
    report = _log("step/stderr", STARTED)
    for name in ("container_1_0001_02_000001", "container_1_0001_000001"):
        logs = [_log(f"containers/{name}/stdout", PYTHON)]
        logs.append(_log("containers/container_1_0001_01_000002/stdout", CAUGHT))
        assert _line(report, *logs) == "ValueError: label 'dog' has no pictures"


def test_explain_line_has_at_most_700_characters() -> None:
    line = _line(_log("step/stdout", PYTHON.replace("dog", "d" * 900) + "bye " * 300))
    assert len(line) == 700
    assert "; then: bye bye" in line


def test_explain_container_that_ended_with_0_was_not_killed() -> None:
    text = "\t diagnostics: AM Container for appattempt_1_1_1 exited with  exitCode: {}\n"
    zero, killed = (_line(_log("step/stderr", STARTED + text.format(code))) for code in (0, -100))
    assert zero.startswith("the application master ended: exit code 0")
    assert killed.startswith("the driver's container was killed (exit code -100")


def test_explain_bare_stack_trace_returns_deepest_cause() -> None:
    assert _line(_log("step/stderr", CAUSES)) == "org.x.CException: c"


def test_explain_without_logs_returns_none() -> None:
    assert step_failure.explain([]) is None


def test_explain_large_log_needs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    row = b"row with an Error: exit code none\n" * 1000
    with path.open("wb") as file:
        for number in range(600):
            file.write(CAUGHT.encode() if number % 100 == 0 else row)
        file.write(b"x" * 3_000_000 + b"\n" + PYTHON.encode())
    log = LogFile(
        name="step/stdout", uri="u", source=lambda: cast("BinaryIO", io.FileIO(str(path)))
    )
    tracemalloc.start()
    line = _line(log)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert line == "ValueError: label 'dog' has no pictures"
    assert path.stat().st_size > 20_000_000
    assert peak < 8_000_000


@pytest.mark.parametrize("code", [1, 13, 52, 127, 134, 137, 139, 143, 193, -100, -104])
def test_meaning_of_exit_code_is_one_phrase(code: int) -> None:
    text = exit_codes.meaning(code)
    assert text
    assert "\n" not in text
    assert redact.text(f"exit code {code}: {text}") == f"exit code {code}: {text}"
    assert exit_codes.find(f"Exit status: {code}. Diagnostics: killed") == code
