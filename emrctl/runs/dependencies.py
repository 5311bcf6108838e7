"""Files, archives, JARs and Python packages that spark-submit passes to a step.

Local files are uploaded under the hash of their content; URIs are passed to spark-submit unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emrctl.aws.s3 import put_file
from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster
from emrctl.errors import UsageError
from emrctl.runs import requirements
from emrctl.runs.backends.launcher import SAFE_NAME, check_uri
from emrctl.spec import SparkSettings

# The folder of a requirements file's packages in the working directory of a driver or executor.
FOLDER = "environment"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
# What Spark unpacks on all kinds of cluster.
_ARCHIVES = (".zip", ".jar", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Settings with URIs in place of local paths, and the URIs of what was uploaded.

    `packages` are arguments for launch.py, by which a driver in client mode gets the packages of a
    requirements file; empty if there are none, or if Spark unpacks them for the driver too.
    """

    settings: SparkSettings
    code: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)


def stage(target: Target, cluster: Cluster, settings: SparkSettings, root: Path) -> Dependencies:
    """Upload the settings' local files and the packages of their requirements file.

    Relative paths are looked up in the working directory, then in `root`. Raises `UsageError` with
    the flag for a file that does not exist, or that no node could open under its name.
    """
    _check_python(settings)
    named = {flag: getattr(settings, flag) for flag in ("files", "archives", "jars")}
    local = {
        flag: [(item, local_file(flag, item, root)) for item in items]
        for flag, items in named.items()
    }
    _check_names([*_names("files", local["files"]), *_names("archives", local["archives"])])
    uris = {
        flag: tuple(
            item if path is None else put_file(target, cluster.bucket, path) + _fragment(item)
            for item, path in items
        )
        for flag, items in local.items()
    }
    staged = settings.model_copy(update=uris)
    code = tuple(uri for items in uris.values() for uri in items)
    if settings.requirements is None:
        return Dependencies(settings=staged, code=code)
    path = local_file("requirements", settings.requirements, root)
    if path is None:
        raise UsageError(
            f"--requirements {settings.requirements}: not a local file",
            hint="Download it: emrctl packs its packages on this machine.",
        )
    python = requirements.cluster_python(target, cluster.spec, settings)
    uri = put_file(target, cluster.bucket, requirements.pack(path, python))
    return _with_packages(staged, (*code, uri), python)


def _with_packages(
    settings: SparkSettings, code: tuple[str, ...], python: requirements.Python
) -> Dependencies:
    """Add the archive `code[-1]`, and make Python run with its packages."""
    cluster_mode = settings.mode == "cluster"
    command = f"./{FOLDER}/bin/python"
    conf = {
        **settings.conf,
        "spark.pyspark.python": command,
        "spark.pyspark.driver.python": command if cluster_mode else python.command,
    }
    archives = (*settings.archives, f"{code[-1]}#{FOLDER}")
    packages = {"uri": code[-1], "folder": FOLDER, "version": python.version}
    return Dependencies(
        settings=settings.model_copy(update={"archives": archives, "conf": conf}),
        code=code,
        packages={} if cluster_mode else packages,
    )


def _check_python(settings: SparkSettings) -> None:
    """Raise `UsageError` for a Python in an archive, which a driver in client mode lacks."""
    python = settings.conf.get("spark.pyspark.python", "")
    unpacked = "/" in python and not python.startswith("/")
    if (
        unpacked
        and settings.mode != "cluster"
        and "spark.pyspark.driver.python" not in settings.conf
    ):
        raise UsageError(
            f"spark.pyspark.python is {python}, which a driver in client mode does not have",
            hint="Use --deploy-mode cluster, or add --conf spark.pyspark.driver.python=python3.",
        )


def local_file(flag: str, item: str, root: Path) -> Path | None:
    """Return the local file of an item `FILE` or `FILE#FOLDER`; None if it is a URI."""
    text = item.partition("#")[0] if flag == "archives" else item
    if _URI.match(text):
        check_uri(text)
        return None
    paths = [Path(text).expanduser(), root / text]
    path = next((path for path in paths if path.is_file()), None)
    name = f"--{flag.replace('_', '-')} {item}"
    if path is None and any(path.is_dir() for path in paths):
        hint = "Pack it, for example with `tar -czf FOLDER.tar.gz -C FOLDER .`, for --archives."
        raise UsageError(f"{name}: {text} is a folder, not a file", hint=hint)
    if path is None:
        hint = "Give the path of a file on this machine, or an s3:// URI."
        raise UsageError(f"{name}: the file {text} does not exist", hint=hint)
    if flag == "archives" and not path.name.endswith(_ARCHIVES):
        hint = f"Spark unpacks {', '.join(_ARCHIVES)}; pass other files with --files."
        raise UsageError(f"{name}: {path.name} is not an archive", hint=hint)
    return path


def _fragment(item: str) -> str:
    name = item.rpartition("#")[2] if "#" in item else ""
    return f"#{name}" if name else ""


def _names(flag: str, items: list[tuple[str, Path | None]]) -> Iterator[tuple[str, str]]:
    """Yield each item with its flag, and the name under which a node has it."""
    for item, path in items:
        folder = item.partition("#")[2]
        name = folder if flag == "archives" and folder else (path.name if path else "")
        yield f"--{flag} {item}", name or item.partition("#")[0].rpartition("/")[2]


def _check_names(named: list[tuple[str, str]]) -> None:
    """Raise `UsageError` for names that spark-submit cannot pass, or that two items have."""
    items: dict[str, str] = {}
    for item, name in named:
        if not SAFE_NAME.fullmatch(name):
            hint = "Rename it: use letters, digits, `_`, `.` and `-`."
            raise UsageError(f"{item}: spark-submit cannot pass the name '{name}'", hint=hint)
        if name in items:
            hint = "Rename one; an archive has another name with --archives FILE#NAME."
            raise UsageError(f"{item}: {items[name]} is also called '{name}'", hint=hint)
        items[name] = item
