"""Texts that reach a PySpark program unchanged and unseen: applied there by bootstrap/launch.py.

In cluster mode YARN starts the driver, and everywhere its executors, with a generated shell script:
it executes backticks, replaces `$X` and `{{X}}`, and loses braces. EMR's command-runner drops empty
arguments, spark-submit drops carriage returns, and the file of properties drops spaces at the ends.

Command lines are shown by process lists, EMR's API and logs. If any text is a secret, launch.py
gets all of them from a private object of the bucket instead of an argument.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from emrctl import redact
from emrctl.errors import UsageError
from emrctl.runs.secrets import RunSecrets

ARCHIVE = "emrctl-program.zip"
# The archive is on the Python path: a program svm.py in it would hide the package svm, were it not
# in a folder that cannot be imported.
FOLDER = "main-file/"
EXECUTOR_ENV, DRIVER_ENV = "spark.executorEnv.", "spark.yarn.appMasterEnv."
_FLAG = "--payload-token="  # a name of a secret, so that logs of steps do not contain the value
_URI_FLAG = "--payload-uri="
_SHELL_CHARACTERS = r"A-Za-z0-9_ !#%&()*+,./:;=?@\[\]^|~-"
_SHELL_SAFE = re.compile(rf"[{_SHELL_CHARACTERS}]+")
_SHELL_UNSAFE = re.compile(rf"\A | \Z|[^{_SHELL_CHARACTERS}]+")
_DIRECT_SAFE = re.compile(r"[^\r]+")
_PROPERTY_SAFE = re.compile(r"(?! )[ -~]*(?<! )")
SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Properties that YARN inserts into its launch script, and what it executes or replaces in them.
_COMMAND_PROPERTIES = re.compile(r".*(?:Java|Library|Class)(?:Options|Path)")
_COMMAND_UNSAFE = re.compile(r"`|\{\{|\}\}|<CPS>|\n")
# Properties that spark-submit and YARN use before launch.py runs, or in command lines of JVMs.
_USED_EARLY = re.compile(
    r"spark\.(?:master|submit\..*|jars.*|files|archives|repl\..*|yarn\.(?!appMasterEnv\.).*"
    r"|driver\..*|executor\..*|kerberos\..*)"
)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A PySpark program: main file, further Python files, arguments, environment variables.

    `secrets` are values of further variables, and sources from which launch.py reads others.
    """

    script: str
    py_files: Sequence[str] = ()
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: RunSecrets = field(default_factory=RunSecrets)


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """S3 URIs of launch.py and of the zip file with the program; `script` is its name in there.

    `packages` are arguments of launch.py's `add_packages`, if it has to add any. `payload_uri` is
    the private object with the payload, which is an argument otherwise. `region` is that of the
    program's secrets.
    """

    uri: str
    archive: str
    script: str
    packages: Mapping[str, str] = field(default_factory=dict)
    payload_uri: str = ""
    region: str = ""

    def encode(
        self, program: Program, properties: Mapping[str, str], *, yarn: bool
    ) -> tuple[Program, dict[str, str]]:
        """Return the program that runs launch.py, and the properties for spark-submit.

        JVMs get environment variables from properties, so these are kept where they are no secrets.
        """
        if self.payload_uri:
            argument = _URI_FLAG + self.payload_uri
        else:
            packed = zlib.compress(self.payload(program, properties), 9)
            argument = _FLAG + base64.urlsafe_b64encode(packed).decode()
        encoded = replace(
            program,
            script=self.uri,
            py_files=(*program.py_files, self.archive),
            arguments=(argument,),
        )
        kept = {name: value for name, value in properties.items() if not is_private(name, value)}
        if yarn:
            kept |= {k: shell_literal(v) for k, v in kept.items() if _is_variable(k)}
        return encoded, kept

    def payload(self, program: Program, properties: Mapping[str, str]) -> bytes:
        """Return the JSON document that launch.py applies."""
        passed = dict(_unsafe_properties(properties))
        passed |= {name: value for name, value in properties.items() if is_private(name, value)}
        private = {k: v for k, v in program.environment.items() if is_private(k, v)}
        document = {
            "archive": ARCHIVE,
            "script": FOLDER + self.script,
            "packages": dict(self.packages),
            "arguments": list(program.arguments),
            "properties": {name: value for name, value in passed.items() if not _is_variable(name)},
            "environment": _variables(passed, DRIVER_ENV) | private,
            "executor_environment": _variables(passed, EXECUTOR_ENV),
            "secret_values": dict(program.secrets.values),
            "secrets": dict(program.secrets.sources),
            "region": self.region,
        }
        return json.dumps(document).encode()


def is_private(name: str, value: str) -> bool:
    """Return whether the value of a property or variable may not be part of a command line."""
    return redact.value(name, value) != value


def find_private(program: Program, properties: Mapping[str, str]) -> str:
    """Return the first text that is a secret, for messages; empty if there is none.

    Raises `UsageError` for a secret that only a command line could pass on.
    """
    for name, value in properties.items():
        if is_private(name, value) and _USED_EARLY.fullmatch(name):
            raise UsageError(
                f"{name} contains a secret, which process lists and logs would show",
                hint="Pass the secret with --secret NAME; the program reads the variable NAME.",
            )
    variables = chain(properties.items(), program.environment.items())
    named = (name for name, value in variables if is_private(name, value))
    for name in chain(program.secrets.values, named):
        return name
    shown = zip(program.arguments, redact.arguments(program.arguments), strict=True)
    numbers = (number for number, (item, safe) in enumerate(shown, start=1) if item != safe)
    return next((f"argument {number}" for number in numbers), "")


def shell_literal(value: str) -> str:
    """Return what YARN's `export X="…"` sets to this value, in ASCII.

    Other characters than those that are safe in there are written as octal bytes in `$'…'`.
    """

    def escape(match: re.Match[str]) -> str:
        encoded = match[0].encode("utf-8", "surrogateescape")
        return "\"$'" + "".join(f"\\{byte:03o}" for byte in encoded) + "'\""

    return _SHELL_UNSAFE.sub(escape, value)


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
        unsafe = _is_variable(name) and _SHELL_UNSAFE.search(value)
        if unsafe or not _PROPERTY_SAFE.fullmatch(value):
            yield name, value


def _is_variable(name: str) -> bool:
    return name.startswith((EXECUTOR_ENV, DRIVER_ENV))


def _variables(properties: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {k.removeprefix(prefix): v for k, v in properties.items() if k.startswith(prefix)}
