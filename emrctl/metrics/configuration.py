"""What makes runs repeats of one configuration: Spark properties, program and arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from emrctl import redact

# Spark writes these itself, or they only say where something is: they differ between repeats.
_UNRELATED = re.compile(
    r"""spark\.(
        app\.(id|name|attempt\.id|startTime|submitTime|initial\..*)
      | executor\.id | driver\.(host|port|appUIAddress|bindAddress|pod\.name)
      | .*[pP]ort | deploy\..* | worker\..* | port\.maxRetries | yarn\.jars
      | fileserver\.uri | tachyonStore\.folderName | externalBlockStore\..*
      | home | version | logConf | redaction\..* | repl\..* | ui\..* | history\..*
      | eventLog\.(dir|overwrite|usexattr|rolling.*|logBlockUpdates.*) | org\.apache\.hadoop\..*
      | yarn\.(tags|app\..*|cache\..*|stagingDir|historyServer\..*|config\..*|credentials\..*)
      | yarn\.(keytab|principal|includeDriverLogsLink|maxAppAttempts|secondary\.jars|isPython)
      | kubernetes\..*(name|Name|namePrefix|NamePrefix|namespace|label\..*|annotation\..*)
      | databricks\.(clusterUsageTags|sparkContextId|credential|env|.*\.id|.*Id)\b.*
      | authenticate.* | ssl\..* | .*(acls?|acl\.enable|keytab|principal|[Dd]irs?|logDirectory|pid)
    )""",
    re.VERBOSE,
)
_RUN_ID = re.compile(r"\b\d{8}-\d{9}-[a-z0-9-]+-[0-9a-f]{4}\b")
# Names of one application, cluster, machine or moment.
_VOLATILE = re.compile(
    r"""application_\d{13}_\d+ | app-\d{14}-\d{4} | local-\d{13} | \bj-[A-Z0-9]{10,}
      | \bip-\d+-\d+-\d+-\d+ | \b\d+\.\d+\.\d+\.\d+:\d+ | ://[^/\s]+:\d+ | emrctl-\d{8}-\d{9}-\S+
      | [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12} | /tmp/[^\s,:]*
    """,
    re.VERBOSE,
)

# Options that Spark adds to those of each JVM, for its version of Java.
_MODULES = re.compile(
    r"--(add-(opens|modules|exports)|enable-native-access)=\S+|-XX:\+IgnoreUnrecognizedVMOptions"
    r"|-D(java\.net\.preferIPv6Addresses|jdk\.reflect\.useDirectMethodHandle|io\.netty\.[\w.]+"
    r")=\S+"
)
# Written by Spark and PySpark to every log; another value is a setting.
_DEFAULTS = {
    "spark.eventLog.enabled": "true",
    "spark.hadoop.fs.s3a.vectored.read.max.merged.size": "2M",
    "spark.hadoop.fs.s3a.vectored.read.min.seek.size": "128K",
    "spark.rdd.compress": "True",
    "spark.scheduler.mode": "FIFO",
    "spark.serializer.objectStreamReset": "100",
    "spark.sql.artifact.isolation.enabled": "false",
}


def configuration(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the Spark properties of an application that configure it.

    These are all properties except those that Spark always sets, and those that differ between
    repeats: ids, addresses, folders of logs and temporary files, tags, names. Such parts of other
    values are replaced by `…`.
    """
    values = {
        name: " ".join(_MODULES.sub("", value).split()) if name.endswith("JavaOptions") else value
        for name, value in environment.items()
        if name.startswith("spark.") and not _UNRELATED.fullmatch(name)
    }
    return {
        name: _VOLATILE.sub("…", value)
        for name, value in values.items()
        if value and value != _DEFAULTS.get(name)
    }


_SUBMIT = "org.apache.spark.deploy.SparkSubmit"
_MASTER = "org.apache.spark.deploy.yarn.ApplicationMaster"
_FILE = re.compile(r"\S+\.(py|jar|[rR]|egg|zip)|(py|spark|sparkr)-shell|spark-internal")
_FLAGS = ("--verbose", "-v", "--supervise")


def program(command: str) -> tuple[str, ...]:
    """Return program file and arguments in the command line of a driver, without secrets.

    `command` is Java's `sun.java.command`, whose words are not quoted. Returns () for drivers that
    neither spark-submit nor YARN started.
    """
    main, *words = command.split() or [""]
    if main == _MASTER:
        options = list(zip(words[::2], words[1::2], strict=False))
        values = {name: value for name, value in options if name != "--arg"}
        file = values.get("--primary-py-file") or values.get("--jar") or values.get("--class", "")
        found = [file, *(value for name, value in options if name == "--arg")]
    elif main == _SUBMIT:
        found = _after_options(words)
    else:
        return ()
    # Other words that look like ids are the user's own.
    return redact.arguments(_RUN_ID.sub("…", word) for word in found)


def submit_options(command: str) -> tuple[str, ...]:
    """Return the options of spark-submit in such a command line, each with its value.

    Secrets are redacted. Returns () if spark-submit did not start the driver: in cluster mode YARN
    does, and its command line has the program only.
    """
    main, *words = command.split() or [""]
    return tuple(map(_redacted, _options(words))) if main == _SUBMIT else ()


def _options(words: list[str]) -> Iterator[str]:
    """Yield `--name value`, or the flag alone, up to the first word that is no option."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        size = 1 if words[at] in _FLAGS else 2
        yield " ".join(words[at : at + size])
        at += size


def _redacted(option: str) -> str:
    name, _, value = option.partition(" ")
    key, equals, rest = value.partition("=")
    if name in {"--conf", "-c"} and equals:
        return f"{name} {key}={redact.value(key, rest)}"
    return redact.text(option)


def _after_options(words: list[str]) -> list[str]:
    """Return the words after the options of spark-submit, whose values may contain spaces."""
    at = sum(len(option.split()) for option in _options(words))
    after = words[at:]
    first = next((n for n, word in enumerate(after) if _FILE.fullmatch(word)), 0)
    return after[first:]
