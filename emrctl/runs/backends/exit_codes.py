"""Meaning of the exit codes of drivers, executors and YARN containers."""

from __future__ import annotations

import re
import signal

_DRIVER_MEMORY = "increase spark.driver.memory or spark.driver.memoryOverhead"
_SIGNALS = {
    signal.SIGKILL: (
        "killed with SIGKILL (by `kill -9`, or because the node or the container ran out of memory)"
    ),
    signal.SIGTERM: "terminated with SIGTERM (by YARN, by the cluster's shutdown or by `kill`)",
    signal.SIGSEGV: "crashed with SIGSEGV in native code, e.g. of a Python extension",
    signal.SIGABRT: "aborted with SIGABRT in native code, e.g. of a Python extension or the JVM",
}
# Of Spark's application master, of Spark's executors (50 to 56) and of YARN (negative).
_CODES = {
    1: "the program ended with an exception, or called sys.exit(1)",
    10: "the application master failed with an uncaught exception",
    11: "too many executors failed (spark.executor.maxNumFailures)",
    12: "the application master could not report to the ResourceManager",
    13: (
        "the application master found no SparkContext on YARN: the script created none within "
        "spark.yarn.am.waitTime, or sets another master, e.g. master('local[*]'); remove it"
    ),
    14: "the application master failed to authenticate",
    15: "the program ended with an exception",
    16: "the program exited before its SparkContext had stopped",
    50: "an executor ended with an uncaught exception",
    51: "an executor failed while it handled an uncaught exception",
    52: "a Java process ran out of heap memory; increase spark.executor.memory",
    53: "an executor could not create its folder on a local disk: full or read-only",
    56: "an executor could not send heartbeats to the driver",
    126: "the program is not executable",
    127: "the program was not found",
    -100: "the node of the container was lost, e.g. a Spot interruption or a resize",
    -101: "YARN could not use the local disks of the node: full or failed",
    -102: "YARN preempted the container for another queue",
    -103: "YARN killed the container for exceeding its virtual memory",
    -104: "YARN killed the container for exceeding its physical memory",
    -105: "the application master released the container",
    -106: "the ResourceManager killed the container",
    -107: "the container was killed because its application had finished",
    -1000: "YARN could not start the container",
}
_CODE = re.compile(
    r"(?:exit(?:ed)?(?:\s+with)?(?:\s+a\s+non-zero)?(?:\s+exit)?\s*(?:code|status)(?:\s+is)?)"
    r"[:\s]+(-?\d+)",
    re.IGNORECASE,
)


def meaning(code: int) -> str:
    """Return what an exit code means, e.g. `killed by SIGKILL: ...`."""
    if code in _CODES:
        return _CODES[code]
    if 128 < code < 193:
        number = code - 128
        try:
            return _SIGNALS.get(signal.Signals(number), f"ended with {signal.Signals(number).name}")
        except ValueError:
            return f"ended by signal {number}"
    return f"the program called sys.exit({code}) or os._exit({code})"


def of_driver(code: int) -> str:
    """Return what the exit code of a driver means, with the setting that fixes it."""
    text = meaning(code).replace("increase spark.executor.memory", "increase spark.driver.memory")
    return f"{text}; {_DRIVER_MEMORY}" if code in {-103, -104} else text


def find(text: str) -> int | None:
    """Return the last exit code in a message of YARN or Spark, None if there is none."""
    codes = _CODE.findall(text.replace("exitCode", "exit code"))
    return int(codes[-1]) if codes else None
