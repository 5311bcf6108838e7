"""Texts that reach a PySpark program unchanged: encoded here, decoded by bootstrap/launch.py.

In cluster mode YARN starts the driver, and everywhere its executors, with a generated shell script:
it executes backticks, replaces `$X` and `{{X}}`, and loses braces. EMR's command-runner drops empty
arguments, spark-submit drops carriage returns, and the file of properties drops spaces at the ends.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from emrctl import redact
from emrctl.errors import UsageError

ARCHIVE = "emrctl-program.zip"
# The archive is on the Python path: a program svm.py in it would hide the package svm, were it not
# in a folder that cannot be imported.
FOLDER = "main-file/"
EXECUTOR_ENV, DRIVER_ENV = "spark.executorEnv.", "spark.yarn.appMasterEnv."
_FLAG = "--payload-token="  # a name of a secret, so that logs of steps do not contain the value
_SHELL_SAFE = re.compile(r"[A-Za-z0-9_ !#%&()*+,./:;=?@\[\]^|~-]+")
_DIRECT_SAFE = re.compile(r"[^\r]+")
_PROPERTY_SAFE = re.compile(r"(?! )[ -~]*(?<! )")
SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Properties that YARN inserts into its launch script, and what it executes or replaces in them.
_COMMAND_PROPERTIES = re.compile(r".*(?:Java|Library|Class)(?:Options|Path)")
_COMMAND_UNSAFE = re.compile(r"`|\{\{|\}\}|<CPS>|\n")


@dataclass(frozen=True, kw_only=True)
class Program:
    """A PySpark program: main file, further Python files, arguments, environment variables."""

    script: str
    py_files: Sequence[str] = ()
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """S3 URIs of launch.py and of the zip file with the program; `script` is its name in there.

    `packages` are arguments of launch.py's `add_packages`, if it has to add any.
    """

    uri: str
    archive: str
    script: str
    packages: Mapping[str, str] = field(default_factory=dict)

    def encode(
        self, program: Program, properties: Mapping[str, str], mode: str
    ) -> tuple[Program, dict[str, str]]:
        """Return the program that runs launch.py, and the properties for spark-submit."""
        unsafe = dict(_unsafe_properties(properties))
        payload = {
            "archive": ARCHIVE,
            "script": FOLDER + self.script,
            "packages": dict(self.packages),
            "arguments": list(program.arguments),
            "properties": {name: value for name, value in unsafe.items() if not _is_variable(name)},
            "environment": _variables(unsafe, DRIVER_ENV) if mode == "cluster" else {},
            "executor_environment": _variables(unsafe, EXECUTOR_ENV),
        }
        packed = base64.urlsafe_b64encode(zlib.compress(json.dumps(payload).encode(), 9))
        encoded = replace(
            program,
            script=self.uri,
            py_files=(*program.py_files, self.archive),
            arguments=(_FLAG + packed.decode(),),
        )
        kept = {k: v for k, v in properties.items() if k not in unsafe or not _is_variable(k)}
        return encoded, kept


def find_unsafe(
    arguments: Iterable[str], properties: Mapping[str, str], *, direct: bool = False
) -> str:
    """Return the first text that needs the launcher, for messages; empty if there is none.

    `direct`: the arguments are those of a process, without a shell.
    """
    pattern = _DIRECT_SAFE if direct else _SHELL_SAFE
    for number, item in enumerate(arguments, start=1):
        if not pattern.fullmatch(item):
            return f"argument {number} ({redact.text(item)!r})"
    return next((name for name, _ in _unsafe_properties(properties)), "")


def check_uri(path: str) -> None:
    """Raise `UsageError` for an S3 URI that spark-submit splits or decodes."""
    match = re.search(r"[^A-Za-z0-9_.~/:+=@!$&'()*;-]", path)
    if match and re.match(r"[a-z][a-z0-9+.-]*:/", path):
        msg = f"spark-submit cannot open '{path}': it changes {match[0]!r} in a URI"
        raise UsageError(msg, hint="Rename the object, or submit the file from a local path.")


def check_names(environment: Iterable[str], properties: Mapping[str, str], *, yarn: bool) -> None:
    """Raise `UsageError` for names and values that Spark ignores or that YARN executes."""
    for name in environment:
        if not _VARIABLE.fullmatch(name):
            msg = f"'{name}' is not a name of an environment variable"
            raise UsageError(msg, hint="Use letters, digits and underscores.")
    for name, value in properties.items():
        if not name.startswith("spark.") or "=" in name or re.search(r"\s", name):
            msg = f"Spark ignores the property '{name}'"
            raise UsageError(msg, hint="Spark reads properties whose names begin with `spark.`.")
        match = _COMMAND_UNSAFE.search(value)
        if yarn and match and _COMMAND_PROPERTIES.fullmatch(name):
            msg = f"{name} cannot contain {match[0]!r}: YARN executes or replaces it"
            raise UsageError(msg, hint="Write the value into a file, and pass its path.")


def _unsafe_properties(properties: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in properties.items():
        # An empty variable is exported as it is.
        safe = _SHELL_SAFE if value and _is_variable(name) else _PROPERTY_SAFE
        if not safe.fullmatch(value):
            yield name, value


def _is_variable(name: str) -> bool:
    return name.startswith((EXECUTOR_ENV, DRIVER_ENV))


def _variables(properties: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {k.removeprefix(prefix): v for k, v in properties.items() if k.startswith(prefix)}
