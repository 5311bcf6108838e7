"""Python packages of a requirements file, packed for the nodes' Python.

The archive has the packages and a `bin/python` that runs the node's own Python with them, so it
neither contains an interpreter nor depends on the folder where it is unpacked.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emrctl import redact
from emrctl.aws import instance_types
from emrctl.aws.target import Target
from emrctl.errors import UsageError
from emrctl.paths import atomic_file, cache, temporary_folder
from emrctl.spec import AnyClusterSpec, SparkSettings

_OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_ARCHITECTURES = {"arm64": "aarch64", "amd64": "x86_64"}
_INCLUDED = re.compile(r"(-r|-c|--requirement|--constraint)(?:\s+|=)(\S+)")
_FIND_LINKS = re.compile(r"(?:-f|--find-links)(?:\s+|=)(\S+)")
_LOCAL = re.compile(r"-e\b|--editable\b|file:|\.{0,2}/|\S+\s*@\s*file:|\.+$")
_PYSPARK = re.compile(r"pyspark\s*(?:\[[^]]*\])?\s*(?:[=<>~!@;#]|$)", re.IGNORECASE)
# Spark is on the nodes, where a second version would replace it; scripts name the Python here.
_UNUSED = ("pyspark", "pyspark-*", "py4j", "py4j-*", "bin")
_LAYOUT = 1  # part of the cache's keys
_MAX_ERROR_LINES = 6
_WRAPPER = """\
#!/bin/sh
# Run the node's Python with the packages of this archive.
here=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH="$here/packages${PYTHONPATH:+:$PYTHONPATH}"
exec %s "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Python:
    """A Python on nodes: command, version (3.9), processor, and platform of its wheels."""

    command: str
    version: str
    machine: str
    platform: str

    @property
    def is_own(self) -> bool:
        """Whether the Python of emrctl installs the same packages."""
        own = (_OWN_VERSION, sys.platform, _machine())
        return own == (self.version, "linux", self.machine)


def cluster_python(target: Target, spec: AnyClusterSpec, settings: SparkSettings) -> Python:
    """Return the Python that runs a step with these settings."""
    command = settings.conf.get("spark.pyspark.python")
    if target.nodes_share_python:
        local = spec.python.replaced(command)
        return Python(
            command=local.command if "/" in local.command else "python3",
            version=_OWN_VERSION,
            machine=_machine(),
            platform=local.platform,
        )
    python = spec.python.replaced(command)
    arch = instance_types.instance_type(spec.core_group.type).arch
    return Python(
        command=python.command,
        version=python.version,
        machine=_ARCHITECTURES.get(arch, arch),
        platform=python.platform,
    )


def pack(path: Path, python: Python) -> Path:
    """Return the archive of a requirements file's packages, from the cache if it is there.

    The cache's key is the hash of the file's content, that of the files that it includes, and the
    Python. Raises `UsageError` with pip's reason if the packages cannot be installed.
    """
    lines = tuple(_lines(path))
    key = [str(_LAYOUT), str(python), *map(str, lines), *_wheel_digests(lines)]
    digest = hashlib.sha256("\n".join(key).encode()).hexdigest()[:16]
    archive = cache() / "requirements" / digest / "environment.tar.gz"
    if archive.is_file():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder() as folder, atomic_file(archive) as temporary:
        _install(lines, folder, python)
        for item in (item for pattern in _UNUSED for item in (folder / "packages").glob(pattern)):
            shutil.rmtree(item, ignore_errors=True)
        (folder / "bin").mkdir()
        (folder / "bin" / "python").write_text(_WRAPPER % python.command)
        (folder / "bin" / "python").chmod(0o755)
        _write_archive(folder, temporary)
    return archive


def _machine() -> str:
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


def _lines(path: Path, kind: str = "-r") -> Iterator[tuple[str, str]]:
    """Yield the lines of a requirements file and of those that it includes, without comments.

    Each line has a kind: `-r` for requirements, `-c` for constraints, `-f` for a local folder.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        hint = "Use a text file with one requirement per line."
        raise UsageError(f"--requirements: cannot read {path}: {error}", hint=hint) from error
    for number, line in enumerate(re.sub(r"\\\r?\n", " ", text).split("\n"), start=1):
        requirement = re.sub(r"(^|\s)#.*", "", line).strip()
        included, links = _INCLUDED.fullmatch(requirement), _FIND_LINKS.fullmatch(requirement)
        if included:
            inner = "-c" if kind == "-c" or included[1] in {"-c", "--constraint"} else "-r"
            yield from _lines(path.parent / included[2], inner)
        elif links and "://" not in links[1]:
            yield "-f", str((path.parent / Path(links[1]).expanduser()).absolute())
        elif _LOCAL.match(requirement):
            hint = "Pass own code with --py-files, or name a folder of wheels with --find-links."
            raise UsageError(f"{path}:{number}: '{requirement}' is a local path", hint=hint)
        elif requirement and not _PYSPARK.match(requirement):
            yield kind, requirement


def _wheel_digests(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the hash of each wheel in a local folder: a rebuilt one can have the same version."""
    for folder in (value for kind, value in lines if kind == "-f"):
        for wheel in sorted(Path(folder).glob("*.whl")):
            yield hashlib.sha256(wheel.read_bytes()).hexdigest()


def _install(lines: Sequence[tuple[str, str]], folder: Path, python: Python) -> None:
    """Install the packages into the folder's `packages`."""
    packages = folder / "packages"
    packages.mkdir()
    command = [*_installer(python), "--target", str(packages), "--quiet"]
    # pyspark has no wheels, and what depends on it needs it here until the installation is done.
    command += ["--only-binary", ":all:", "--no-binary", "pyspark"]
    for option in ("-r", "-c"):
        file = folder / f"lines{option}.txt"
        file.write_text("".join(f"{line}\n" for kind, line in lines if kind == option))
        command += [option, str(file)]
    for kind, value in lines:
        command += ["--find-links", value] if kind == "-f" else []
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        output = redact.text((done.stderr or done.stdout).strip())
        reason = "\n".join(line.strip() for line in output.splitlines()[-_MAX_ERROR_LINES:])
        raise UsageError(
            f"--requirements: cannot install for Python {python.version} on {python.machine}:\n"
            f"{reason}",
            hint="Only wheels are installed. Pack other packages on a node, and use --archives.",
        )


def _has_pip() -> bool:
    try:
        # Not find_spec: setuptools prints a warning there if distutils is loaded.
        importlib.metadata.distribution("pip")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _installer(python: Python) -> list[str]:
    """Return the command that installs packages for this Python, without its options.

    pip evaluates the conditions of requirements for the Python that runs it, uv for any Python.
    """
    if python.is_own and _has_pip():
        pip = [sys.executable, "-m", "pip", "install", "--no-compile", "--no-input"]
        return [*pip, "--disable-pip-version-check", "--no-warn-script-location"]
    uv = shutil.which("uv")
    if uv is None:
        wanted = f"Python {python.version} on {python.machine}"
        raise UsageError(
            f"--requirements: uv is needed to install packages for the cluster's {wanted}",
            hint="Install it with `pip install uv`, or use --archives with a packed environment.",
        )
    wheels = f"{python.machine}-{python.platform}"
    return [
        *(uv, "pip", "install", "--python", sys.executable, "--python-version", python.version),
        *("--python-platform", wheels),
    ]


def _write_archive(folder: Path, file: Path) -> None:
    """Write `bin` and `packages` to a tar.gz file that is the same for the same content."""

    def anonymous(item: tarfile.TarInfo) -> tarfile.TarInfo:
        item.uid = item.gid = item.mtime = 0
        item.uname = item.gname = ""
        return item

    with (
        file.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name in ("bin", "packages"):
            archive.add(folder / name, name, filter=anonymous)
